"""Services as processes of their own, which may kill themselves at a point of their work."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from libs.common.outbox.faults import FaultPoints, Hook

ROOT = Path(__file__).parents[2]
DIES_AT = "TEST_DIES_AT"


@asynccontextmanager
async def child(
    module: str, environment: Mapping[str, str], log: Path, *, dies_at: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process with this environment and nothing of ours; killed at the named point, or at the end of the block."""
    room = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), DIES_AT: dies_at}
    with log.open("ab") as out:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module),
            env={**room, **environment},
            stdout=out,
            stderr=out,
            cwd=log.parent,
        )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()


async def die() -> None:
    """As a process does that is killed from outside."""
    os.kill(os.getpid(), signal.SIGKILL)


def chosen_faults() -> FaultPoints:
    """Inside such a process: death at the point that its parent named, if it named one."""
    point = os.environ.get(DIES_AT)
    hooks: dict[Any, Hook] = {point: die} if point else {}
    return FaultPoints(hooks)
