"""What a handler emits goes out with the end of its message, or not at all."""

from collections import Counter
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from services.worker.sdk import Context, Message, on
from tests.integration.protocol import System, effect, registry, system
from tests.waiting import poll


@pytest.fixture(params=["postgres", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("broker_url") if request.param == "rabbitmq" else None


@pytest.fixture
async def one(database: str, broker: str | None) -> AsyncIterator[System]:
    async with system(database, broker) as ready:
        yield ready


@on("webhook.chain.before")
async def emit_before(message: Message, ctx: Context) -> None:
    await ctx.emit("test.link", {"from": "before"})
    async with ctx.transaction() as tx:
        await effect(tx, message, "before")


@on("webhook.chain.inside")
async def emit_inside(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await ctx.emit("test.link", {"from": "inside"})
        await effect(tx, message, "inside")


@on("webhook.chain.without")
async def emit_without(message: Message, ctx: Context) -> None:
    await ctx.emit("test.link", {"from": "without"})


@on("test.link")
async def link(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message, f"link {message.json()['from']} {message.shop} {message.correlation_id}")


async def test_an_emitted_message_is_worked_on_once_wherever_it_was_emitted(one: System) -> None:
    ways = ("before", "inside", "without")
    async with one.working(registry(emit_before, emit_inside, emit_without, link)):
        ids = [await one.accept(f"webhook.chain.{way}", shop="a") for way in ways for _ in range(10)]
        await one.finished()
    links = [note for note in await one.notes() if note.startswith("link")]
    assert links == sorted(
        f"link {way} a {ids[10 * place + n]}" for place, way in enumerate(ways) for n in range(10)
    )
    history = await one.history()
    assert len(history) == 60
    assert {row["attempts"] for row in history.values()} == {1}


@pytest.mark.parametrize("where", ["before", "inside"])
async def test_a_handler_that_fails_after_emitting_has_emitted_nothing(one: System, where: str) -> None:
    @on("webhook.regrets", retries=1)
    async def regret(message: Message, ctx: Context) -> None:
        if where == "before":
            await ctx.emit("test.link", {"from": f"attempt {message.attempt}"})
        async with ctx.transaction() as tx:
            if where == "inside":
                await ctx.emit("test.link", {"from": f"attempt {message.attempt}"})
            await effect(tx, message)
            if message.attempt == 1:
                raise ValueError("no")

    async with one.working(registry(regret, link)):
        await one.accept("webhook.regrets")
        await one.finished(hurry=True)
    notes = [note for note in await one.notes() if note]
    assert len(notes) == 1
    assert notes[0].startswith("link attempt 2")


async def test_a_message_that_another_has_ended_meanwhile_emits_nothing(one: System) -> None:
    """Its row is gone when the handler gets to its transaction, so all of it is undone."""

    @on("webhook.outrun")
    async def outrun(message: Message, ctx: Context) -> None:
        await one.pool.execute("DELETE FROM webhooks.outbox WHERE id = $1", message.id)
        await ctx.emit("test.link", {"from": "a ghost"})
        async with ctx.transaction() as tx:
            await effect(tx, message)

    async with one.working(registry(outrun, link)):
        await one.accept("webhook.outrun")
        await one.finished()
    assert await one.effects() == Counter()
    assert await one.history() == {}
    assert await one.failed() == {}


async def test_a_delay_and_a_lane_are_kept(one: System) -> None:
    @on("webhook.planner")
    async def plan(message: Message, ctx: Context) -> None:
        await ctx.emit("test.link", {"from": "now"}, lane="bulk", shop="b")
        await ctx.emit("test.link", {"from": "soon"}, lane="critical", delay=3_600)
        async with ctx.transaction() as tx:
            await effect(tx, message)

    async with one.working(registry(plan, link)):
        await one.accept("webhook.planner", shop="a")

        async def waits_alone() -> bool:
            return await one.left() == 1 and len(await one.history()) == 2

        await poll(waits_alone, within=30)
        [waiting] = await one.pool.fetch("SELECT lane, reason, due_at > now() AS later FROM worker.scheduled")
        assert dict(waiting) == {"lane": "critical", "reason": "delay", "later": True}
        await one.finished(hurry=True)
    lanes = {row["type"]: row["lane"] for row in (await one.history()).values() if row["shop"] == "b"}
    assert lanes == {"test.link": "bulk"}
    assert [note.split()[:3] for note in await one.notes() if note] == [
        ["link", "now", "b"],
        ["link", "soon", "a"],
    ]


async def test_an_emitted_key_is_emitted_once(one: System) -> None:
    @on("webhook.keyed")
    async def emit_keyed(message: Message, ctx: Context) -> None:
        await ctx.emit("test.link", {"from": "one of many"}, key="the same")

    async with one.working(registry(emit_keyed, link)):
        await one.accept_many(30, "webhook.keyed", shop="a")
        await one.finished()
    assert len(await one.notes()) == 1
    assert len(await one.history()) == 31


async def test_a_long_chain_ends_where_it_should(one: System) -> None:
    @on("test.step", "webhook.step")
    async def step(message: Message, ctx: Context) -> None:
        left = message.json()["left"]
        async with ctx.transaction() as tx:
            await effect(tx, message, f"{left:02}")
            if left:
                await ctx.emit("test.step", {"left": left - 1})

    async with one.working(registry(step)):
        await one.accept("webhook.step", b'{"left": 20}')
        await poll(lambda: one.pool.fetchval("SELECT count(*) = 21 FROM worker.history"), within=30)
    assert await one.notes() == [f"{number:02}" for number in range(21)]


async def test_what_cannot_be_emitted_is_the_handlers_failure(one: System) -> None:
    @on("webhook.wrong", retries=0)
    async def emit_wrong(message: Message, ctx: Context) -> None:
        await ctx.emit("test.link", {"from": "x"}, lane="fast")

    @on("webhook.unstorable", retries=0)
    async def emit_unstorable(message: Message, ctx: Context) -> None:
        await ctx.emit("test.link", {"from": "x"}, subject="nul \x00")

    async with one.working(registry(emit_wrong, emit_unstorable, link)):
        ids: set[UUID] = {await one.accept("webhook.wrong"), await one.accept("webhook.unstorable")}
        await one.finished()
    assert set(await one.failed()) == ids
    assert await one.notes() == []


async def test_a_messages_id_can_be_emitted_as_it_is(one: System) -> None:
    """On either route, whatever class of UUID Postgres or RabbitMQ brought it as."""

    @on("webhook.named")
    async def emit_id(message: Message, ctx: Context) -> None:
        await ctx.emit("test.link", {"from": message.id})

    async with one.working(registry(emit_id, link)):
        root = await one.accept("webhook.named", shop="a")
        await one.finished()
    notes = [row["note"] for row in await one.pool.fetch("SELECT note FROM worker.effects")]
    assert notes == [f"link {root} a {root}"]
