"""A worker that dies at a point of the protocol, and handlers of every kind for it to die in."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

from pydantic import SecretStr

from libs.common.outbox.faults import FaultPoints, Point
from services.worker.sdk import Cancelled, Context, Message, Never, on
from tests.integration.protocol import HURRY, LONG, System, Worker, effect, registry
from tests.waiting import poll

MAKE = "CREATE ROLE doomed LOGIN PASSWORD 'doomed' IN ROLE postgres"
END = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'doomed'"
PATIENT = 600.0  # no handler is ended while it hangs
FREE = """
SELECT NOT EXISTS (SELECT FROM webhooks.outbox WHERE holder LIKE 'worker:%' AND leased_until > now())
   AND NOT EXISTS (SELECT FROM worker.outbox WHERE holder LIKE 'worker:%' AND leased_until > now())
"""
KINDS = ("plain", "bare", "emitting", "batch", "slow", "unlucky", "pointless", "refused")


class Death(FaultPoints):
    """Once the point is reached, the process stands still: whatever comes to any point hangs there.

    What comes to the point `holding` hangs there from the beginning.
    """

    def __init__(self, point: Point, *, holding: Point | None = None) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.undone = asyncio.Event()
        self._point, self._holding = point, holding

    async def reach(self, point: Point) -> None:
        if point == self._point:
            self.reached.set()
        if self.reached.is_set() or point == self._holding:
            await self.undone.wait()


class Doomed:
    """A worker that reaches Postgres as a role of its own, so that it can be cut off as death would do it."""

    def __init__(self, one: System, worker: Worker, death: Death) -> None:
        self.worker = worker
        self._one, self._death = one, death

    async def die(self) -> None:
        """Returns once it is dead at its point; what is scheduled on the way there need not wait for its time."""
        async with asyncio.timeout(LONG):
            while not self._death.reached.is_set():
                await self._one.pool.execute(HURRY)
                await asyncio.sleep(0.05)
        await self.worker.crash()
        await self._one.pool.execute("ALTER ROLE doomed CONNECTION LIMIT 0")
        await poll(self._cut_off)

    async def come_back(self) -> None:
        """What hung goes on to its end, as in a process that was frozen for long and is woken."""
        await self._one.pool.execute("ALTER ROLE doomed CONNECTION LIMIT -1")
        self._death.undone.set()
        await self.worker.consumer.quiesce(LONG)

    async def rot(self) -> None:
        """What hung ends without Postgres, so that nothing of it is left in the test."""
        self._death.undone.set()
        await self.worker.consumer.quiesce(0)

    async def _cut_off(self) -> bool:
        return bool(await self._one.pool.fetchval(END) == 0)


@asynccontextmanager
async def doomed(one: System, point: Point, *, holding: Point | None = None) -> AsyncIterator[Doomed]:
    """A worker that will die at this point."""
    await one.pool.execute(MAKE)
    url = urlsplit(one.database_url)
    theirs = urlunsplit(url._replace(netloc=f"doomed:doomed@{url.hostname}:{url.port}"))
    death = Death(point, holding=holding)
    async with one.working(HANDLERS, faults=death, database_url=SecretStr(theirs)) as worker:
        yield Doomed(one, worker, death)
    await one.pool.execute("DROP ROLE doomed")


async def others_finish(one: System) -> None:
    """A worker in good health, begun when the dead one's leases are over, does all that there is to do."""
    await poll(lambda: one.pool.fetchval(FREE), within=LONG)
    async with one.working(HANDLERS):
        await one.finished(hurry=True)


@on("webhook.plain", timeout=PATIENT, together=5)
async def keep(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)


@on("webhook.bare", timeout=PATIENT)
async def do_without_a_transaction(message: Message, ctx: Context) -> None:
    """Ends in a transaction of the runtime's own."""


@on("webhook.emitting", timeout=PATIENT)
async def emit(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await ctx.emit("link", str(message.id).encode())
        await effect(tx, message)


@on("webhook.batch", timeout=PATIENT, batch=5)
async def keep_many(messages: list[Message], ctx: Context) -> None:
    async with ctx.transaction() as tx:
        for message in messages:
            await effect(tx, message)


@on("webhook.slow", timeout=PATIENT, per_shop=2)
async def keep_within_limits(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)


@on("webhook.unlucky", timeout=PATIENT)
async def fail_once(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)
        if message.attempt == 1:
            raise ValueError("the first time")


@on("webhook.refused", timeout=PATIENT)
async def refuse(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)
        raise Never("refused")


@on("webhook.pointless", timeout=PATIENT)
async def find_no_point(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)
        raise Cancelled("nobody wants it any more")


@on("link", timeout=PATIENT)
async def end_chain(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message, message.body.decode())


HANDLERS = registry(
    keep,
    do_without_a_transaction,
    emit,
    keep_many,
    keep_within_limits,
    fail_once,
    find_no_point,
    refuse,
    end_chain,
)

Ids = dict[str, list[UUID]]


async def accept_all(one: System, number: int = 3) -> Ids:
    """Some messages of every kind."""
    return {kind: await one.accept_many(number, f"webhook.{kind}", shop="a.myshopify.com") for kind in KINDS}


async def all_done_once(one: System, ids: Ids) -> None:
    """Fails unless each message came to its own end, once, and none of its attempts was used up by a death."""
    history = await one.history()
    done = {i for kind in KINDS if kind != "refused" for i in ids[kind]}
    links = history.keys() - done
    assert {i: row["reason"] for i, row in (await one.failed()).items()} == dict.fromkeys(
        ids["refused"], "never"
    )
    assert done <= history.keys()
    assert await one.effects() == Counter((done | links) - {*ids["bare"], *ids["pointless"]})
    assert [note for note in await one.notes() if note] == sorted(map(str, ids["emitting"]))
    attempts = {i: row["attempts"] for i, row in history.items()}
    assert attempts == dict.fromkeys(done | links, 1) | dict.fromkeys(ids["unlucky"], 2)
