"""News of ended tokens, from a real Postgres."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from pydantic import SecretStr

from libs.common.clock import SystemClock
from libs.common.db import direct_connections
from libs.common.settings import CommonSettings
from libs.common.token_drops import CHANNEL, listen
from tests.waiting import poll

SHOP = "sandbox-001.myshopify.com"


class Heard:
    def __init__(self) -> None:
        self.shops: list[str] = []
        self.everything = 0

    def all(self) -> None:
        self.everything += 1


@pytest.fixture
async def heard(database: str) -> AsyncIterator[Heard]:
    found = Heard()
    connect = direct_connections(CommonSettings(database_url=SecretStr(database)))
    task = asyncio.create_task(listen(connect, found.shops.append, found.all, SystemClock()))
    await poll(lambda: found.everything)
    yield found
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_hears_of_a_shop_with_the_commit(database: str, heard: Heard) -> None:
    conn = await asyncpg.connect(database)
    try:
        async with conn.transaction():
            await conn.execute("SELECT pg_notify($1, $2)", CHANNEL, SHOP)
            assert heard.shops == []
        await poll(lambda: heard.shops == [SHOP])
        assert heard.everything == 1
    finally:
        await conn.close()


async def test_after_a_lost_connection_everything_is_dropped(database: str, heard: Heard) -> None:
    conn = await asyncpg.connect(database)
    try:
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shopbus tokens'"
        )
        await poll(lambda: heard.everything == 2)
        await conn.execute("SELECT pg_notify($1, $2)", CHANNEL, SHOP)
        await poll(lambda: heard.shops == [SHOP])
    finally:
        await conn.close()
