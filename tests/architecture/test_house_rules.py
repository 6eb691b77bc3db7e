"""The rules hold here, and each notices when it is broken."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture import rules

Rule = Callable[[Path], list[str]]

# Each rule with a file that breaks it, and where. The names of registries are written so that this file has none.
BROKEN: list[tuple[Rule, str, str, str]] = [
    (rules.too_long, "libs/long.py", "x = 1\n" * 301, "libs/long.py:301"),
    (rules.undescribed_services, "services/mute/__init__.py", "x = 1\n", "services/mute/__init__.py:1"),
    (rules.homeless_sql, "services/a/routes.py", 'Q = "SELECT a FROM b"\n', "services/a/routes.py:1"),
    (rules.homeless_sql, "libs/a.py", 'Q = """\n-- why\nINSERT INTO b VALUES (1)"""\n', "libs/a.py:1"),
    (rules.assembled_sql, "services/a/store.py", 'Q = f"SELECT a FROM {b}"\n', "services/a/store.py:1"),
    (rules.assembled_sql, "services/a/store.py", 'Q = "DELETE FROM " + b\n', "services/a/store.py:1"),
    (
        rules.assembled_sql,
        "services/a/store.py",
        'Q = "UPDATE a SET b = " + c + d\n',
        "services/a/store.py:1",
    ),
    (rules.assembled_sql, "services/a/store.py", 'Q = "SELECT %s" % b\n', "services/a/store.py:1"),
    (rules.assembled_sql, "services/a/store.py", 'Q = "SELECT {}".format(b)\n', "services/a/store.py:1"),
    (
        rules.scattered_metrics,
        "services/a/app.py",
        'from prometheus_client import Counter\nC = Counter("c", "d")\n',
        "services/a/app.py:2",
    ),
    (rules.named_registries, "requirements/x.txt", "--find" + "-links /wheels\n", "requirements/x.txt:1"),
    (rules.named_registries, "Dockerfile", "FROM ghcr." + "io/a/b\n", "Dockerfile:1"),
]


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, *_ in BROKEN))
def test_nothing_here_breaks(rule: Rule) -> None:
    assert rule(rules.REPOSITORY) == []


@pytest.mark.parametrize(("rule", "path", "content", "found"), BROKEN)
def test_what_breaks_a_rule_is_found(tmp_path: Path, rule: Rule, path: str, content: str, found: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    assert found in rule(tmp_path)
