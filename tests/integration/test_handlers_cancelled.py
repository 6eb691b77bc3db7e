"""Work that has lost its point ends as cancelled and says why, and can be done all the same."""

from collections.abc import AsyncIterator

import orjson
import pytest

from libs.common.clock import SystemClock
from libs.common.token_client import NotInstalled
from services.worker import service
from services.worker.sdk import Cancelled, Context, Later, Message, on
from services.worker.service import Books
from tests.integration.protocol import System, effect, registry, system


@pytest.fixture
async def one(database: str) -> AsyncIterator[System]:
    async with system(database) as ready:
        yield ready


def books(one: System) -> Books:
    return Books(one.pool, SystemClock(), 5.0)


async def test_work_for_a_shop_that_removed_the_app_is_cancelled_with_the_reason(one: System) -> None:
    @on("webhook.point")
    async def call_shopify(message: Message, ctx: Context) -> None:
        if message.attempt == 1 and not ctx.message.correlation_id:
            raise NotInstalled

    async with one.working(registry(call_shopify)):
        identifier = await one.accept("webhook.point")
        await one.finished()
    job = await service.show(books(one), identifier)
    assert (job["status"], job["outcome"], job["tries"]) == ("completed", "cancelled", 1)
    assert job["error"].startswith("The app is not installed on this shop")
    assert [attempt["error"] for attempt in job["attempts"]] == [job["error"]]
    assert await one.failed() == {}


async def test_nothing_that_a_cancelled_handler_wrote_is_kept(one: System) -> None:
    @on("webhook.point")
    async def write_and_stop(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await effect(tx, message)
            await ctx.emit("never.sent")
            raise Cancelled("no point in it")

    async with one.working(registry(write_and_stop)):
        await one.accept("webhook.point")
        await one.finished()
    assert await one.effects() == {}
    assert {row["outcome"] for row in (await one.history()).values()} == {"cancelled"}


async def test_what_came_before_stays_in_the_story_and_a_replay_goes_on_from_it(one: System) -> None:
    installed: list[bool] = []

    @on("webhook.point")
    async def wait_then_stop(message: Message, ctx: Context) -> None:
        if installed:
            return
        ctx.log.info("Looking.")
        story = await one.pool.fetchval("SELECT log FROM webhooks.outbox WHERE id = $1", message.id)
        if not story:
            raise Later(0.0, "not yet")
        raise Cancelled("no point in it")

    async with one.working(registry(wait_then_stop)):
        identifier = await one.accept("webhook.point")
        await one.finished(hurry=True)
        job = await service.show(books(one), identifier)
        assert [attempt["error"] for attempt in job["attempts"]] == ["not yet", "no point in it"]
        installed.append(True)
        await one.replay(identifier)
        await one.finished()
    job = await service.show(books(one), identifier)
    assert (job["outcome"], job["tries"], job["error"]) == ("completed", 3, None)
    assert orjson.dumps(job["attempts"], default=str).count(b"no point in it") == 1
