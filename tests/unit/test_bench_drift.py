from pathlib import Path

import pytest

from bench import report
from bench.drift import worse
from bench.result import Ratio, Result


def result(*ratios: Ratio) -> Result:
    return Result("some", "Some", ratios=ratios)


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    page = tmp_path / "page.md"
    page.write_text("")
    then = result(
        Ratio("rate", [0.8, 0.9, 1.0], 0.8), Ratio("cost", [1.0, 1.1], 1.2, most=True), Ratio("free", [1.0])
    )
    report.keep(then, {"date": "", "processor": "", "memory": "", "Python": ""}, results=tmp_path, page=page)
    return tmp_path


@pytest.mark.parametrize(
    ("now", "warned"),
    [
        (Ratio("rate", [0.5, 0.59], 0.8), ["rate"]),
        (
            Ratio("rate", [0.5, 0.61], 0.8),
            [],
        ),  # its best round is within a quarter of the worst one committed
        (Ratio("rate", [2.0], 0.8), []),
        (Ratio("cost", [1.4, 2.0], 1.2, most=True), ["cost"]),
        (Ratio("cost", [1.3, 2.0], 1.2, most=True), []),
        (Ratio("free", [0.1]), []),  # nobody promised anything
        (Ratio("new", [0.1], 0.9), []),
    ],
)
def test_only_what_chance_does_not_explain_is_warned_of(
    committed: Path, now: Ratio, warned: list[str]
) -> None:
    assert [drift.what for drift in worse(result(now), committed)] == warned


def test_a_warning_names_both_figures(committed: Path) -> None:
    (found,) = worse(result(Ratio("rate", [0.4], 0.8)), committed)
    assert str(found) == "rate: 0.40, committed is 0.90"


def test_nothing_is_warned_of_where_nothing_was_committed(tmp_path: Path) -> None:
    assert worse(result(Ratio("rate", [0.1], 0.8)), tmp_path) == []
