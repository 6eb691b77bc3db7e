"""Feeds what atheris makes up to the reading and judging of pixel events.

`python -m tests.fuzz_pixels -max_total_time=60`.
atheris is no dependency of the project: install it where you want to fuzz.
"""

import sys

import atheris

with atheris.instrument_imports(include=["services.ingest"]):
    from services.ingest import bodies, glance
    from services.ingest.events import Bad, Bounds, Judge
    from services.ingest.glance import Glance

import orjson

from libs.common.shopify.pixel_check import fits

NOW_MS = 1_795_000_000_000
JUDGE = Judge(
    Bounds(event_bytes=48 * 1024, text_length=8_192, skew_ms=3_600_000, late_ms=172_800_000),
    fits,
    frozenset({"first.myshopify.com"}),
    "1.0.0",
    NOW_MS,
)


def one_input(data: bytes) -> None:
    """Nothing but `Bad` comes out of any bytes, and what is kept can be stored."""
    for value in bodies.read(data).values:
        try:
            event = JUDGE.judge(value)
        except Bad:
            continue
        assert b"\n" not in event.content
        assert b"\\u0000" not in event.content
        assert isinstance(orjson.loads(event.content), dict)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
