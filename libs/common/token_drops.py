"""Hears from Postgres which shops' tokens have ended, in every process that keeps some.

`token.rotated` and `shop.uninstalled` reach one process of a consumer. So auth tells all of them, in the transaction
that writes those messages, by NOTIFY.
"""

import asyncio
from collections.abc import Callable

from libs.common import logs
from libs.common.clock import Clock
from libs.common.db import Connect, database_away_named
from libs.common.errors import DatabaseAway

CHANNEL = "shopbus_tokens"
"""What is sent on it is the shop's domain."""

_QUIET_SECONDS = 30.0
_PAUSE_SECONDS = 0.5

_log = logs.logger("tokens")


async def listen(
    connect: Connect, drop: Callable[[str], None], drop_all: Callable[[], None], clock: Clock
) -> None:
    """Listens again and again; drops everything after each time without a connection, in which much may be missed."""
    while True:
        try:
            with database_away_named():
                await _listen_once(connect, drop, drop_all)
        except DatabaseAway:
            _log.warning("News of ended tokens stopped; tokens are kept for a few minutes at most.")
        await clock.sleep(_PAUSE_SECONDS)


async def _listen_once(connect: Connect, drop: Callable[[str], None], drop_all: Callable[[], None]) -> None:
    conn = await connect(application_name="shopbus tokens")
    gone = asyncio.Event()
    conn.add_termination_listener(lambda _: gone.set())
    try:
        await conn.add_listener(CHANNEL, lambda _conn, _pid, _channel, shop: drop(str(shop)))
        drop_all()
        while not gone.is_set():
            try:
                async with asyncio.timeout(_QUIET_SECONDS):
                    await gone.wait()
            except TimeoutError:
                await conn.execute("SELECT 1")  # a silent peer is found out by its missing answer
    finally:
        conn.terminate()
