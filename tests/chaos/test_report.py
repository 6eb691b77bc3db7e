"""The figures, the table and the page that `make chaos` writes."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.checker import NAMES, Violation
from tests.chaos.figures import Marks, Row, longest_gap, row
from tests.chaos.history import Effect, Ended, History
from tests.chaos.traffic import Accepted

ROW = Row(
    fault="broker killed", broker_only=True, deaths=0, settled=True, messages=500, lost=0, doubled=0,
    violations=(), longest_gap=0.125, slowest=12.0, switch_over=0.5, switch_back=None, drain=1.0,
)  # fmt: skip
PAGE = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"


def effects(*times: float) -> tuple[Effect, ...]:
    return tuple(Effect(f"m{number}", "plain", "", at) for number, at in enumerate(times))


def ended(name: str, route: str) -> Ended:
    return Ended(name, "webhook.chaos.plain", "completed", 1, route, (), at=0.0)


@pytest.mark.parametrize(
    ("times", "gap"),
    [
        ((11.0, 12.0, 15.0, 19.0), 4.0),
        ((13.0, 14.0, 17.0, 19.0), 3.0),  # from the beginning to the first
        ((11.0, 13.0), 7.0),  # from the last to the end
        ((1.0, 9.0, 21.0, 99.0), 10.0),  # none in between
        ((19.0, 11.0, 15.0), 4.0),
    ],
)
def test_the_longest_gap_is_looked_for_between_harm_and_the_end_of_traffic(
    times: tuple[float, ...], gap: float
) -> None:
    assert longest_gap(effects(*times), 10.0, 20.0) == gap


def test_the_figures_of_a_run() -> None:
    history = History(
        effects=effects(10.5, 12.5, 16.0, 16.5, 17.0),
        ended=tuple(ended(f"m{n}", route) for n, route in enumerate(["postgres"] * 2 + ["rabbitmq"] * 3)),
    )
    accepted = {
        "m0": Accepted("m0", "chaos/plain", 9.0),  # before the harm: says nothing of the time to switch over
        "m1": Accepted("m1", "chaos/plain", 12.0),
        "m2": Accepted("m2", "chaos/plain", 14.0),  # before the healing
        "m3": Accepted("m3", "chaos/again", 15.5),  # its route is not its own choice
        "m4": Accepted("m4", "chaos/plain", 15.5),
    }
    marks = Marks(harming=10.0, harmed=11.0, healed=15.0, finished=20.0, drained=21.5)
    found = [Violation("lost", "m7"), Violation("lost", "m8"), Violation("two_ids", "m9")]
    made = row(
        "fault",
        history,
        accepted,
        marks,
        found,
        broker_only=False,
        deaths=1,
        settled=True,
        story="why",
    )
    assert (made.messages, made.lost, made.doubled) == (5, 2, 0)
    assert (made.longest_gap, made.slowest) == (3.5, 2.0)
    assert (made.switch_over, made.switch_back, made.drain) == (1.5, 2.0, 1.5)
    with pytest.raises(AssertionError, match="why"):
        made.check()


def test_a_run_without_violations_passes() -> None:
    ROW.check()


def test_a_figure_is_marked_where_it_misses_what_is_expected() -> None:
    assert report.cells(ROW) == (
        "broker killed",
        "500",
        "0",
        "0",
        "-",
        "0.12 s",
        "12.00 s",
        "0.50 s",
        "-",
        "1.00 s",
    )
    bad = replace(ROW, longest_gap=1.5, deaths=1, lost=2, violations=(Violation("lost", "m"),))
    assert report.cells(bad)[:7] == ("broker killed !", "500", "2 !", "0", "1", "1.50 s !", "12.00 s !")
    assert report.cells(replace(ROW, broker_only=False, longest_gap=1.5))[5] == "1.50 s"
    assert report.cells(replace(ROW, deaths=2))[6] == "12.00 s"  # one after the other


def test_the_table_shows_every_row_whole() -> None:
    name = "one worker cut off from the broker"
    printed = report.printed([ROW, replace(ROW, fault=name)])
    assert name in printed
    assert all(title in printed for title in report.COLUMNS)


def test_the_page_keeps_all_but_the_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    for fault in ("first", "second"):
        report.write(page, [replace(ROW, fault=fault)], seed=7)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| second | 500 | 0 | 0 | - | 0.12 s |" in text
    assert "old" not in text
    assert "first" not in text


def test_a_page_without_a_place_for_the_table_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here")
    with pytest.raises(ValueError, match="has no place for the table"):
        report.write(page, [ROW], seed=7)


def test_the_section_says_how_to_repeat_the_run() -> None:
    now = datetime(2026, 11, 21, tzinfo=UTC)
    rows = [ROW, replace(ROW, violations=(Violation("lost", "m"),))]
    text = report.section(rows, seed=7, servers="RabbitMQ 3.10.8, PostgreSQL 15", now=now)
    assert "2026-11-21, `SEED=7`, 2 runs, 1000 messages, 1 run with a broken promise." in text
    assert "With RabbitMQ 3.10.8, PostgreSQL 15, Python 3." in text


def test_the_page_explains_every_rule_and_column_and_has_its_place() -> None:
    text = report.PAGE.read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(NAMES)
    assert all(re.search(rf"^\| .*\b{name}\b.* \|", text, re.MULTILINE) for name in report.COLUMNS)
    assert text.count(report.BEGIN) == text.count(report.END) == 1
