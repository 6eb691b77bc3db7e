"""What a handler may count on, on both routes alike."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import orjson
import pytest

from libs.common.outbox.faults import FaultPoints
from libs.common.runtime.outcomes import TransactionUsed
from services.worker.sdk import Context, Later, Message, Never, on
from tests.integration.protocol import EFFECT, System, effect, registry, system

WAIT_FOR_EVER = asyncio.Event


@pytest.fixture(params=["postgres", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("broker_url") if request.param == "rabbitmq" else None


@pytest.fixture
async def one(database: str, broker: str | None) -> AsyncIterator[System]:
    async with system(database, broker) as ready:
        yield ready


@on("webhook.kept", "test.#")
async def keep(message: Message, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        await effect(tx, message)


async def test_a_handler_sees_the_message_as_it_was_sent(one: System) -> None:
    seen: list[Message] = []

    @on("webhook.seen")
    async def see(message: Message, ctx: Context) -> None:
        assert ctx.idempotency_key == str(message.id)
        seen.append(message)

    sent = {
        "shop": "a.myshopify.com",
        "subject": "s",
        "dataschema": "1",
        "correlation_id": "c",
        "traceparent": "t",
    }
    async with one.working(registry(see)):
        ids = [await one.accept("webhook.seen", body, **sent) for body in (b'{"id": 1}', b"\x00\xff", b"")]
        await one.finished()
    by_id = {message.id: message for message in seen}
    assert [by_id[identifier].body for identifier in ids] == [b'{"id": 1}', b"\x00\xff", b""]
    assert by_id[ids[0]].json() == {"id": 1}
    for message in seen:
        assert {name: getattr(message, name) for name in sent} == sent
        assert (message.source, message.type, message.attempt) == ("webhooks", "webhook.seen", 1)
        assert message.time.tzinfo is not None


async def test_a_handler_without_a_transaction_just_ends_its_message(one: System) -> None:
    @on("webhook.idle")
    async def idle(message: Message, ctx: Context) -> None:
        ctx.log.info("Nothing to do.")

    ids = await one.accept_many(20, "webhook.idle")
    async with one.working(registry(idle)):
        await one.finished()
    history = await one.history()
    assert {(row["outcome"], row["handler"], row["attempts"]) for row in history.values()} == {
        ("completed", "tested.idle", 1)
    }
    assert set(history) == set(ids)


async def test_what_nobody_handles_ends_as_unhandled(one: System) -> None:
    async with one.working(registry(keep)):
        ids = await one.accept_many(30, "webhook.of_no_interest")
        await one.finished()
    history = await one.history()
    assert {(row["outcome"], row["handler"]) for row in history.values()} == {("unhandled", None)}
    assert set(history) == set(ids)


async def test_a_handler_that_fails_is_tried_again_until_it_works(one: System) -> None:
    attempts: list[int] = []

    @on("webhook.flaky", retries=2)
    async def flaky(message: Message, ctx: Context) -> None:
        attempts.append(message.attempt)
        async with ctx.transaction() as tx:
            await effect(tx, message)
            if message.attempt < 3:
                raise ValueError(f"attempt {message.attempt}")

    async with one.working(registry(flaky)):
        identifier = await one.accept("webhook.flaky")
        await one.finished(hurry=True)
    row = (await one.history())[identifier]
    assert attempts == [1, 2, 3]
    assert await one.effects() == {identifier: 1}
    assert row["attempts"] == 3
    assert [entry["error"] for entry in orjson.loads(row["log"])] == [
        "ValueError: attempt 1",
        "ValueError: attempt 2",
    ]


async def test_what_fails_at_every_try_is_failed_with_all_its_attempts(one: System) -> None:
    @on("webhook.hopeless", retries=2)
    async def hopeless(message: Message, ctx: Context) -> None:
        raise ValueError(f"attempt {message.attempt}")

    async with one.working(registry(hopeless)):
        ids = await one.accept_many(5, "webhook.hopeless")
        await one.finished(hurry=True)
    failed = await one.failed()
    assert set(failed) == set(ids)
    assert await one.history() == {}
    for row in failed.values():
        assert (row["reason"], row["attempts"], row["error"]) == ("exhausted", 3, "ValueError: attempt 3")
        errors = [entry["error"] for entry in orjson.loads(row["log"])]
        assert errors == [f"ValueError: attempt {number}" for number in (1, 2, 3)]


async def test_never_and_a_body_that_cannot_be_read_fail_at_once(one: System) -> None:
    @on("webhook.never")
    async def never(message: Message, ctx: Context) -> None:
        raise Never("this shop is closed")

    @on("webhook.unreadable")
    async def unreadable(message: Message, ctx: Context) -> None:
        message.json()

    async with one.working(registry(never, unreadable)):
        refused = await one.accept("webhook.never")
        garbled = await one.accept("webhook.unreadable", b"{")
        await one.finished()
    failed = await one.failed()
    assert {row["reason"] for row in failed.values()} == {"never"}
    assert (failed[refused]["error"], failed[refused]["attempts"]) == ("this shop is closed", 1)
    assert "is not JSON" in failed[garbled]["error"]


async def test_asking_for_later_uses_no_retry(one: System) -> None:
    calls: list[int] = []

    @on("webhook.later", retries=0)
    async def later(message: Message, ctx: Context) -> None:
        calls.append(message.attempt)
        if len(calls) < 5:
            raise Later(seconds=0.01 if len(calls) % 2 else 3_600)
        async with ctx.transaction() as tx:
            await effect(tx, message)

    async with one.working(registry(later)):
        identifier = await one.accept("webhook.later")
        await one.finished(hurry=True)
    assert calls == [1] * 5
    await one.done_once([identifier])


async def test_a_handler_that_hangs_is_cancelled_at_its_timeout_and_that_counts(one: System) -> None:
    cancelled: list[int] = []

    @on("webhook.hanging", retries=1, timeout=0.2)
    async def hang(message: Message, ctx: Context) -> None:
        try:
            async with ctx.transaction() as tx:
                await effect(tx, message)
                await WAIT_FOR_EVER().wait()
        except asyncio.CancelledError:
            cancelled.append(message.attempt)
            raise

    async with one.working(registry(hang)):
        identifier = await one.accept("webhook.hanging")
        await one.finished(hurry=True)
    assert cancelled == [1, 2]
    assert await one.effects() == {}
    row = (await one.failed())[identifier]
    assert (row["reason"], row["attempts"], row["error"]) == ("exhausted", 2, "timed out after 0.2 s")


async def test_a_handler_that_is_cancelled_from_within_has_failed(one: System) -> None:
    @on("webhook.cancelled", retries=0)
    async def cancel(message: Message, ctx: Context) -> None:
        other = asyncio.create_task(WAIT_FOR_EVER().wait())
        other.cancel()
        await other

    async with one.working(registry(cancel, keep)):
        identifier = await one.accept("webhook.cancelled")
        kept = await one.accept("webhook.kept")
        await one.finished()
    assert set(await one.failed()) == {identifier}
    assert set(await one.history()) == {kept}


@pytest.mark.parametrize("where", ["inside", "around"])
async def test_a_failure_in_the_transaction_that_the_handler_swallows_does_not_end_the_message(
    one: System, where: str
) -> None:
    """Its writes were rolled back, so it is not done, whatever it says."""

    @on("webhook.swallowed", retries=0)
    async def swallow(message: Message, ctx: Context) -> None:
        try:
            async with ctx.transaction() as tx:
                await effect(tx, message)
                try:
                    await tx.execute(EFFECT, None, "not null is violated")
                except asyncpg.NotNullViolationError:
                    if where == "around":
                        raise
        except asyncpg.NotNullViolationError:
            return

    async with one.working(registry(swallow)):
        identifier = await one.accept("webhook.swallowed")
        await one.finished()
    assert await one.effects() == {}
    assert await one.history() == {}
    assert "rolled back" in (await one.failed())[identifier]["error"]


async def test_a_savepoint_lets_a_handler_live_with_a_failed_statement(one: System) -> None:
    @on("webhook.saved")
    async def save(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await effect(tx, message)
            try:
                async with tx.transaction():
                    await tx.execute(EFFECT, None, "not null is violated")
            except asyncpg.NotNullViolationError:
                ctx.log.info("Known already.")

    async with one.working(registry(save)):
        identifier = await one.accept("webhook.saved")
        await one.finished()
    await one.done_once([identifier])


async def too_late(then: str, message: Message, ctx: Context) -> None:
    if then == "raise":
        raise ValueError("too late")
    if then == "emit":
        await ctx.emit("test.too_late")
    async with ctx.transaction() as tx:
        await effect(tx, message)


@pytest.mark.parametrize("then", ["raise", "second transaction", "emit"])
async def test_what_goes_wrong_after_the_commit_does_not_undo_the_end(one: System, then: str) -> None:
    errors: list[type[Exception]] = []

    @on("webhook.committed")
    async def commit(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await effect(tx, message)
        try:
            await too_late(then, message, ctx)
        except Exception as error:
            errors.append(type(error))
            raise

    async with one.working(registry(commit, keep)):
        identifier = await one.accept("webhook.committed")
        await one.finished()
    assert errors == [ValueError if then == "raise" else TransactionUsed]
    await one.done_once([identifier])


async def test_a_failure_between_the_handlers_last_line_and_the_commit_leaves_nothing_and_is_made_good(
    one: System,
) -> None:
    failures = Counter[str]()

    async def fail_once() -> None:
        failures["so far"] += 1
        if failures["so far"] == 1:
            raise OSError("the machine hiccups")

    @on("webhook.unlucky")
    async def unlucky(message: Message, ctx: Context) -> None:
        await ctx.emit("test.emitted")
        async with ctx.transaction() as tx:
            await effect(tx, message)

    faults = FaultPoints({"handler done, not committed": fail_once})
    async with one.working(registry(unlucky, keep), faults=faults):
        identifier = await one.accept("webhook.unlucky")
        await one.finished(hurry=True)
    history = await one.history()
    assert len(history) == 2
    assert await one.effects() == Counter(list(history))
    assert history[identifier]["attempts"] == 2
