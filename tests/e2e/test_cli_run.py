"""`shopbus run` as a newcomer meets it: one command, and everything works; Ctrl-C, and everything is gone."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil
from aiohttp import ClientSession, CookieJar
from yarl import URL

from tests.servers.ports import free_port
from tests.waiting import poll

ROOT = Path(__file__).parents[2]
START_SECONDS = 90.0
COUNT = 40
STORE = "sandbox-001.myshopify.com"


class Machine:
    """A machine with nothing on it but a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()

    def command(self, *arguments: str, **env: str) -> dict[str, Any]:
        return {
            "args": [sys.executable, "-m", "services.cli", *arguments],
            "env": {**os.environ, "PYTHONPATH": str(ROOT), "PORT": str(self.port), **env},
            "cwd": self.folder,
            "text": True,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }

    def shopbus(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(**self.command(*arguments, **env), check=False, timeout=60)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(**self.command("run"), start_new_session=True) as process:
            try:
                yield process
            finally:
                process.kill()

    async def ready(self, process: subprocess.Popen[str]) -> None:
        """Waits until it may take work; tells at once why it ended, if it did."""
        await poll(lambda: process.poll() is not None or self.answers_ready(), within=START_SECONDS)
        assert process.poll() is None, process.communicate()

    def answers_ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as response:
                return bool(json.load(response)["ready"])
        except (URLError, OSError):
            return False

    def sandbox_page(self) -> str:
        """The sandbox store's first page; empty where there is none."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/sandbox", timeout=5) as response:
                return str(response.read().decode())
        except HTTPError:
            return ""

    def jobs(self, *filters: str) -> list[dict[str, Any]]:
        lines = self.shopbus("jobs", "ls", "--limit", "1000", "--json", *filters).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def subscribed(self, shop: str) -> bool:
        """Whether a shop's webhook subscriptions were checked and are all as wanted."""
        listed = self.shopbus("subscriptions", "ls", "--shop", shop, "--json").stdout
        found = json.loads(listed) if listed else {"checked_at": None}
        return found["checked_at"] is not None and found["drift"] == 0

    def secrets(self) -> dict[str, str]:
        lines = (self.folder / ".shopbus" / "secrets.env").read_text().splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines) if value}

    def postgres_processes(self) -> list[int]:
        data = str(self.folder / ".shopbus" / "postgres")
        return [
            process.pid
            for process in psutil.process_iter(["cmdline"])
            if data in (process.info["cmdline"] or ())
        ]


def interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ctrl-C: the terminal sends it to the whole group. Returns what was printed."""
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate(timeout=30)


async def test_from_nothing_to_handled_webhooks_and_back_to_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with machine.running() as process:
        await machine.ready(process)
        sent = machine.shopbus(
            "send", "webhook", "orders/create", "--count", str(COUNT), "--shops", "3", "--json"
        )
        assert json.loads(sent.stdout)["accepted"] == COUNT, sent.stderr
        await poll(lambda: len(machine.jobs("--status", "completed")) == COUNT, within=60)
        story = machine.shopbus("why", machine.jobs()[0]["id"]).stdout
        assert "a webhook orders/create from sandbox-00" in story
        assert "Nothing more will happen." in story
        assert machine.shopbus("doctor").returncode == 0
        assert "sandbox-001.myshopify.com" in machine.sandbox_page()

        second = machine.shopbus("run")
        assert (second.returncode, len(second.stderr.splitlines())) == (1, 1)
        assert f"process {process.pid}" in second.stderr

        printed, errors = interrupt(process)
    assert (process.returncode, errors) == (0, "")
    assert f"http://127.0.0.1:{machine.port}" in printed
    secrets = machine.secrets()
    assert not any(secret in printed for secret in secrets.values())
    await poll(lambda: not machine.postgres_processes())

    with machine.running() as process:
        await machine.ready(process)
        assert machine.secrets() == secrets
        assert len(machine.jobs()) == COUNT
        interrupt(process)


async def test_an_app_with_a_key_of_its_own_has_no_sandbox(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    (tmp_path / ".env").write_text("SHOPIFY_API_KEY=0123456789abcdef\n")
    with machine.running() as process:
        await machine.ready(process)
        assert machine.sandbox_page() == ""
        assert "sandbox" not in interrupt(process)[0].partition("Next,")[0]


def test_a_taken_port_is_said_before_anything_is_started(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with socket.create_server(("127.0.0.1", machine.port)):
        result = machine.shopbus("run")
    assert (result.returncode, len(result.stderr.splitlines()), result.stdout) == (1, 1, "")
    assert str(machine.port) in result.stderr
    assert not (tmp_path / ".shopbus" / "postgres").exists()


async def test_what_is_killed_leaves_no_server_and_starts_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with machine.running() as process:
        await machine.ready(process)
        process.kill()
    await poll(lambda: not machine.postgres_processes(), within=60)
    with machine.running() as process:
        await machine.ready(process)
        await an_installed_store_is_subscribed_to(machine)
        assert interrupt(process)[1] == ""


async def an_installed_store_is_subscribed_to(machine: Machine) -> None:
    """What happens in a sandbox store arrives by the subscriptions that webhooks made after the install."""
    base = f"http://127.0.0.1:{machine.port}"
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser:
        async with browser.get(f"{base}/auth/install?shop={STORE}", allow_redirects=False) as answer:
            consent = URL(answer.headers["Location"], encoded=True)
        async with browser.post(consent, allow_redirects=False) as answer:
            callback = URL(answer.headers["Location"], encoded=True)
        async with browser.get(callback, allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
        await poll(lambda: machine.subscribed(STORE), within=60)
        async with browser.post(
            f"{base}/sandbox/{STORE}/admin/happen", data={"topic": "orders/create"}
        ) as answer:
            assert answer.status == 200
    await poll(lambda: machine.jobs("--type", "orders/create", "--status", "completed"), within=60)
