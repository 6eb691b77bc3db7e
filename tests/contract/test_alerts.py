import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.ingest.routes import ADDRESS as PIXELS
from services.webhooks.routes import ADDRESS
from services.webhooks.service import Reason
from tests.defined_metrics import ROOT, defined_metrics
from tests.markdown import anchors

PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
UNIT_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: the package prometheus)"
)

_EXPRESSION = re.compile(r"^ +expr: (?:\|\n((?: {10,}\S.*\n)+)|(.+)\n)", re.MULTILINE)
_NOT_METRICS = re.compile(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on) \([^)]*\)|\boffset \w+|\b[0-9.]+\b")
_FUNCTIONS = {
    "absent",
    "delta",
    "histogram_quantile",
    "increase",
    "max",
    "min",
    "rate",
    "sum",
    "time",
    "vector",
}
_OPERATORS = {"and", "or", "unless"}
_MADE_BY_PROMETHEUS = {"up"}


def alerts() -> Iterator[tuple[str, str]]:
    """The name of each alert, and all that its rule says."""
    for path in RULES:
        for rule in path.read_text().split("- alert: ")[1:]:
            name, _, text = rule.partition("\n")
            yield name.strip(), text


ALERTS = dict(alerts())


def promtool(*arguments: str | Path) -> None:
    answer = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def series_in(expression: str) -> set[str]:
    """The names of all series that a PromQL expression reads."""
    return set(re.findall(r"[a-z_][a-z0-9_]*", _NOT_METRICS.sub(" ", expression))) - _FUNCTIONS - _OPERATORS


def unit_tested(exp_alerts: str) -> set[str]:
    """The alerts that have a unit test in which they fire, or with "[]" one in which they do not."""
    entry = re.compile(r"alertname: (\w+),?\s+eval_time: \w+,?\s+exp_alerts: " + exp_alerts)
    return {name for path in UNIT_TESTS for name in entry.findall(path.read_text())}


@needs_promtool
def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path: Path) -> None:
    promtool("test", "rules", path)


def test_every_alert_has_a_unit_test_in_which_it_fires() -> None:
    assert set(ALERTS) == unit_tested(r"\[\{exp_labels")


def test_every_alert_but_the_watchdog_has_a_unit_test_in_which_it_is_quiet() -> None:
    assert set(ALERTS) - {"Watchdog"} == unit_tested(r"\[\]")


def test_a_series_that_nobody_defines_is_seen() -> None:
    expression = 'sum by (le) (rate(no_such_total{a="b"}[5m])) > 1 unless on (a) none_such offset 5m'
    assert series_in(expression) == {"no_such_total", "none_such"}


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_rules_read_only_series_that_the_code_defines(path: Path) -> None:
    text = path.read_text()
    known = {name for series in defined_metrics().values() for name in series} | _MADE_BY_PROMETHEUS
    expressions = ["".join(found) for found in _EXPRESSION.findall(text)]
    assert len(expressions) == text.count("expr:")
    assert not {name for expression in expressions for name in series_in(expression)} - known


def test_rules_name_addresses_and_causes_as_the_code_does() -> None:
    text = "".join(ALERTS.values())
    assert set(re.findall(r'route="([^"]+)"', text)) == {ADDRESS, PIXELS}
    assert set(re.findall(r'webhook_rejected_total\{reason="([^"]+)"\}', text)) <= set(Reason)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_leads_to_what_to_do(name: str) -> None:
    [link] = re.findall(r"runbook: (\S+)$", ALERTS[name], re.MULTILINE)
    page, _, anchor = link.partition("#")
    assert anchor in anchors(ROOT / page)
