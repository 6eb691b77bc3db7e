"""Runs the sides of a comparison in turns, so that whatever else the machine does falls on all of them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from bench.result import Ratio

Measured = TypeVar("Measured")


async def interleaved(
    sides: Mapping[str, Callable[[], Awaitable[Measured]]],
    rounds: int,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, list[Measured]]:
    """Each side once per round, in an order that turns from round to round."""
    figures: dict[str, list[Measured]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds):
        for name in names if number % 2 == 0 else reversed(names):
            progress(f"{name}, round {number + 1} of {rounds}")
            figures[name].append(await sides[name]())
    return figures


def ratio(
    what: str, ours: list[float], theirs: list[float], *, target: float | None = None, most: bool = False
) -> Ratio:
    """Ours divided by theirs, round by round."""
    return Ratio(what, [a / b for a, b in zip(ours, theirs, strict=True)], target, most)
