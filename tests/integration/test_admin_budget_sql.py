"""The lease in SQL and the one in Python are the same."""

import asyncio
from dataclasses import asdict

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common.shopify.admin import store
from libs.common.shopify.admin.budget import AHEAD, Ask, Lease, Level, Seen, lease
from libs.common.shopify.admin.costs import Bucket
from libs.common.shopify.admin.lanes import ApiLane

SHOP = "one.myshopify.com"
# In the future, so that no time passes between the statement and the comparison.
PUT = """
INSERT INTO shopify.budgets (shop, available, at, maximum, rate, known)
VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3), $4, $5, $6)
ON CONFLICT (shop) DO UPDATE SET (available, at, maximum, rate, known)
    = (excluded.available, excluded.at, excluded.maximum, excluded.rate, excluded.known)
"""

points = st.sampled_from([0.0, 1.0, 30.0, 100.0, 475.0, 760.0, 1_000.0])
buckets = st.builds(
    Bucket,
    st.sampled_from([1_000.0, 2_000.0, 20_000.0]),
    st.floats(0, 1_000),
    st.sampled_from([50.0, 100.0, 1_000.0]),
)
asks = st.builds(
    Ask, points, st.sampled_from(ApiLane), points, points, st.sampled_from([AHEAD, 3.0, 20.0]),
    st.floats(-500, 500), st.none() | st.builds(Seen, buckets, st.floats(0, 10)),
)  # fmt: skip
levels = st.builds(
    Level, st.floats(-1_000, 2_000), st.just(0.0), st.sampled_from([1_000.0, 2_000.0]), st.sampled_from([50.0, 100.0]),
    st.booleans(),
)  # fmt: skip


async def _lease(conn: asyncpg.Connection, level: Level, ask: Ask, ahead: float) -> Lease:
    await conn.execute(PUT, SHOP, level.available, ahead, level.maximum, level.rate, level.known)
    return await store.lease(conn, SHOP, ask, 5)


@pytest.mark.timeout(120)
def test_the_same_answer_to_every_ask(database: str) -> None:
    with asyncio.Runner() as runner:
        conn = runner.run(asyncpg.connect(database))

        @settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
        @given(levels, asks)
        def same(level: Level, ask: Ask) -> None:
            expected = lease(level, ask, 0.0)[1]
            found = runner.run(_lease(conn, level, ask, 60.0))
            assert asdict(found) == pytest.approx(asdict(expected))
            assert runner.run(conn.fetchval("SELECT known FROM shopify.budgets")) == (
                level.known or ask.seen is not None
            )

        same()
        runner.run(conn.close())


async def test_points_come_back_with_time(database: str) -> None:
    conn = await asyncpg.connect(database)
    found = await _lease(conn, Level(0.0, 0.0, 2_000, 100, known=True), Ask(0.0), -5.0)
    assert found.available == pytest.approx(500, abs=200)
    found = await _lease(conn, Level(0.0, 0.0, 2_000, 100, known=True), Ask(0.0), -5_000.0)
    assert found.available == 1_900
    await conn.close()


async def test_a_shop_not_called_for_a_day_is_forgotten(database: str) -> None:
    conn = await asyncpg.connect(database)
    await conn.execute(PUT, SHOP, 0.0, -100.0, 1_000.0, 50.0, True)
    await store.forget(conn, 1_000, 5)
    assert await conn.fetchval("SELECT count(*) FROM shopify.budgets") == 1
    await store.forget(conn, 50, 5)
    assert await conn.fetchval("SELECT count(*) FROM shopify.budgets") == 0
    assert (await store.lease(conn, SHOP, Ask(10.0), 5)).granted
    await conn.close()
