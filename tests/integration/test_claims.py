"""Taking work in hand: nobody takes what another holds, and what nobody holds any more is found."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from libs.common.contracts.envelope import Draft
from libs.common.contracts.topology import SOURCES, Lane
from libs.common.db import connection, direct_connections
from libs.common.outbox import claim_store
from libs.common.outbox.claim_store import FIRST_ID, Claimed, ClaimPlan
from libs.common.outbox.wakes import Wake
from libs.common.runtime.intake import PostgresIntake
from services.worker.sdk import Context, Message, on
from tests.clocks import TurnedClock
from tests.integration.protocol import LONG, System, effect, registry, system
from tests.waiting import poll

DEFAULT = Lane.DEFAULT
BY_BROKER = "UPDATE webhooks.outbox SET holder = 'broker:p', leased_until = now() + '15 s'"
LEASES_END = "UPDATE webhooks.outbox SET leased_until = now() - interval '1 ms'"
CLAIM_WAITS = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%leased AS%'"
DEAFEN = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'"
DRAFT = Draft("webhook.test", b"{}")
SHIFT_BACK = "UPDATE worker.scheduled SET due_at = now() - make_interval(secs => 60)"


def plan(name: str = "a", **changes: float) -> ClaimPlan:
    return ClaimPlan("worker", f"worker:{name}", **{"lease_seconds": LONG, **changes})


@pytest.fixture
async def one(database: str) -> AsyncIterator[System]:
    async with system(database) as ready:
        yield ready


async def claim(one: System, by: ClaimPlan, *, after: UUID = FIRST_ID, limit: int = 1_000) -> list[Claimed]:
    async with connection(one.pool, LONG) as conn:
        return await claim_store.claim(conn, "webhooks", by, lane=DEFAULT, after=after, limit=limit)


def ids(claimed: list[Claimed]) -> list[UUID]:
    return [row.message.id for row in claimed]


async def holders(one: System) -> set[str | None]:
    return {row["holder"] for row in await one.pool.fetch("SELECT holder FROM webhooks.outbox")}


async def test_no_row_is_claimed_twice_by_claimers_in_a_race(one: System) -> None:
    accepted = await one.accept_many(500)

    async def claimer(name: str) -> list[UUID]:
        mine: list[UUID] = []
        while got := await claim(one, plan(name), limit=7):
            mine += ids(got)
        return mine

    shares = await asyncio.gather(*(claimer(f"{n}") for n in range(10)))
    assert Counter(identifier for share in shares for identifier in share) == Counter(accepted)


async def test_a_claimed_message_is_whole(one: System) -> None:
    identifier = await one.accept(
        "webhook.orders.create", b"\x00\xff", shop="a", subject="s", correlation_id="c"
    )
    [claimed] = await claim(one, plan())
    message = claimed.message
    assert (message.id, message.type, message.source) == (identifier, "webhook.orders.create", "webhooks")
    assert (message.body, message.shop, message.subject, message.correlation_id) == (
        b"\x00\xff",
        "a",
        "s",
        "c",
    )
    assert (message.attempt, claimed.deliveries, claimed.suspicions) == (1, 1, 0)


async def test_claims_take_the_oldest_first_and_nothing_below_the_hint(one: System) -> None:
    accepted = sorted(await one.accept_many(10))
    assert ids(await claim(one, plan(), limit=3)) == accepted[:3]
    assert ids(await claim(one, plan(), after=accepted[6])) == accepted[7:]


async def test_a_leased_row_is_invisible_until_its_lease_ends_and_every_claim_is_counted(one: System) -> None:
    await one.accept()
    for deliveries in (1, 2, 3):
        [claimed] = await claim(one, plan(f"{deliveries}"))
        assert claimed.deliveries == deliveries
        assert await claim(one, plan("other")) == []
        await one.pool.execute(LEASES_END)


async def test_a_row_that_is_being_deleted_is_passed_over(one: System) -> None:
    first, second = sorted(await one.accept_many(2))
    async with connection(one.pool, LONG) as conn, conn.transaction():
        await conn.execute("SELECT FROM webhooks.outbox WHERE id = $1 FOR UPDATE", first)
        assert ids(await claim(one, plan())) == [second]


async def test_the_brokers_lease_may_be_taken_early_only_by_those_who_are_cut_off(one: System) -> None:
    await one.accept()
    await one.pool.execute(BY_BROKER)
    assert await claim(one, plan()) == []
    assert await claim(one, plan(early_seconds=5.0)) == []  # it was given a moment ago
    assert len(await claim(one, plan(early_seconds=16.0))) == 1
    assert await claim(one, plan("other", early_seconds=1_000.0)) == []  # a worker's lease is nobody else's


@pytest.mark.parametrize(
    ("holder", "seconds", "ours"),
    [
        ("worker:b", 30, False),
        ("worker:b", -1, True),
        ("broker:p", 30, True),
        ("worker:a", 30, True),
        (None, None, True),
    ],
)
async def test_renewing_takes_over_from_the_broker_and_the_dead_but_not_from_the_living(
    one: System, holder: str | None, seconds: int | None, ours: bool
) -> None:
    identifier = await one.accept()
    await one.pool.execute(
        "UPDATE webhooks.outbox SET holder = $1, leased_until = now() + make_interval(secs => $2)",
        holder,
        seconds,
    )
    async with connection(one.pool, LONG) as conn:
        await claim_store.renew(conn, "webhooks", plan("a"), DEFAULT, [identifier])
    assert await holders(one) == {"worker:a" if ours else holder}


async def test_what_is_given_back_is_claimable_at_once_and_was_never_in_hand(one: System) -> None:
    accepted = await one.accept_many(3)
    await claim(one, plan("a"))
    async with connection(one.pool, LONG) as conn:
        await claim_store.give_back(conn, "webhooks", plan("b"), DEFAULT, accepted, unharmed=True)
        assert await holders(one) == {"worker:a"}  # not b's to give
        await claim_store.give_back(conn, "webhooks", plan("a"), DEFAULT, accepted, unharmed=True)
    again = await claim(one, plan("b"))
    assert sorted(ids(again)) == sorted(accepted)
    assert {row.deliveries for row in again} == {1}


async def test_what_nobody_holds_is_taken_over_and_counted_only_where_asked(one: System) -> None:
    held, gone, free = sorted(await one.accept_many(3))
    await claim(one, plan("b"), limit=1)
    await one.pool.execute("DELETE FROM webhooks.outbox WHERE id = $1", gone)
    async with connection(one.pool, LONG) as conn:
        for counted, deliveries in ((False, 0), (True, 1), (True, 2)):
            ours = await claim_store.take_over(
                conn, "webhooks", plan("a"), DEFAULT, [held, gone, free], counted=counted
            )
            assert ours == {free: (deliveries, 0, 0)}
    assert await holders(one) == {"worker:a", "worker:b"}


async def test_what_is_given_back_is_no_suspect_any_more(one: System) -> None:
    identifier = await one.accept()
    async with connection(one.pool, LONG) as conn:
        await claim_store.suspect(conn, "webhooks", plan(), DEFAULT, identifier)
        await claim_store.give_back(conn, "webhooks", plan(), DEFAULT, [identifier], unharmed=True)
    assert [row.suspicions for row in await claim(one, plan())] == [0]


async def test_a_suspicion_is_noted_before_the_start_and_only_where_there_is_something_to_start(
    one: System,
) -> None:
    identifier = await one.accept()
    async with connection(one.pool, LONG) as conn:
        counts = [await claim_store.suspect(conn, "webhooks", plan(), DEFAULT, identifier) for _ in range(2)]
        await conn.execute("DELETE FROM webhooks.outbox")
        assert await claim_store.suspect(conn, "webhooks", plan(), DEFAULT, identifier) is None
    assert counts == [1, 2]


async def test_what_is_due_moves_once_into_the_movers_hand(one: System) -> None:
    due = set(await one.accept_many(100, delay=1_000.0))
    await one.pool.execute(SHIFT_BACK)
    early = await one.accept(delay=1_000.0)

    async def move(name: str) -> list[UUID]:
        async with connection(one.pool, LONG) as conn:
            return ids(await claim_store.move_due(conn, "webhooks", plan(name), list(Lane), 30))

    moves = [identifier for share in await asyncio.gather(*map(move, "abcdefgh")) for identifier in share]
    assert Counter(moves) == Counter(due)
    assert [row["message_id"] for row in await one.pool.fetch("SELECT * FROM worker.scheduled")] == [early]
    assert await claim(one, plan("z")) == []  # they are in hand already


# what a running consumer finds


@on("webhook.#")
async def keep(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)


async def test_the_sweep_finds_what_no_wake_up_named(one: System) -> None:
    """Its id is older than all the consumer has seen, and whoever committed it died before its NOTIFY."""
    async with connection(one.pool, LONG) as conn, one.working(registry(keep)):
        transaction = conn.transaction()
        await transaction.start()
        [older] = await one.producer.put(conn, [DRAFT])
        newer = await one.accept_many(20)
        await one.finished()
        await transaction.commit()
        await one.finished()
        await one.done_once([older.id, *newer])


async def test_a_worker_that_cannot_hear_wake_ups_polls(one: System) -> None:
    async with one.working(registry(keep)):
        await poll(lambda: one.pool.fetch(DEAFEN))
        accepted = await one.accept_many(20)
        await one.finished()
    await one.done_once(accepted)


async def test_the_dead_workers_rows_are_claimed_when_their_leases_end(one: System) -> None:
    accepted = await one.accept_many(10)
    await claim(one, plan("dead", lease_seconds=1.5))
    async with one.working(registry(keep)):
        await one.finished()
    await one.done_once(accepted)


async def test_a_buffer_smaller_than_a_claim_still_takes_work(one: System) -> None:
    accepted = await one.accept_many(30)
    async with one.working(registry(keep), consumer_buffer=4, consumer_claim_batch=100):
        await one.finished(within=15)
    await one.done_once(accepted)


async def test_a_wake_up_for_an_older_row_that_comes_during_a_claim_is_not_forgotten(one: System) -> None:
    """The clock stands still, so no sweep comes to the rescue."""
    delivered: list[UUID] = []
    intake = PostgresIntake(
        one.pool, plan(), SOURCES, TurnedClock(), room=lambda _: 1_000, batch=100,
        connect=direct_connections(one.settings), lost=lambda: None,
        deliver=lambda claimed: delivered.extend(ids(list(claimed))), timeout=LONG,
    )  # fmt: skip
    running = asyncio.create_task(intake.run())
    async with connection(one.pool, LONG) as conn, conn.transaction():
        [older] = await one.producer.put(conn, [DRAFT])
        first = await one.accept()
        wake(intake, first)
        await poll(lambda: first in delivered)
        [newer] = await one.producer.put(conn, [DRAFT])
        await conn.execute("LOCK TABLE webhooks.outbox IN EXCLUSIVE MODE")
        wake(intake, newer.id)
        await poll(lambda: one.pool.fetch(CLAIM_WAITS))
        wake(intake, older.id)
    await poll(lambda: {older.id, newer.id} <= set(delivered))
    running.cancel()


def wake(intake: PostgresIntake, first: UUID) -> None:
    intake.claims.woken(Wake("webhooks", DEFAULT, first))
    intake.look()


FLOOD_HELD_UP = """
CREATE FUNCTION held_up() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END $$;
CREATE TRIGGER held_up BEFORE UPDATE ON webhooks.outbox FOR EACH ROW
    WHEN (OLD.lane = 'overflow') EXECUTE FUNCTION held_up();
"""


async def test_who_comes_beside_a_flood_does_not_wait_for_its_claims(one: System) -> None:
    async with connection(one.pool, LONG) as conn:
        await conn.execute(FLOOD_HELD_UP)
        await conn.execute("SELECT pg_advisory_lock(4711)")
        flood = [await one.accept("webhook.test", b"{}", lane=Lane.OVERFLOW) for _ in range(3)]
        async with one.working(registry(keep), database_timeout_seconds=LONG):
            await poll(lambda: one.pool.fetch(CLAIM_WAITS))
            quiet = await one.accept()
            await poll(lambda: one.pool.fetch("SELECT FROM worker.history WHERE message_id = $1", quiet))
            assert not await one.pool.fetch("SELECT FROM worker.history WHERE message_id = ANY ($1)", flood)
            await conn.execute("SELECT pg_advisory_unlock(4711)")
            await one.finished()
    await one.done_once([*flood, quiet])
