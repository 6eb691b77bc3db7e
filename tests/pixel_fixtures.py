"""Where real pixel events are, on machines that have some."""

from pathlib import Path

PIXELS = Path(__file__).parents[2] / "shared" / "fixtures" / "pixel"
