"""Writes what was found: a file of figures and plots per benchmark, and the page for people."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from bench.result import Plot, Ratio, Result, Table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
PAGE = ROOT / "docs" / "performance.md"
_BEGIN, _END = "<!-- {name}: written by make bench -->", "<!-- end of {name} -->"


def show(result: Result, console: Console) -> None:
    """Prints a result."""
    console.rule(result.title)
    for table in result.tables:
        shown = RichTable(*map(str, table.columns))
        for row in table.rows:
            shown.add_row(*map(_figure, row))
        console.print(shown)
    for ratio in result.ratios:
        console.print(_sentence(ratio))
    for note in result.notes:
        console.print(note)


def keep(result: Result, machine: dict[str, str], *, results: Path = RESULTS, page: Path = PAGE) -> None:
    """Writes the figures, draws the plots and renews the benchmark's section of the page, if it has one."""
    results.mkdir(parents=True, exist_ok=True)
    figures = {"machine": machine, **asdict(result)}
    (results / f"{result.name}.json").write_text(json.dumps(figures, indent=1, default=list) + "\n")
    pictures = [
        _draw(results, result.name, number, plot) for number, plot in enumerate(result.plots, start=1)
    ]
    page.write_text(renewed(page.read_text(), result.name, _section(result, machine, pictures)))


def renewed(page: str, name: str, section: str) -> str:
    """The page with a new text between the benchmark's two marks; as it was where it has none."""
    begin, end = _BEGIN.format(name=name), _END.format(name=name)
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        return page
    return f"{before}{begin}\n\n{section}\n{end}{after}"


def _section(result: Result, machine: dict[str, str], pictures: Sequence[str]) -> str:
    where = f"{machine['processor']}, {machine['memory']}, Python {machine['Python']}"
    parts = [f"Measured {machine['date']}: {where}.", ""]
    for table in result.tables:
        parts += [*_markdown(table), ""]
    if result.ratios:
        rows = [(r.what, _figure(r.median), _spread(r), _target(r)) for r in result.ratios]
        parts += [*_markdown(Table(("ratio", "median", "spread", "target"), rows)), ""]
    parts += [f"![{result.title}](../bench/results/{picture})\n" for picture in pictures]
    parts += [f"{note}\n" for note in result.notes]
    return "\n".join(parts)


def _markdown(table: Table) -> list[str]:
    lines = ["| " + " | ".join(map(str, table.columns)) + " |", "|---" * len(table.columns) + "|"]
    return lines + ["| " + " | ".join(map(_figure, row)) + " |" for row in table.rows]


def _sentence(ratio: Ratio) -> str:
    return f"{ratio.what}: {ratio.median:.2f} ({_spread(ratio)}) {_target(ratio)}"


def _spread(ratio: Ratio) -> str:
    low, high = ratio.spread
    return f"{low:.2f} to {high:.2f}"


def _target(ratio: Ratio) -> str:
    if ratio.target is None:
        return ""
    return f"{'≤' if ratio.most else '≥'} {ratio.target:g} {'met' if ratio.met else 'MISSED'}"


def _figure(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits say enough


def _draw(results: Path, name: str, number: int, plot: Plot) -> str:
    import matplotlib as mpl  # noqa: PLC0415 - a second of start that most runs do not need

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(8, 4))
    for curve in plot.curves:
        axes.plot(curve.x, curve.y, label=curve.name)
    axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
    axes.set_ylim(bottom=0)
    axes.legend()
    file = f"{name}-{number}.svg"
    figure.savefig(results / file, metadata={"Date": None})
    plt.close(figure)
    return file
