"""Times and tables as people and pipes read them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from services.cli.errors import BadInput
from services.cli.screen import clean, duration, moment, parse_since, show_table

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 ms"), (0.3404, "340 ms"), (12.4, "12 s"), (60, "1 min"), (7_200, "2 h"), (432_000, "5 d")],
)
def test_durations_are_in_the_unit_one_would_say(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
    ],
)
def test_since_counts_back_from_now(text: str, ago: timedelta) -> None:
    assert parse_since(text, NOW) == NOW - ago


def test_since_takes_iso_times() -> None:
    assert parse_since("2026-11-21T10:00:00+02:00", NOW) == datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "yesterday", "5", "-3h", "2026-13-01"])
def test_since_refuses_what_is_no_time(text: str) -> None:
    with pytest.raises(BadInput):
        parse_since(text, NOW)


@pytest.mark.usefixtures("in_utc")
def test_a_moment_says_how_long_ago_it_was() -> None:
    assert moment(NOW - timedelta(minutes=2), NOW) == "08:28:00 (2 min ago)"
    assert moment(NOW + timedelta(seconds=12), NOW) == "08:30:12 (in 12 s)"
    assert moment(NOW - timedelta(days=1), NOW) == "20 Nov 2026 08:30:00 (1 d ago)"
    assert moment(None, NOW) == "-"


def test_text_from_outside_cannot_command_the_terminal() -> None:
    assert clean("a\x1b[2Jb\r\nc\x07") == "a [2Jb  c "


def test_a_table_is_tab_separated_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("ID", "WHAT"), [("1", "a\tb"), ("2", "[red]c[/red]")])
    assert capsys.readouterr().out == "ID\tWHAT\n1\ta b\n2\t[red]c[/red]\n"


def test_a_table_on_a_terminal_shows_every_cell_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_table(("ID", "WHAT"), [("1", "[red]c[/red]")])
    assert "[red]c[/red]" in capsys.readouterr().out


def test_a_table_wider_than_the_terminal_is_not_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    show_table(("ID", "WHAT"), [("i" * 36, "w" * 36)])
    assert f"{'i' * 36}   {'w' * 36}" in capsys.readouterr().out
