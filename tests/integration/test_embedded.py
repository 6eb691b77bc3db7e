"""The Postgres of `make run`: kept data, one user of a folder at a time, and no server left behind."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import psycopg
import pytest

from libs.common.embedded import EmbeddedPostgres
from libs.common.errors import ConfigurationError
from libs.common.postmaster import PostgresFailed
from tests.servers.memory import folder_in_memory
from tests.waiting import poll

REPOSITORY = Path(__file__).parents[2]

HOLD = """
import pathlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
from libs.common.embedded import EmbeddedPostgres
with EmbeddedPostgres(pathlib.Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    sys.stdin.read()
print("stopped", flush=True)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the data goes; not in pytest's folders, which keep the user out whom Postgres runs as under root."""
    with tempfile.TemporaryDirectory(dir=folder_in_memory()) as parent:
        yield Path(parent) / "with spaces and ünïcode" / ".shopbus" / "postgres"


@pytest.fixture
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs a server on the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        yield process
        process.kill()
        for server in servers_on(folder):
            end(server)


def url_of(holder: subprocess.Popen[str]) -> str:
    assert holder.stdout
    return holder.stdout.readline().strip()


def write(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS x")


def kept(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT x FROM kept").fetchone()
        assert row
        return int(row[0])


def server_pid(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text().split()[0])


def servers_on(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and str(folder) in (process.info["cmdline"] or ()):
            found.append(process)
    return found


def end(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


async def test_asyncpg_and_libpq_take_the_url_and_a_start_finds_the_data_of_the_last(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        write(server.url)
    with EmbeddedPostgres(folder) as server:
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("SELECT x FROM kept") == 42
        assert (await connection.fetchval("SHOW server_version")).startswith("18")
        await connection.close()


def test_it_is_reached_through_a_socket_that_others_cannot_enter(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.url) as connection:
        socket_folder = Path(server.url.partition("?host=")[2])
        assert socket_folder.stat().st_mode & 0o077 == 0
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    assert not socket_folder.exists()


def test_a_folder_in_use_is_refused_with_the_pid_that_uses_it(
    folder: Path, holder: subprocess.Popen[str]
) -> None:
    url_of(holder)
    with pytest.raises(ConfigurationError, match=f"in use by pid {holder.pid}$"), EmbeddedPostgres(folder):
        pass
    assert holder.poll() is None


def test_a_ctrl_c_reaches_the_holder_first_and_the_server_stops_in_order(
    folder: Path, holder: subprocess.Popen[str]
) -> None:
    write(url_of(holder))
    os.killpg(holder.pid, signal.SIGINT)  # as a terminal does, to the whole foreground group
    holder.wait(30)
    assert not servers_on(folder)
    assert "database system is shut down" in folder.with_name("postgres.log").read_text()
    with EmbeddedPostgres(folder) as server:
        assert kept(server.url) == 42


async def test_the_server_ends_in_order_when_its_starter_is_killed(
    folder: Path, holder: subprocess.Popen[str]
) -> None:
    url = url_of(holder)
    write(url)
    holder.kill()
    holder.wait()
    await poll(lambda: not servers_on(folder), within=30)
    assert "database system is shut down" in folder.with_name("postgres.log").read_text()
    assert not Path(url.partition("?host=")[2]).exists()


def test_a_server_that_outlived_its_starter_is_ended_and_its_data_kept(
    folder: Path, holder: subprocess.Popen[str]
) -> None:
    write(url_of(holder))
    for child in psutil.Process(holder.pid).children():
        if child.name() == "sh":  # the keeper, which would have ended the server
            child.kill()
    orphan = server_pid(folder)
    holder.kill()
    holder.wait()
    assert [process.pid for process in servers_on(folder)] == [orphan]
    with EmbeddedPostgres(folder) as server:
        assert kept(server.url) == 42
        assert server_pid(folder) != orphan


def test_everything_killed_at_once_is_recovered_from(folder: Path, holder: subprocess.Popen[str]) -> None:
    write(url_of(holder))
    for process in psutil.Process(holder.pid).children(recursive=True):
        end(process)
    holder.kill()
    holder.wait()
    assert server_pid(folder)
    with EmbeddedPostgres(folder) as server:
        assert kept(server.url) == 42


def test_a_pid_file_that_names_a_strangers_process_is_no_obstacle(folder: Path) -> None:
    with EmbeddedPostgres(folder) as server:
        write(server.url)
        lines = (folder / "postmaster.pid").read_text().splitlines()
    owner = folder.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "60"], user=owner) as stranger:
        (folder / "postmaster.pid").write_text("\n".join([str(stranger.pid), *lines[1:]]))
        with EmbeddedPostgres(folder) as server:
            assert kept(server.url) == 42
        assert stranger.poll() is None
        stranger.kill()


def test_an_interrupted_first_start_is_begun_anew(folder: Path) -> None:
    half_made = folder.with_name("postgres.new")
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(folder) as server:
        write(server.url)


def test_a_server_that_cannot_start_says_why_in_one_line(folder: Path) -> None:
    with EmbeddedPostgres(folder):
        pass
    (folder / "PG_VERSION").write_text("12\n")
    with pytest.raises(PostgresFailed, match="incompatible with server") as caught, EmbeddedPostgres(folder):
        pass
    assert "\n" not in str(caught.value)
    assert not servers_on(folder)
