"""Hears what Postgres is told by NOTIFY, in every process that keeps something in memory.

A message reaches one process of a consumer; what is told on a channel reaches all that listen. News that nobody could
hear is made up for by dropping everything.
"""

import asyncio
from collections.abc import Callable

from libs.common import logs
from libs.common.clock import Clock
from libs.common.db import Connect, database_away_named
from libs.common.errors import DatabaseAway

_QUIET_SECONDS = 30.0
_PAUSE_SECONDS = 0.5

_log = logs.logger("news")


async def listen(
    connect: Connect,
    channel: str,
    drop: Callable[[str], None],
    drop_all: Callable[[], None],
    clock: Clock,
    *,
    name: str,
) -> None:
    """Listens again and again; drops everything after each time without a connection, in which much may be missed."""
    while True:
        try:
            with database_away_named():
                await _listen_once(connect, channel, drop, drop_all, name)
        except DatabaseAway:
            _log.warning(f"News of {name} stopped; what is kept in memory is kept for a few minutes at most.")
        await clock.sleep(_PAUSE_SECONDS)


async def _listen_once(
    connect: Connect, channel: str, drop: Callable[[str], None], drop_all: Callable[[], None], name: str
) -> None:
    conn = await connect(application_name=f"shopbus {name}")
    gone = asyncio.Event()
    conn.add_termination_listener(lambda _: gone.set())
    try:
        await conn.add_listener(channel, lambda _conn, _pid, _channel, told: drop(str(told)))
        drop_all()
        while not gone.is_set():
            try:
                async with asyncio.timeout(_QUIET_SECONDS):
                    await gone.wait()
            except TimeoutError:
                await conn.execute("SELECT 1")  # a silent peer is found out by its missing answer
    finally:
        conn.terminate()
