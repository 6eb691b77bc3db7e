"""The session that holds a process's per-shop locks: kept while it holds none, and missed without harm."""

import asyncio

import asyncpg
import pytest

from libs.common.clock import Clock, SystemClock
from libs.common.db import Connect, direct_connections
from libs.common.runtime.slots import SURE_SECONDS, Slots
from libs.common.settings import CommonSettings
from services.worker.sdk import Context, Message, on
from tests.clocks import TurnedClock
from tests.integration import protocol
from tests.integration.protocol import effect, registry, system
from tests.waiting import poll

LAST_WORDS = "SELECT query FROM pg_stat_activity WHERE pid = $1"
BUSY = "SELECT count(*) = $1 FROM worker.scheduled WHERE reason = 'busy'"
HELD = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = $1)"


class StoppedClock(TurnedClock):
    """Its sleeps do not end."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asleep.set()
        await asyncio.Event().wait()


@pytest.fixture
def connect(database: str) -> Connect:
    return direct_connections(CommonSettings.load(database_url=database))


def slots(connect: Connect, clock: Clock | None = None) -> Slots:
    return Slots(connect, "worker", clock or SystemClock(), lost=lambda: None)


async def test_a_session_that_holds_nothing_is_kept(connect: Connect) -> None:
    """Postgres would end it, and the first slot of the next one would have to settle."""
    mine, look = slots(connect, TurnedClock()), await connect()
    slot = await mine.take("h", "s", 1)
    assert slot is not None
    await mine.release(slot)
    keeping = asyncio.create_task(mine.keep_for_ever())

    async def asked() -> bool:
        return bool(await look.fetchval(LAST_WORDS, slot.session.conn.get_server_pid()) == "SELECT 1")

    await poll(asked)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await mine.close()
    await look.close()


async def test_a_slot_given_up_while_it_settles_stays_in_doubt(connect: Connect) -> None:
    stopped, turned = StoppedClock(), TurnedClock()
    first, second, third = slots(connect), slots(connect, stopped), slots(connect, turned)
    abandoned, look = await first.take("h", "s", 1), await connect()
    assert abandoned is not None
    pid = abandoned.session.conn.get_server_pid()
    await first.close()

    async def free() -> bool:
        return not await look.fetchval(HELD, pid)

    await poll(free)
    settling = asyncio.create_task(second.take("h", "s", 1))
    await stopped.asleep.wait()
    settling.cancel()
    await asyncio.gather(settling, return_exceptions=True)
    await second.close()
    await poll(lambda: third.take("h", "s", 1))
    assert turned.seconds == pytest.approx(SURE_SECONDS)
    await third.close()
    await look.close()


async def test_work_waits_where_the_session_cannot_be_opened(
    database: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a stranger has the server's last connections; those of the pools go on working."""
    full = True

    async def refused(**session: str) -> asyncpg.Connection:
        if session and full:
            raise asyncpg.TooManyConnectionsError("sorry, too many clients already")
        return await connect(**session)

    @on("webhook.limited", per_shop=5)
    async def work(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await effect(tx, message)

    monkeypatch.setattr(protocol, "direct_connections", lambda _: refused)
    async with system(database, None) as one, one.working(registry(work)):
        ids = await one.accept_many(5, "webhook.limited", shop="s")
        await poll(lambda: one.pool.fetchval(BUSY, len(ids)))
        full = False
        await one.finished(hurry=True)
        await one.done_once(ids)
