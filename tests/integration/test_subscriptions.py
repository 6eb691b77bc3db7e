"""Each shop's subscriptions are read at the sandbox's Admin API and made what is wanted."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web

from libs.common.db import connection
from libs.common.shopify.admin.errors import AccessEnded, OutcomeUnknown
from libs.common.token_client import NotInstalled
from services.sandbox.sender import Patience
from services.webhooks import subscriptions_store
from tests.integration.receiver import Receiver
from tests.integration.sandbox_kit import subscribe
from tests.integration.subscriptions_kit import TOPICS, Kept, keeping
from tests.session_tokens import SHOP
from tests.waiting import poll

HASTE = Patience().scaled(0.0001)
_MINUTE = timedelta(minutes=1)
SHOP_ROW = "SELECT * FROM webhooks.subscription_shops"


@pytest.fixture
async def kept(database: str, tmp_path: Path) -> AsyncIterator[Kept]:
    async with keeping(database, tmp_path) as opened:
        yield opened


async def test_an_install_creates_what_is_wanted_and_the_next_check_changes_nothing(kept: Kept) -> None:
    assert await kept.keeper.turn()
    actual = await kept.actual()
    assert sorted(actual) == TOPICS
    assert {one["uri"] for one in actual.values()} == {kept.keeper.uri}
    assert actual["ORDERS_DELETE"]["includeFields"] == ["id", "updated_at"]
    assert set(await kept.states()) == {"orders/create", "orders/delete", "products/update"}
    assert not await kept.keeper.turn(), "nothing is due now"
    await kept.due_now()
    await kept.keeper.turn()
    assert len(kept.caller.changes) == 3
    assert await kept.history() == [(topic, "created") for topic in await kept.states()]
    await kept.stores.happen("orders/create")
    await poll(lambda: kept.stores.app.requests)


async def test_what_differs_is_moved_and_what_nobody_wants_is_deleted(kept: Kept) -> None:
    token, elsewhere = kept.caller.token, "https://old.example.com/hooks"
    made = await subscribe(kept.stores, token, "ORDERS_CREATE", elsewhere)
    await subscribe(kept.stores, token, "ORDERS_DELETE", kept.keeper.uri)
    await subscribe(kept.stores, token, "ORDERS_DELETE", elsewhere)
    await subscribe(kept.stores, token, "THEMES_PUBLISH", kept.keeper.uri)
    await kept.keeper.turn()
    actual = await kept.actual()
    assert sorted(actual) == TOPICS
    assert actual["ORDERS_CREATE"]["id"] == made["webhookSubscription"]["id"]
    assert {one["uri"] for one in actual.values()} == {kept.keeper.uri}
    assert actual["ORDERS_DELETE"]["includeFields"] == ["id", "updated_at"]
    assert sorted(await kept.history()) == [
        ("orders/create", "updated"),
        ("orders/delete", "deleted"),
        ("orders/delete", "updated"),
        ("products/update", "created"),
        ("themes/publish", "deleted"),
    ]


async def test_what_shopify_deleted_after_failures_is_there_again(database: str, tmp_path: Path) -> None:
    failing = True

    async def refuse(_: Receiver, __: web.Request) -> web.StreamResponse:
        return web.json_response({}, status=503 if failing else 200)

    async with keeping(database, tmp_path, patience=HASTE, behave=refuse) as kept:
        await kept.keeper.turn()
        await kept.stores.happen("orders/create")

        async def deleted() -> bool:
            return "ORDERS_CREATE" not in await kept.actual()

        await poll(deleted)
        failing = False
        await kept.due_now()
        await kept.keeper.turn()
        assert sorted(await kept.actual()) == TOPICS
        seen = len(kept.stores.app.requests)
        await kept.stores.happen("orders/create")
        await poll(lambda: len(kept.stores.app.requests) > seen)


async def test_a_check_killed_between_two_changes_is_ended_by_the_next(kept: Kept) -> None:
    kept.caller.fails = [None, None, asyncio.CancelledError()]  # read, created, created and then killed
    with pytest.raises(asyncio.CancelledError):
        await kept.keeper.turn()
    assert len(await kept.actual()) == 2
    assert not await kept.keeper.turn(), "the lease of the one who died has still to run out"
    await kept.pool.execute("UPDATE webhooks.subscription_shops SET due_at = now(), leased_until = now()")
    assert await kept.another().turn()
    assert sorted(await kept.actual()) == TOPICS
    assert len(kept.caller.changes) == 3


async def test_a_lost_answer_is_looked_after_soon_and_nothing_is_made_twice(kept: Kept) -> None:
    kept.caller.fails = [None, OutcomeUnknown("it may have been done")]
    await kept.keeper.turn()
    row = await kept.pool.fetchrow(SHOP_ROW + " WHERE error = $1", "it may have been done")
    assert row is not None
    assert row["checked_at"] is None
    await kept.due_now()
    await kept.keeper.turn()
    assert sorted(await kept.actual()) == TOPICS
    assert await kept.pool.fetchval("SELECT error FROM webhooks.subscription_shops") is None


async def test_of_two_processes_only_one_checks_a_shop(kept: Kept) -> None:
    turns = await asyncio.gather(*(kept.another().turn() for _ in range(4)))
    assert sorted(turns) == [False, False, False, True]
    assert kept.caller.asked.count("WebhookSubscriptions") == 1
    assert len(kept.caller.changes) == 3


async def test_a_shop_that_is_asked_for_during_its_check_is_checked_again(kept: Kept) -> None:
    holder = uuid4()
    async with connection(kept.pool, 3.0) as conn:
        assert await subscriptions_store.take_due(conn, holder, _MINUTE) == SHOP
        await subscriptions_store.rescoped(conn, SHOP)
        await subscriptions_store.finish(conn, SHOP, holder, _MINUTE, _MINUTE, [])
    assert await kept.keeper.turn()


async def test_a_topic_without_its_scope_is_told_and_not_asked_for_again(
    database: str, tmp_path: Path
) -> None:
    async with keeping(database, tmp_path, scopes="read_orders") as kept:
        for _ in range(3):
            await kept.due_now()
            await kept.keeper.turn()
        assert len(kept.caller.changes) == 3, "two were created, and one was refused once"
        assert (await kept.states())["products/update"] == ("cannot", "cannot: scope read_products missing")
        kept.caller.token = (await kept.stores.installed("read_orders,read_products")).access_token
        await kept.due_now()
        await kept.keeper.turn()
        assert sorted(await kept.actual()) == TOPICS
        assert (await kept.states())["products/update"] == ("ok", None)


async def test_an_uninstall_ends_the_checks_and_a_later_install_begins_them_again(kept: Kept) -> None:
    await kept.keeper.turn()
    async with connection(kept.pool, 3.0) as conn:
        await subscriptions_store.uninstalled(conn, SHOP, 1)
    await kept.due_now()
    assert not await kept.keeper.turn()
    assert await kept.states() == {}
    await kept.install(1)
    assert not await kept.keeper.turn(), "that was the old install's message, late"
    await kept.install(2)
    assert await kept.keeper.turn()
    assert len(await kept.history()) == 3, "the history of a shop outlives its install"


async def test_a_shop_without_the_app_is_left_alone_from_then_on(kept: Kept) -> None:
    kept.caller.fails = [NotInstalled()]
    await kept.keeper.turn()
    await kept.due_now()
    assert not await kept.keeper.turn()
    assert (
        await kept.pool.fetchval("SELECT error FROM webhooks.subscription_shops")
        == "the app is not installed"
    )


async def test_asking_for_a_shop_that_never_had_the_app_leaves_nothing_behind(kept: Kept) -> None:
    assert await kept.keeper.check_now("typo.myshopify.com")
    assert await kept.pool.fetchval("SELECT array_agg(shop) FROM webhooks.subscription_shops") == [SHOP]


async def test_a_shop_that_has_to_authorise_again_is_tried_when_that_may_have_been_done(kept: Kept) -> None:
    kept.caller.fails = [AccessEnded(3_600.0, "the merchant has to open the app")]
    await kept.keeper.turn()
    waits = "SELECT due_at > now() + interval '50 min' AND ended_at IS NULL FROM webhooks.subscription_shops"
    assert await kept.pool.fetchval(waits)
    assert await kept.keeper.check_now(SHOP), "who asks does not have to wait"
    assert sorted(await kept.actual()) == TOPICS
