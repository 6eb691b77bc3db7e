"""What Postgres and asyncpg allow on this machine: the outbox drained by the least code that does it once in effect.

No history, no retries, no lanes, no second consumer: nothing but the row's deletion and the handler's row in one
transaction. These are the prototypes behind the limits of the design; a runtime cannot be quicker than they are. Those
"with history" leave the line that tells afterwards what became of a message, as every consumer of ours does: what is
between them and the runtime is the runtime.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from uuid import UUID

import asyncpg
import orjson

from bench.handlers import WRITE, WRITE_MANY
from libs.common.ids import made_at
from libs.common.outbox import end_store
from libs.common.outbox.names import bind

_CLAIM = """
WITH leased AS (
    UPDATE webhooks.outbox SET holder = 'limit', leased_until = now() + interval '1 minute'
    WHERE destination = 'worker' AND lane = 'default' AND id = ANY (ARRAY(
        SELECT id FROM webhooks.outbox
        WHERE destination = 'worker' AND lane = 'default' AND id > $1 AND leased_until IS NULL
        ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING id
)
SELECT m.id, m.body
FROM leased AS l CROSS JOIN LATERAL (SELECT id, body FROM webhooks.messages WHERE id = l.id OFFSET 0) AS m
ORDER BY m.id
"""
_END = "DELETE FROM webhooks.outbox WHERE destination = 'worker' AND lane = 'default' AND id = $1"
_END_MANY = (
    "DELETE FROM webhooks.outbox WHERE destination = 'worker' AND lane = 'default' AND id = ANY ($1::uuid[])"
)
_END_WITH_HISTORY = bind(end_store.END_ONE, source="webhooks", consumer="worker")
_END_MANY_WITH_HISTORY = bind(end_store.END_MANY, source="webhooks", consumer="worker")

CONNECTIONS = 16  # as many as the worker runs handlers at once
_CLAIMED = 100

Work = Callable[[asyncpg.Connection, Sequence[UUID]], Awaitable[None]]


async def end_one(conn: asyncpg.Connection, ids: Sequence[UUID]) -> None:
    """Deletes the row of one message."""
    await conn.execute(_END, ids[0])


async def end_many(conn: asyncpg.Connection, ids: Sequence[UUID]) -> None:
    """Deletes the rows of messages."""
    await conn.execute(_END_MANY, ids)


async def end_one_with_history(conn: asyncpg.Connection, ids: Sequence[UUID]) -> None:
    """The runtime's own statement, which leaves a line of history."""
    made = made_at(ids[0])
    await conn.fetchval(
        _END_WITH_HISTORY, "worker", "default", ids[0], "webhooks", "webhook.bench.limit",
        "bench.myshopify.com", "completed", "limit", "postgres", made, made,
    )  # fmt: skip


async def end_many_with_history(conn: asyncpg.Connection, ids: Sequence[UUID]) -> None:
    """The runtime's own statement, which leaves a line of history for each."""
    same = {
        "type": "webhook.bench.limit", "shop": "bench.myshopify.com", "outcome": "completed", "handler": "limit",
        "route": "postgres",
    }  # fmt: skip
    times = [(identifier, made_at(identifier)) for identifier in ids]
    lines = [same | {"id": one.hex, "created_at": at, "started_at": at} for one, at in times]
    await conn.fetch(
        _END_MANY_WITH_HISTORY, "worker", "default", ids, "webhooks", orjson.dumps(lines).decode()
    )


async def one_by_one(conn: asyncpg.Connection, ids: Sequence[UUID], end: Work) -> None:
    """One transaction for each message."""
    for identifier in ids:
        async with conn.transaction():
            await end(conn, [identifier])
            await conn.execute(WRITE, str(identifier))


async def sharing(conn: asyncpg.Connection, ids: Sequence[UUID], end: Work) -> None:
    """One transaction for all, one statement for each: handlers that know nothing of each other."""
    async with conn.transaction():
        await end(conn, ids)
        for identifier in ids:
            await conn.execute(WRITE, str(identifier))


async def batch(conn: asyncpg.Connection, ids: Sequence[UUID], end: Work) -> None:
    """One transaction and two statements for all."""
    async with conn.transaction():
        await end(conn, ids)
        await conn.execute(WRITE_MANY, [str(identifier) for identifier in ids])


async def drain(url: str, work: Work, *, group: int) -> None:
    """Works off what is in the outbox, `group` messages for each call of `work`."""
    claims: asyncio.Queue[Sequence[UUID]] = asyncio.Queue(2 * CONNECTIONS)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        workers = [
            tasks.create_task(_work_off(await _connected(stack, url), claims, work))
            for _ in range(CONNECTIONS)
        ]
        await _claim_all(await _connected(stack, url), claims, group)
        await claims.join()
        for worker in workers:
            worker.cancel()


async def _connected(stack: AsyncExitStack, url: str) -> asyncpg.Connection:
    conn = await asyncpg.connect(url)
    stack.push_async_callback(conn.close)
    return conn


async def _claim_all(conn: asyncpg.Connection, claims: "asyncio.Queue[Sequence[UUID]]", group: int) -> None:
    after = UUID(int=0)
    while rows := await conn.fetch(_CLAIM, after, _CLAIMED):
        ids = [row["id"] for row in rows]
        after = ids[-1]
        for first in range(0, len(ids), group):
            await claims.put(ids[first : first + group])


async def _work_off(conn: asyncpg.Connection, claims: "asyncio.Queue[Sequence[UUID]]", work: Work) -> None:
    while True:
        ids = await claims.get()
        await work(conn, ids)
        claims.task_done()
