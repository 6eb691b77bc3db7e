"""The header that says who may show a page in a frame (SHOPIFY 3)."""

from collections.abc import Sequence

HEADER = "Content-Security-Policy"


def framed_by(ancestors: Sequence[str]) -> dict[str, str]:
    """For a page of the embedded app. Each ancestor is an origin built from a checked shop, never a wildcard."""
    return {HEADER: f"frame-ancestors {' '.join(ancestors)};" if ancestors else "frame-ancestors 'none';"}


NOT_FRAMED = framed_by(())
