"""What a handler may do with `ctx.shopify` and `ctx.cache`."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from libs.common.runtime.outcomes import Later, NotWired, TransactionOpen
from libs.common.shopify.admin import errors
from libs.common.shopify.admin.answers import Answer
from services.worker.sdk import ApiLane, Context, Message, on
from tests.admin_double import AdminDouble
from tests.integration.admin_kit import QUERY, SHOP
from tests.integration.protocol import System, effect, registry, system


class Recorded(AdminDouble):
    """Stands in for the client: its own tests are elsewhere; here it matters when it is called."""

    def __init__(self, *fails: Exception) -> None:
        self.calls: list[tuple[str, str, Mapping[str, Any] | None, ApiLane]] = []
        self._fails = list(fails)

    async def answered(
        self, shop: str, query: str, variables: Mapping[str, Any] | None, lane: ApiLane
    ) -> Answer:
        self.calls.append((shop, query, variables, lane))
        if self._fails:
            raise self._fails.pop(0)
        return Answer({"shop": {"name": shop}})


@pytest.fixture
async def one(database: str) -> AsyncIterator[System]:
    async with system(database, None) as ready:
        yield ready


async def test_a_handler_calls_the_shop_of_its_message_and_others(one: System) -> None:
    admin, names = Recorded(), []

    @on("webhook.asked")
    async def ask(message: Message, ctx: Context) -> None:
        names.append(
            (await ctx.shopify().graphql(QUERY, {"first": 1}, lane=ApiLane.PRIVACY)).data["shop"]["name"]
        )
        names.append((await ctx.shopify("other.myshopify.com").graphql(QUERY)).data["shop"]["name"])
        async with ctx.transaction() as tx:
            await effect(tx, message)

    await one.accept("webhook.asked", shop=SHOP)
    async with one.working(registry(ask), admin=admin):
        await one.finished()
    assert names == [SHOP, "other.myshopify.com"]
    assert [(call[0], call[3]) for call in admin.calls] == [
        (SHOP, ApiLane.PRIVACY), ("other.myshopify.com", ApiLane.ORDERS),
    ]  # fmt: skip


async def test_not_inside_the_transaction(one: System) -> None:
    admin, raised = Recorded(), []

    @on("webhook.asked")
    async def ask(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await effect(tx, message)
            try:
                await ctx.shopify().graphql(QUERY)
            except TransactionOpen as error:
                raised.append(error)
        await ctx.shopify().graphql(QUERY)  # it is over

    await one.accept("webhook.asked", shop=SHOP)
    async with one.working(registry(ask), admin=admin):
        await one.finished()
        await asyncio.sleep(0)
    assert len(raised) == 1
    assert len(admin.calls) == 1


async def test_not_in_a_handler_whose_transaction_is_shared(one: System) -> None:
    admin, raised = Recorded(), []

    @on("webhook.asked", together=10)
    async def ask(message: Message, ctx: Context) -> None:
        try:
            await ctx.shopify().graphql(QUERY)
        except TransactionOpen as error:
            raised.append(error)

    await one.accept_many(20, "webhook.asked", shop=SHOP)
    async with one.working(registry(ask), admin=admin):
        await one.finished()
    assert raised


async def test_an_error_that_is_left_to_pass_says_what_becomes_of_the_message(one: System) -> None:
    admin = Recorded(
        errors.Throttled(0.1, "used up"), errors.Unavailable("answered 502"), errors.QueryRefused("no")
    )

    @on("webhook.asked", retries=1)
    async def ask(_: Message, ctx: Context) -> None:
        await ctx.shopify().graphql(QUERY)

    identifier = await one.accept("webhook.asked", shop=SHOP)
    async with one.working(registry(ask), admin=admin):
        await one.finished()
    row = await one.pool.fetchrow(
        "SELECT reason, attempts FROM worker.failed WHERE message_id = $1", identifier
    )
    assert row is not None
    assert row["reason"] == "never"
    assert len(admin.calls) == 3


def test_every_error_is_one_outcome() -> None:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.Postponed) and value is not errors.Postponed:
            error = value(7.0, "why")
            assert isinstance(error, Later)
            assert (error.seconds, str(error)) == (7.0, "why")


async def test_where_no_api_was_opened_it_is_said(one: System) -> None:
    raised = []

    @on("webhook.asked")
    async def ask(_: Message, ctx: Context) -> None:
        try:
            ctx.shopify()
        except NotWired as error:
            raised.append(error)

    await one.accept("webhook.asked", shop=SHOP)
    async with one.working(registry(ask)):
        await one.finished()
    assert raised


async def test_handlers_of_a_process_share_a_cache(one: System) -> None:
    made = []

    async def make() -> int:
        made.append(1)
        await asyncio.sleep(0)
        return 7

    @on("webhook.asked")
    async def ask(_: Message, ctx: Context) -> None:
        assert await ctx.cache.remember(("plan", SHOP), 60, make) == 7

    await one.accept_many(10, "webhook.asked", shop=SHOP)
    async with one.working(registry(ask)):
        await one.finished()
    assert len(made) == 1
