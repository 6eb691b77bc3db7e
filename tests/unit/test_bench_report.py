import json
from pathlib import Path

from bench import report
from bench.result import Ratio, Result, Table

PAGE = """# Speed

<!-- one: written by make bench -->
old
<!-- end of one -->

Between.

<!-- two: written by make bench -->
<!-- end of two -->
"""
MACHINE = {"date": "today", "processor": "a processor", "memory": "1 GiB", "Python": "3.11"}


def test_a_section_is_renewed_between_its_marks_and_nothing_else_is_touched() -> None:
    assert report.renewed(PAGE, "one", "new") == PAGE.replace("\nold\n", "\n\nnew\n")


def test_a_renewal_can_be_renewed() -> None:
    assert report.renewed(report.renewed(PAGE, "two", "first"), "two", "second") == report.renewed(
        PAGE, "two", "second"
    )


def test_a_benchmark_without_a_section_leaves_the_page_alone() -> None:
    assert report.renewed(PAGE, "three", "new") == PAGE


def test_a_section_that_was_never_closed_is_left_alone() -> None:
    page = "<!-- one: written by make bench -->\nthe rest of the page"
    assert report.renewed(page, "one", "new") == page


def test_what_is_kept_holds_the_figures_and_shows_them(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(PAGE)
    result = Result(
        "one",
        "One",
        ratios=(Ratio("ours ÷ theirs", [0.9, 1.1, 1.0], 0.95), Ratio("slow ÷ quick", [1.5], 1.2, most=True)),
        tables=(Table(("side", "per second"), [("ours", 12345.6), ("theirs", 0.5)]),),
        notes=("A note.",),
    )
    report.keep(result, MACHINE, results=tmp_path / "results", page=page)
    kept = json.loads((tmp_path / "results" / "one.json").read_text())
    assert kept["ratios"][0]["rounds"] == [0.9, 1.1, 1.0]
    assert kept["machine"] == MACHINE
    shown = page.read_text()
    assert "| ours | 12,346 |" in shown
    assert "| ours ÷ theirs | 1 | 0.90 to 1.10 | ≥ 0.95 met |" in shown
    assert "| slow ÷ quick | 1.5 | 1.50 to 1.50 | ≤ 1.2 MISSED |" in shown
    assert "A note." in shown
    assert "old" not in shown


def test_the_page_of_the_project_has_a_section_for_every_benchmark() -> None:
    from bench.__main__ import BENCHMARKS  # noqa: PLC0415 - only here, since it brings the machine's libraries

    page = report.PAGE.read_text()
    assert [name for name in BENCHMARKS if report.renewed(page, name, "new") == page] == []
