"""An uninstall ends the install that it belongs to, however late and often it arrives; scopes follow the merchant."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from libs.common.contracts.envelope import Draft
from libs.common.db import open_pool
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from libs.common.shopify.scopes import Scopes
from services.auth.app import addresses
from services.auth.installs import Meaning
from services.auth.refusals import TryLater
from services.auth.service import App, Auth
from services.auth.states import States
from services.auth.states_store import Most
from services.cli import token_work
from tests.integration.auth_kit import SHOP, Running, running
from tests.waiting import poll

DONE = "SELECT outcome FROM auth.history WHERE message_id = $1"
INSTALL = "SELECT generation, uninstalled_at IS NULL AS alive FROM auth.shops WHERE shop = $1"
LONG_AGO = (
    "UPDATE auth.shops SET installed_at = installed_at - $1::interval, granted_at = granted_at - $1::interval"
)
SESSIONS_TOO = "UPDATE auth.sessions SET granted_at = granted_at - $1::interval"


@pytest.fixture
async def auth(database: str) -> AsyncIterator[Running]:
    async with running(database) as one:
        yield one


@pytest.fixture
async def webhooks(auth: Running) -> AsyncIterator[Producer]:
    async with (
        open_pool(auth.settings) as pool,
        open_producer(auth.settings, schema="webhooks", pool=pool) as one,
    ):
        yield one


async def tell(auth: Running, webhooks: Producer, topic: str, at: datetime, body: Any = None) -> None:
    """A webhook that was triggered at that time arrives now, and is worked on."""
    receipt = await webhooks.accept(
        Draft(f"webhook.app.{topic}", orjson.dumps(body or {}), shop=SHOP, time=at)
    )
    assert await poll(lambda: auth.pool.fetchval(DONE, receipt.id)) == "completed"


async def known(auth: Running) -> tuple[int, bool]:
    row = await auth.pool.fetchrow(INSTALL, SHOP)
    assert row is not None
    return row["generation"], row["alive"]


async def grow_old(auth: Running, **span: float) -> None:
    """Everything so far happened earlier."""
    for statement in (LONG_AGO, SESSIONS_TOO):
        await auth.pool.execute(statement, timedelta(**span))


def now() -> datetime:
    return datetime.now(UTC)


async def test_an_uninstall_ends_all_access_and_says_so(auth: Running, webhooks: Producer) -> None:
    await auth.install()
    await auth.exchange(online=True)
    await grow_old(auth, minutes=5)
    await tell(auth, webhooks, "uninstalled", now())
    assert await known(auth) == (1, False)
    assert await auth.pool.fetchval("SELECT count(*) FROM auth.sessions") == 0
    assert (await auth.token())[0] == 404
    assert (await auth.types())[-2:] == ["shop.uninstalled", "install.ended"]


async def test_a_late_uninstall_does_not_kill_the_install_that_followed(
    auth: Running, webhooks: Producer
) -> None:
    await auth.install()
    await grow_old(auth, minutes=20)
    removed = now() - timedelta(minutes=10)
    auth.shopify.uninstall(SHOP)
    await auth.install()
    await tell(auth, webhooks, "uninstalled", removed)
    assert await known(auth) == (2, True)
    _, given = await auth.token()
    assert (given["access_token"], given["generation"]) == (auth.shopify.shops[SHOP].access, 2)
    assert "shop.uninstalled" not in await auth.types()


async def test_an_uninstall_told_again_after_a_reinstall_changes_nothing(
    auth: Running, webhooks: Producer
) -> None:
    await auth.install()
    await grow_old(auth, minutes=20)
    removed = now() - timedelta(minutes=10)
    await tell(auth, webhooks, "uninstalled", removed)
    assert await known(auth) == (1, False)
    await auth.install()
    before = await auth.types()
    for _ in range(2):
        await tell(auth, webhooks, "uninstalled", removed)
    assert await known(auth) == (2, True)
    assert await auth.types() == before
    assert (await auth.token())[0] == 200


async def test_when_the_clocks_cannot_tell_shopify_is_asked_and_a_live_install_stays(
    auth: Running, webhooks: Producer
) -> None:
    await auth.install()
    await tell(
        auth, webhooks, "uninstalled", now() + timedelta(seconds=1)
    )  # Shopify's clock is ahead of ours
    assert await known(auth) == (1, True)
    assert auth.shopify.asked["refresh_token"] == 1
    assert (await auth.token())[1]["access_token"] == auth.shopify.shops[SHOP].access


async def test_when_the_clocks_cannot_tell_and_the_tokens_are_dead_the_install_is_over(
    auth: Running, webhooks: Producer
) -> None:
    await auth.install()
    auth.shopify.uninstall(SHOP)
    await tell(auth, webhooks, "uninstalled", now() - timedelta(seconds=1))  # Shopify's clock is behind ours
    assert await known(auth) == (1, False)
    assert (await auth.types())[-2:] == ["shop.uninstalled", "install.ended"]


@asynccontextmanager
async def rules(auth: Running) -> AsyncIterator[Auth]:
    """What the consumers of auth call, on the same database."""
    settings = auth.settings
    async with token_work.opened(settings) as tools:
        app = App(tools.tokens.app, Scopes(), addresses(settings), settings.public_url, Most(9, 9))
        states = States(settings.service_key)
        yield Auth(
            tools.pool, tools.tokens, states, app, tools.clock, timeout=settings.database_timeout_seconds
        )


async def test_a_grant_after_shopify_was_asked_is_not_ended_by_what_it_said(auth: Running) -> None:
    await auth.install()
    removed = now()
    auth.shopify.uninstall(SHOP)
    async with rules(auth) as made:
        before = await made.verdict(SHOP, removed)
        await auth.install()
        async with auth.pool.acquire() as conn:
            with pytest.raises(TryLater):
                async with conn.transaction():
                    await made.end(conn, SHOP, removed, before)
            after = await made.verdict(SHOP, removed)
            async with conn.transaction():
                what, _ = await made.end(conn, SHOP, removed, after)
    assert (before.alive, after.alive, what) == (False, True, Meaning.REPLACED)
    assert await known(auth) == (2, True)
    assert (await auth.token())[1]["access_token"] == auth.shopify.shops[SHOP].access


async def test_an_uninstall_of_a_shop_that_nobody_knows_is_done_at_once(
    auth: Running, webhooks: Producer
) -> None:
    await tell(auth, webhooks, "uninstalled", now())
    assert await auth.types() == []


async def test_new_scopes_are_taken_in_unless_something_newer_is_known(
    auth: Running, webhooks: Producer
) -> None:
    await auth.install()
    await tell(auth, webhooks, "scopes_update", now() + timedelta(seconds=2), {"current": ["read_products"]})
    assert (await auth.token())[1]["scopes"] == "read_products"
    name, facts = (await auth.emitted())[-1]
    assert (name, facts["scopes"], facts["missing"]) == (
        "shop.scopes_changed",
        "read_products",
        "read_orders",
    )

    await tell(auth, webhooks, "scopes_update", now() - timedelta(hours=1), {"current": ["write_orders"]})
    assert (await auth.token())[1]["scopes"] == "read_products"
    assert len(await auth.emitted()) == 3


async def test_a_scopes_update_without_scopes_is_given_up(auth: Running, webhooks: Producer) -> None:
    receipt = await webhooks.accept(Draft("webhook.app.scopes_update", b'{"current": 1}', shop=SHOP))
    assert (
        await poll(
            lambda: auth.pool.fetchval("SELECT reason FROM auth.failed WHERE message_id = $1", receipt.id)
        )
        == "never"
    )


async def test_work_for_auth_goes_to_the_worker_as_well(auth: Running, webhooks: Producer) -> None:
    receipt = await webhooks.accept(Draft("webhook.app.uninstalled", b"{}", shop=SHOP))
    await poll(lambda: auth.pool.fetchval(DONE, receipt.id))
    rows = await auth.pool.fetch("SELECT destination FROM webhooks.outbox WHERE id = $1", receipt.id)
    assert [row["destination"] for row in rows] == ["worker"]


async def test_over_rabbitmq_an_uninstall_comes_as_well_and_what_auth_says_goes_out(
    database: str, broker_url: str
) -> None:
    async with running(database, rabbitmq_url=broker_url, broker_confirm_seconds=5.0) as auth:
        async with (
            open_pool(auth.settings) as pool,
            open_producer(auth.settings, schema="webhooks", pool=pool) as webhooks,
        ):
            await poll(
                lambda: webhooks.broker is not None and webhooks.broker.circuit.share() == 1.0, within=30
            )
            await auth.install()
            await grow_old(auth, minutes=5)
            receipt = await webhooks.accept(Draft("webhook.app.uninstalled", b"{}", shop=SHOP, time=now()))
            await poll(lambda: auth.pool.fetchval(DONE, receipt.id), within=30)
        route = await auth.pool.fetchval("SELECT route FROM auth.history WHERE message_id = $1", receipt.id)
        assert route == "rabbitmq"
        assert await known(auth) == (1, False)
