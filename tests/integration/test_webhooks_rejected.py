from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

import asyncpg
import pytest
from prometheus_client import REGISTRY

from libs.common.db import open_pool
from services.webhooks import rejected
from services.webhooks.config import Settings
from services.webhooks.rejected import WAITING, RejectedLog, open_rejected_log
from services.webhooks.store import Rejection
from tests.environment import MakeSettings
from tests.integration.webhook_requests import open_door
from tests.servers.postgres import PostgresServer
from tests.waiting import poll

KEEP, DAYS = 50, 14


@pytest.fixture
async def pool(settings: MakeSettings, database: str) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(settings(Settings, database_url=database)) as opened:
        yield opened


@pytest.fixture
def log(pool: asyncpg.Pool) -> RejectedLog:
    return RejectedLog(pool, keep=KEEP, days=DAYS, timeout=1.0)


def rejection(number: int, at: datetime | None = None) -> Rejection:
    return Rejection(at or datetime.now(UTC), "hmac", None, None, str(number), None, None, number, "no")


async def numbers(pool: asyncpg.Pool) -> list[int]:
    rows = await pool.fetch("SELECT body_bytes FROM webhooks.rejected ORDER BY id")
    return [row["body_bytes"] for row in rows]


def unlogged() -> float:
    return REGISTRY.get_sample_value("webhook_rejected_unlogged_total") or 0.0


async def test_only_the_last_are_kept(log: RejectedLog, pool: asyncpg.Pool) -> None:
    for start in range(0, 200, 40):
        for number in range(start, start + 40):
            log.add(rejection(number))
        assert await log.flush()
    assert await numbers(pool) == [*range(150, 200)]


async def test_a_table_far_too_long_is_cut_in_batches(
    log: RejectedLog, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejected, "FORGET_BATCH", 7)
    for number in range(500):
        log.add(rejection(number))
    await log.flush()
    assert await numbers(pool) == [*range(450, 500)]


async def test_old_ones_are_forgotten(log: RejectedLog, pool: asyncpg.Pool) -> None:
    log.add(rejection(1, datetime.now(UTC) - timedelta(days=DAYS + 1)))
    log.add(rejection(2))
    await log.flush()
    assert await numbers(pool) == [2]


async def test_a_flood_costs_bounded_memory_and_is_counted(log: RejectedLog, pool: asyncpg.Pool) -> None:
    before = unlogged()
    for number in range(WAITING + 300):
        log.add(rejection(number))
    await log.flush()
    assert unlogged() == before + 300
    assert (await numbers(pool))[-1] == WAITING + 299


async def test_while_postgres_is_away_nothing_is_lost(
    log: RejectedLog, pool: asyncpg.Pool, postgres: PostgresServer
) -> None:
    log.add(rejection(1))
    postgres.kill()
    assert not await log.flush()
    log.add(rejection(2))
    postgres.heal()
    await poll(log.flush)
    assert await numbers(pool) == [1, 2]


async def test_nothing_to_write_asks_nothing_of_postgres(log: RejectedLog, postgres: PostgresServer) -> None:
    postgres.kill()
    assert await log.flush()


async def test_what_was_added_is_written_by_itself(pool: asyncpg.Pool) -> None:
    async with open_rejected_log(pool, keep=KEEP, days=DAYS, timeout=1.0) as log:
        for number in (1, 2):
            log.add(rejection(number))
            await poll(partial(has, pool, number))


async def has(pool: asyncpg.Pool, number: int) -> bool:
    return number in await numbers(pool)


async def test_the_last_ones_are_written_at_the_end(pool: asyncpg.Pool) -> None:
    async with open_rejected_log(pool, keep=KEEP, days=DAYS, timeout=1.0) as log:
        log.add(rejection(1))
    assert await numbers(pool) == [1]


async def test_a_hostile_request_can_be_logged(settings: MakeSettings, database: str) -> None:
    async with open_door(settings(Settings, database_url=database)) as door:
        hostile = {"X-Shopify-Topic": "a\u00e9" * 2000, "User-Agent": "\u00ff'; DROP TABLE" * 100}
        assert (await door.send(b"{}", hostile)).status == 400
        row = await poll(lambda: door.database.fetchrow("SELECT * FROM webhooks.rejected"))
    assert row is not None
    assert (row["reason"], len(row["topic"]), len(row["user_agent"])) == ("missing_header", 255, 255)
