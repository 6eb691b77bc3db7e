"""From the webhook of an uninstall to the end of the work that waited, on both routes; and a reinstall."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from libs.common.contracts.envelope import Draft
from libs.common.db import open_pool
from libs.common.outbox.open import open_producer
from libs.common.outbox.producer import Producer
from services.worker import sweep
from services.worker.app import open_service
from services.worker.config import Settings
from tests.integration.auth_kit import OTHER_SHOP, SERVICE_KEY, SHOP, Running, running
from tests.integration.protocol import trusted
from tests.integration.shopify_stand_in import KEY, SECRET
from tests.integration.sweeping_worker import HANDLERS, KEEPING, NEEDING
from tests.integration.test_auth_uninstall import grow_old, known, now
from tests.waiting import poll

OUTCOMES = "SELECT type, shop, outcome FROM worker.history WHERE type = ANY ($1)"
SWEPT = "SELECT outcome FROM worker.history WHERE type = 'install.ended'"
ENDED = "SELECT count(*) FROM auth.messages WHERE type = 'install.ended'"
UNTOUCHED = "SELECT count(*) FROM worker.scheduled JOIN webhooks.messages ON id = message_id WHERE shop = $1"


@pytest.fixture(params=["postgres", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("broker_url") if request.param == "rabbitmq" else None


@asynccontextmanager
async def shopify(auth: Running) -> AsyncIterator[Producer]:
    """What services/webhooks accepts with."""
    async with (
        open_pool(auth.settings) as pool,
        open_producer(auth.settings, schema="webhooks", pool=pool) as one,
    ):
        await trusted(one)
        yield one


@asynccontextmanager
async def working(auth: Running) -> AsyncIterator[None]:
    """A worker whose handlers fail as they do when the tokens have ended."""
    settings = Settings.load(
        database_url=auth.settings.database_url, rabbitmq_url=auth.settings.rabbitmq_url,
        ops_token="x", service_key=SERVICE_KEY, shopify_api_key=KEY, shopify_api_secret=SECRET,
        broker_confirm_seconds=5.0, shutdown_seconds=2.0,
    )  # fmt: skip
    async with open_service(settings, registry=HANDLERS):
        yield


async def send(webhooks: Producer, kind: str, at: datetime, shop: str = SHOP, times: int = 1) -> list[UUID]:
    drafts = [Draft(kind, b"{}", shop=shop, time=at) for _ in range(times)]
    return [(await webhooks.accept(draft)).id for draft in drafts]


async def uninstall(auth: Running, webhooks: Producer, at: datetime) -> None:
    await webhooks.accept(Draft("webhook.app.uninstalled", b"{}", shop=SHOP, time=at))
    await poll(lambda: auth.pool.fetchval(ENDED), within=30)


async def outcomes(auth: Running) -> list[tuple[str, str, str]]:
    return sorted(tuple(row) for row in await auth.pool.fetch(OUTCOMES, [NEEDING, KEEPING]))


async def test_an_uninstall_cancels_what_waits_for_that_install(
    database: str, broker: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_AGAIN_SECONDS", 0.5)
    async with (
        running(database, rabbitmq_url=broker, broker_confirm_seconds=5.0) as auth,
        shopify(auth) as webhooks,
    ):
        await auth.install()
        await grow_old(auth, minutes=5)
        async with working(auth):
            for kind in (NEEDING, KEEPING):
                await send(webhooks, kind, now(), times=5)
            await send(webhooks, NEEDING, now(), OTHER_SHOP)
            await uninstall(auth, webhooks, now())
            assert await poll(lambda: auth.pool.fetchval(SWEPT), within=30) == "completed"
        assert await outcomes(auth) == [
            *[(NEEDING, SHOP, "cancelled")] * 5,
            *[(KEEPING, SHOP, "completed")] * 5,
        ]
        assert await auth.pool.fetchval(UNTOUCHED, OTHER_SHOP) == 1


async def test_an_uninstall_that_is_told_after_the_reinstall_cancels_only_what_was_before(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker was away all the time: old and new work wait side by side, and the uninstall comes last."""
    monkeypatch.setattr(sweep, "_AGAIN_SECONDS", 0.5)
    async with running(database) as auth, shopify(auth) as webhooks:
        await auth.install()
        await grow_old(auth, minutes=20)
        removed = now() - timedelta(minutes=10)
        await send(webhooks, NEEDING, removed - timedelta(minutes=1), times=3)
        await uninstall(auth, webhooks, removed)
        await auth.install()
        await send(webhooks, NEEDING, now(), times=2)
        async with working(auth):
            assert await poll(lambda: auth.pool.fetchval(SWEPT), within=30) == "completed"
        assert await outcomes(auth) == [(NEEDING, SHOP, "cancelled")] * 3
        assert (await known(auth), await auth.pool.fetchval(UNTOUCHED, SHOP)) == ((2, True), 2)


async def test_an_uninstall_of_an_install_before_this_one_cancels_nothing(database: str) -> None:
    async with running(database) as auth, shopify(auth) as webhooks:
        await auth.install()
        await grow_old(auth, minutes=20)
        auth.shopify.uninstall(SHOP)
        await auth.install()
        late = Draft("webhook.app.uninstalled", b"{}", shop=SHOP, time=now() - timedelta(minutes=10))
        receipt = await webhooks.accept(late)
        done = "SELECT outcome FROM auth.history WHERE message_id = $1"
        assert await poll(lambda: auth.pool.fetchval(done, receipt.id)) == "completed"
        assert (await known(auth), await auth.pool.fetchval(ENDED)) == ((2, True), 0)
