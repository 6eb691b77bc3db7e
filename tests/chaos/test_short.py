"""The short chaos run of CI: everything is broken once under traffic, and nothing is lost or doubled."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from tests.chaos import checker
from tests.chaos.stack import SECRET, Stack
from tests.chaos.traffic import Traffic
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitNode
from tests.waiting import poll

Fault = Callable[[], Awaitable[None]]


async def accepted_more(traffic: Traffic, number: int = 40) -> None:
    """Waits until traffic flowed for a while: so many further deliveries were accepted."""
    goal = len(traffic.record.topics) + number
    await poll(lambda: len(traffic.record.topics) >= goal, within=40)


async def routes_used(conn: asyncpg.Connection, route: str) -> None:
    """Waits until work ended by a route that had not ended by it before."""
    count = "SELECT count(*) FROM worker.history WHERE route = $1"
    before = await conn.fetchval(count, route)

    async def more() -> bool:
        return bool(await conn.fetchval(count, route) > before)

    await poll(more, within=120)  # a quorum queue that a kill left without a leader is made anew after 20 s


@pytest.mark.timeout(400)
async def test_nothing_is_lost_or_doubled_whatever_is_killed(
    database: str, broker_url: str, rabbit: RabbitNode, postgres: PostgresServer, tmp_path: Path
) -> None:
    conn = await asyncpg.connect(database)
    await conn.execute(checker.TABLE)
    with Stack(tmp_path, database_url=database, rabbitmq_url=broker_url) as stack:
        traffic = Traffic(stack.url, SECRET)
        sending = asyncio.create_task(traffic.run())
        await accepted_more(traffic)
        await routes_used(conn, "rabbitmq")

        await asyncio.to_thread(rabbit.kill)
        await accepted_more(traffic)
        await asyncio.to_thread(rabbit.start)
        await routes_used(conn, "rabbitmq")

        await asyncio.to_thread(rabbit.freeze)
        await accepted_more(traffic)
        await asyncio.to_thread(rabbit.thaw)

        for name in ("worker0", "worker1", "webhooks"):
            stack.kill(name)
            stack.start(name)
            await accepted_more(traffic)

        stack.freeze("worker0")
        await accepted_more(traffic, 300)
        stack.thaw("worker0")

        assert stack.stop("worker1") == 0
        stack.start("worker1")
        await accepted_more(traffic)

        await conn.close()
        await asyncio.to_thread(postgres.restart)
        await accepted_more(traffic)
        await asyncio.to_thread(postgres.kill)
        await asyncio.to_thread(postgres.start)
        await accepted_more(traffic)

        traffic.finish()
        await sending
        conn = await asyncpg.connect(database)
        await checker.drained(conn, within=90)
        verdict = await checker.judge(conn, traffic.record)
        dead = stack.dead()
    await conn.close()
    assert verdict.problems == []
    assert dead == []
    assert verdict.by_route.keys() == {"rabbitmq", "postgres"}


@pytest.mark.timeout(200)
async def test_a_wiped_broker_costs_nothing(database: str, rabbit: RabbitNode, tmp_path: Path) -> None:
    conn = await asyncpg.connect(database)
    await conn.execute(checker.TABLE)
    with Stack(tmp_path, database_url=database, rabbitmq_url=rabbit.url) as stack:
        traffic = Traffic(stack.url, SECRET)
        sending = asyncio.create_task(traffic.run())
        await routes_used(conn, "rabbitmq")
        await asyncio.to_thread(rabbit.wipe)
        await accepted_more(traffic)
        await asyncio.to_thread(rabbit.start)
        await routes_used(conn, "rabbitmq")
        traffic.finish()
        await sending
        await checker.drained(conn, within=60)
        verdict = await checker.judge(conn, traffic.record)
        dead = stack.dead()
    await conn.close()
    assert verdict.problems == []
    assert dead == []
