"""Where `shopbus send` sends to."""

from services.cli.api import parse_url


def receiver(text: str, route: str) -> str:
    """The address to send to; one without a path means the route there."""
    url = parse_url(text)
    return str(url.with_path(route) if url.path in {"", "/"} else url)
