"""The doctor's verdicts on what it was told; that it asks rightly is tested against real servers."""

from datetime import timedelta
from typing import Any

import pytest

from services.cli.doctor_database import judge, judge_migrations, judge_skew
from tests.unit.shopbus_cli import Shopbus

SOUND = {
    "version": "18.1",
    "major": 18,
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "replica": False,
}


def test_a_sound_server_gets_one_line() -> None:
    [finding] = judge(SOUND)
    assert (finding.verdict, "18.1" in finding.words) == ("ok", True)


@pytest.mark.parametrize(
    ("unsound", "words"),
    [
        ({"major": 14}, "not supported"),
        ({"major": 19}, "not supported"),
        ({"fsync": "off"}, "fsync is off"),
        ({"full_page_writes": "off"}, "full_page_writes is off"),
        ({"synchronous_commit": "off"}, "synchronous_commit is off"),
        ({"replica": True}, "replica"),
    ],
)
def test_every_fault_is_told_with_what_mends_it(unsound: dict[str, Any], words: str) -> None:
    [finding] = judge({**SOUND, **unsound})
    assert finding.verdict == "wrong"
    assert words in finding.words
    assert finding.mend


def test_several_faults_are_all_told() -> None:
    assert len(judge({**SOUND, "fsync": "off", "replica": True})) == 2


@pytest.mark.parametrize("commit", ["on", "remote_apply", "remote_write", "local"])
def test_every_synchronous_commit_that_waits_for_the_disk_is_fine(commit: str) -> None:
    assert judge({**SOUND, "synchronous_commit": commit})[0].verdict == "ok"


def test_missing_migrations_are_named() -> None:
    finding = judge_migrations(["worker/0002_orders"])
    assert (finding.verdict, finding.mend) == ("wrong", "shopbus migrate")
    assert "worker/0002_orders" in finding.words
    assert judge_migrations([]).verdict == "ok"


@pytest.mark.parametrize(("seconds", "verdict"), [(0.2, "ok"), (-0.9, "ok"), (3.0, "wrong"), (-3.0, "wrong")])
def test_clocks_may_differ_a_little(seconds: float, verdict: str) -> None:
    assert judge_skew(timedelta(seconds=seconds)).verdict == verdict


def test_a_missing_secret_is_wrong_and_named() -> None:
    result = Shopbus()("doctor", SHOPIFY_API_SECRET=None)
    assert result.exit_code == 1
    assert "SHOPIFY_API_SECRET" in result.stdout


def test_nothing_wrong_is_exit_code_0() -> None:
    result = Shopbus()("doctor", PORT="0")
    assert result.exit_code == 0, result.output
    assert "wrong" not in result.stdout
