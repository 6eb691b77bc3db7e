"""Compares ratios of a short run with the committed ones, and warns: a time depends on the machine, a ratio hardly."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import RESULTS
from bench.result import Ratio, Result

NAMES = ("routes", "backlog")  # a minute, and both sides of each in one run
_MUCH = 0.25  # beyond the spread of both runs


@dataclass(frozen=True, slots=True)
class Drift:
    """A ratio that is worse than the committed one by more than chance explains."""

    what: str
    before: float
    now: float

    def __str__(self) -> str:
        return f"{self.what}: {self.now:.2f}, committed is {self.before:.2f}"


def worse(result: Result, folder: Path = RESULTS) -> list[Drift]:
    """The ratios of a result that have drifted to their bad side; none where nothing was committed."""
    return [Drift(*found) for found in _compared(result, _committed(result.name, folder))]


def _compared(result: Result, committed: Sequence[Ratio]) -> Iterator[tuple[str, float, float]]:
    before = {ratio.what: ratio for ratio in committed}
    for now in result.ratios:
        then = before.get(now.what)
        if then is not None and now.target is not None and _is_worse(now, then):
            yield now.what, then.median, now.median


def _is_worse(now: Ratio, then: Ratio) -> bool:
    """Even the best round of now is beyond the worst of then, by a quarter."""
    if now.most:
        return now.spread[0] > then.spread[1] * (1 + _MUCH)
    return now.spread[1] < then.spread[0] * (1 - _MUCH)


def _committed(name: str, folder: Path) -> list[Ratio]:
    file = folder / f"{name}.json"
    if not file.exists():
        return []
    return [Ratio(**ratio) for ratio in json.loads(file.read_text())["ratios"]]
