"""What processes cost: processor time, memory and wake-ups, of ours and of Postgres."""

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import asyncpg
import psutil

_TRANSACTIONS = """
SELECT (xact_commit + xact_rollback)::float8 FROM pg_stat_database WHERE datname = current_database()
"""


@dataclass(frozen=True, slots=True)
class Usage:
    """Totals since the start of the processes."""

    at: float
    cpu: float  # seconds
    wakeups: int  # times a process gave up its core to wait


def of(pids: Iterable[int]) -> Usage:
    """All these processes and their children together; what has ended is gone."""
    cpu, wakeups = 0.0, 0
    for pid in pids:
        main = psutil.Process(pid)
        for process in (main, *main.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                cpu += times.user + times.system
                wakeups += process.num_ctx_switches().voluntary
    return Usage(time.perf_counter(), cpu, wakeups)


def memory(pid: int) -> float:
    """MiB of a process that no other shares."""
    unique: int = psutil.Process(pid).memory_full_info().uss
    return unique / 2**20


async def transactions(conn: asyncpg.Connection) -> float:
    """Transactions of this database so far; each statement of ours outside one counts as one."""
    number: float = await conn.fetchval(_TRANSACTIONS)
    return number
