"""The state folder: secrets made once and kept private, one run at a time, a port that is really free."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from services.cli.config import CliSettings
from services.cli.errors import FolderTaken, PortTaken
from services.cli.local import free_port, holder, locked, make_secrets, open_folder, secrets_file

HOLD = """
import pathlib, sys
from services.cli.local import locked
with locked(pathlib.Path(sys.argv[1])):
    print(flush=True)
    sys.stdin.read()
"""
NAMES = {"SHOPIFY_API_KEY", "SHOPIFY_API_SECRET", "OPS_TOKEN", "SERVICE_KEY", "TOKEN_KEYS"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    open_folder(state)
    return state


def lines(folder: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in secrets_file(folder).read_text().splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}


def test_secrets_are_made_once(folder: Path) -> None:
    assert set(make_secrets(folder)) == NAMES
    first = lines(folder)
    assert make_secrets(folder) == []
    assert lines(folder) == first
    assert all(len(value) >= 32 for value in first.values())


def test_two_machines_have_different_secrets(tmp_path: Path) -> None:
    for name in ("one", "two"):
        open_folder(tmp_path / name)
        make_secrets(tmp_path / name)
    assert not set(lines(tmp_path / "one").values()) & set(lines(tmp_path / "two").values())


def test_only_what_is_missing_is_made(folder: Path) -> None:
    secrets_file(folder).write_text("OPS_TOKEN=mine\nSERVICE_KEY=\n")
    assert set(make_secrets(folder)) == NAMES - {"OPS_TOKEN"}
    assert lines(folder)["OPS_TOKEN"] == "mine"
    assert lines(folder)["SERVICE_KEY"] != ""


def test_folder_and_secrets_are_for_their_owner_only(folder: Path) -> None:
    old = os.umask(0)
    try:
        make_secrets(folder)
        with locked(folder):
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    finally:
        os.umask(old)
    assert modes == {"secrets.env": 0o600, "lock": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_second_run_is_told_who_holds_the_folder(folder: Path) -> None:
    with locked(folder), pytest.raises(FolderTaken, match=f"process {os.getpid()}"), locked(folder):
        pass


def test_the_folder_is_free_again_after_a_run(folder: Path) -> None:
    with locked(folder):
        assert holder(folder) == str(os.getpid())
    assert holder(folder) is None
    with locked(folder):
        pass


def test_a_run_that_was_killed_leaves_no_lock(folder: Path) -> None:
    arguments = [sys.executable, "-c", HOLD, str(folder)]
    pipe, root = subprocess.PIPE, Path(__file__).parents[2]
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, cwd=root) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert holder(folder) == str(other.pid)
        other.kill()
    with locked(folder):
        pass


def test_nobody_holds_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert holder(tmp_path / "nothing") is None


def test_a_taken_port_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(PortTaken, match="set PORT"):
        free_port("127.0.0.1", server.getsockname()[1])


def test_port_zero_becomes_a_free_one() -> None:
    assert free_port("127.0.0.1", 0) > 0


def test_the_environment_wins_over_dotenv_which_wins_over_made_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPS_TOKEN", "SHOPIFY_API_SECRET", "STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    open_folder(tmp_path / ".shopbus")
    make_secrets(tmp_path / ".shopbus")
    made = lines(tmp_path / ".shopbus")

    assert CliSettings.read().require("OPS_TOKEN") == made["OPS_TOKEN"]
    (tmp_path / ".env").write_text("OPS_TOKEN=from-dotenv\nSHOPIFY_API_SECRET=\n")
    assert CliSettings.read().require("OPS_TOKEN") == "from-dotenv"
    assert CliSettings.read().require("SHOPIFY_API_SECRET") == made["SHOPIFY_API_SECRET"]
    monkeypatch.setenv("OPS_TOKEN", "from-environment")
    assert CliSettings.read().require("OPS_TOKEN") == "from-environment"
