"""Each day has its partition before it begins and loses it when its time is over; repeated events meet themselves."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from libs.common.clock import SystemClock
from libs.common.db import Connection, open_pool
from libs.common.settings import CommonSettings
from services.worker import pixel_partitions_store as store
from services.worker.pixel_partitions import Partitions
from tests.integration.pixel_rows import Row, put

TODAY = datetime(2026, 11, 21, 12, tzinfo=UTC)
WHERE = "SELECT tableoid::regclass::text FROM worker.pixel_events WHERE event_id = $1"
COUNT = "SELECT count(*) FROM worker.pixel_events"


class At(SystemClock):
    """A clock that stands still."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with open_pool(CommonSettings.load(database_url=database)) as opened:
        yield opened


@pytest.fixture
async def conn(pool: asyncpg.Pool) -> AsyncIterator[Connection]:
    async with pool.acquire() as connection:
        yield connection


def keeper(pool: asyncpg.Pool, moment: datetime = TODAY, days: int = 10) -> Partitions:
    return Partitions(pool, At(moment), 5.0, days)


def around(moment: datetime) -> list[date]:
    return [moment.date() + timedelta(days=n) for n in range(-2, 4)]


async def test_days_around_today_have_a_partition(pool: asyncpg.Pool, conn: Connection) -> None:
    assert await keeper(pool).keep()
    assert await store.partitions(conn) == around(TODAY)
    assert await keeper(pool).keep()
    assert await store.partitions(conn) == around(TODAY)


async def test_several_workers_may_keep_them_at_once(pool: asyncpg.Pool, conn: Connection) -> None:
    await asyncio.gather(*(keeper(pool).keep() for _ in range(5)))
    await keeper(pool).keep()
    assert await store.partitions(conn) == around(TODAY)


async def test_days_whose_time_is_over_go_with_their_events(pool: asyncpg.Pool, conn: Connection) -> None:
    await keeper(pool).keep()
    await put(conn, [Row("old", occurred=TODAY - timedelta(days=1)), Row("young", occurred=TODAY)])
    later = TODAY + timedelta(days=10)
    assert await keeper(pool, later).keep()
    assert await conn.fetchval(COUNT) == 1
    assert min(await store.partitions(conn)) == TODAY.date()


async def test_an_event_is_stored_in_the_partition_of_its_own_day(
    pool: asyncpg.Pool, conn: Connection
) -> None:
    await keeper(pool).keep()
    await put(conn, [Row("now", occurred=TODAY), Row("odd", occurred=datetime(2019, 1, 1, tzinfo=UTC))])
    assert await conn.fetchval(WHERE, "now") == "worker.pixel_events_20261121"
    assert await conn.fetchval(WHERE, "odd") == "worker.pixel_events_default"


async def test_a_partition_takes_over_what_waited_for_it_and_repeats_still_meet_it(
    pool: asyncpg.Pool, conn: Connection
) -> None:
    await keeper(pool).keep()
    ahead = Row("ahead", occurred=TODAY + timedelta(days=5))
    await put(conn, [ahead])
    assert await conn.fetchval(WHERE, "ahead") == "worker.pixel_events_default"
    assert await keeper(pool, TODAY + timedelta(days=3)).keep()
    assert await conn.fetchval(WHERE, "ahead") == "worker.pixel_events_20261126"
    await put(conn, [ahead, Row("ahead", occurred=ahead.occurred, received=TODAY + timedelta(days=4))])
    assert await conn.fetchval(COUNT) == 1


async def test_what_nobody_has_a_day_for_is_forgotten_too(pool: asyncpg.Pool, conn: Connection) -> None:
    await keeper(pool).keep()
    future = datetime(2099, 1, 1, tzinfo=UTC)
    await put(conn, [
        Row("long ago", occurred=future, received=TODAY - timedelta(days=11)),
        Row("lately", occurred=future, received=TODAY - timedelta(days=9)),
    ])  # fmt: skip
    await keeper(pool).keep()
    assert await conn.fetchval("SELECT array_agg(event_id) FROM worker.pixel_events") == ["lately"]


async def test_a_lock_that_is_not_to_be_had_is_left_for_later(
    pool: asyncpg.Pool, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = store.NAME_DAY.replace("'2s'", "'50ms'")
    monkeypatch.setattr("services.worker.pixel_partitions_store.NAME_DAY", quick)
    async with conn.transaction():
        await conn.execute("LOCK TABLE worker.pixel_events_default IN ACCESS SHARE MODE")
        assert not await keeper(pool).keep()
    assert await keeper(pool).keep()


async def test_the_same_events_from_two_sides_at_once_are_stored_once(
    pool: asyncpg.Pool, conn: Connection
) -> None:
    await keeper(pool).keep()
    rows = [Row(f"e{n}", occurred=TODAY) for n in range(300)]

    async def side(order: int) -> None:
        async with pool.acquire() as connection:
            await put(connection, rows[::order])

    await asyncio.gather(*(side(order) for order in (1, -1, 1, -1)))
    assert await conn.fetchval(COUNT) == 300
