"""What a benchmark found, as data."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ratio:
    """One side divided by the other, once per round. `target` is met at or above it, or at or below with `most`."""

    what: str
    rounds: Sequence[float]
    target: float | None = None
    most: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        return min(self.rounds), max(self.rounds)

    @property
    def met(self) -> bool | None:
        """None where there is no target."""
        if self.target is None:
            return None
        return self.median <= self.target if self.most else self.median >= self.target


Row = Sequence[str | float]


@dataclass(frozen=True, slots=True)
class Table:
    """Figures for people: the first column names the row."""

    columns: Sequence[str]
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Curve:
    """A series of points of a plot."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves over one pair of axes."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark's outcome."""

    name: str
    title: str
    ratios: Sequence[Ratio] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def median(values: Sequence[float]) -> float:
    """The middle one, so that a table's figures were all measured."""
    return sorted(values)[len(values) // 2]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies; NaN of nothing."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
