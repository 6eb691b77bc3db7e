"""Load on the webhook address, made by wrk: a generator that costs little beside the servers on the same cores."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from libs.common.shopify.signatures import webhook_signature

SECRET = "bench-secret"  # noqa: S105 - nothing is protected by it
_SCRIPT = Path(__file__).with_name("webhooks.lua")
_runs = count(1)


@dataclass(frozen=True, slots=True)
class Load:
    """What came of some seconds of load; latencies in milliseconds."""

    requests: int  # answered with 200
    rate: float  # of those, per second
    p50: float
    p99: float
    p999: float


class LoadFailed(Exception):
    """Some requests were not answered with 200, so the figures say nothing."""


def find_wrk() -> str:
    """The program; installed on Debian where we may. Raises `LoadFailed` where it is missing."""
    if shutil.which("wrk") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(
            ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "wrk"], check=True
        )
    found = shutil.which("wrk")
    if found is None:
        raise LoadFailed("the benchmark of accepting needs the load generator wrk: install it")
    return found


class Webhooks:
    """A signed delivery of a usual size, sent again and again with new ids."""

    def __init__(self, folder: Path, *, size: int = 1_200) -> None:
        self._wrk, self._folder = find_wrk(), folder
        body = b'{"id": 5550001, "note": "%s"}' % (b"x" * (size - 28))
        (folder / "body").write_bytes(body)
        (folder / "signature").write_text(webhook_signature(SECRET, body))

    async def sent_to(
        self, port: int, *, seconds: float, connections: int, topic: str = "orders/create", most: int = 0
    ) -> Load:
        """Sends as fast as answers come, `most` webhooks if that is not 0; raises `LoadFailed` unless all are 200."""
        run = f"{os.getpid()}-{next(_runs)}"
        process = await asyncio.create_subprocess_exec(
            self._wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}", "-s", str(_SCRIPT),
            f"http://127.0.0.1:{port}", "--", run, str(self._folder), topic, str(most),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        if most:
            await _enough(process)
        output, complaint = await process.communicate()
        if process.returncode:
            raise LoadFailed(complaint.decode())
        return _load(json.loads(output.decode().splitlines()[-1]))


async def _enough(process: asyncio.subprocess.Process) -> None:
    """Interrupts wrk once its thread has had all its answers; its main thread would sleep on for the time given."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    async for line in process.stdout:
        if line == b"enough\n":
            process.send_signal(signal.SIGINT)
            return
    raise LoadFailed("not all answers came within the time")


def _load(said: dict[str, int]) -> Load:
    if said["refused"] or said["broken"]:
        raise LoadFailed(f"{said['refused']} requests were refused, {said['broken']} broke off")
    rate = said["requests"] / said["microseconds"] * 1e6
    return Load(said["requests"], rate, said["p50"] / 1e3, said["p99"] / 1e3, said["p999"] / 1e3)
