"""A reconciler that is killed amid feeding: the next run feeds the rest, and nothing twice."""

from pathlib import Path

from tests.environment import MakeSettings
from tests.integration.reconcile_kit import LONG, comparing
from tests.integration.reconcile_process import process
from tests.session_tokens import SHOP
from tests.waiting import poll

POINT = "some fed, not all"
TAKEN_IN = """
INSERT INTO webhooks.reconciled_shops (shop, generation, since, due_at, asked)
SELECT shop, generation, checked_at, now(), true FROM webhooks.subscription_shops
"""
LEASE_OVER = "UPDATE webhooks.reconciled_shops SET leased_until = now(), due_at = now()"
FED = """
SELECT count(*) FROM webhooks.messages WHERE dataschema LIKE '%+reconciled'
"""
ENDED = "SELECT checked_at IS NOT NULL FROM webhooks.reconciled_shops WHERE shop = $1"


async def test_a_run_killed_amid_feeding_is_gone_on_with_and_nothing_is_fed_twice(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    async with comparing(database, tmp_path, settings, reconcile_every_seconds=0) as app:
        app.losses.share = 1.0
        orders = set(await app.happen("orders/create", 11))
        app.losses.share = 0.0
        await app.old_enough()
        await app.pool.execute(TAKEN_IN)
        async with process(tmp_path, app.environment(database), POINT) as doomed:
            assert await doomed.wait() == -9
        fed = await app.pool.fetchval(FED)
        assert 0 < fed < 11
        assert not await app.pool.fetchval(ENDED, SHOP)
        await app.pool.execute(LEASE_OVER)
        async with process(tmp_path, app.environment(database)):
            await poll(lambda: app.pool.fetchval(ENDED, SHOP), within=LONG)
        ledger = await app.ledger()
        assert ledger["verdict"] == "complete"
        assert {one["resource_id"] for one in ledger["lost"]} == orders
        assert await app.pool.fetchval(FED) == len(ledger["lost"]) == 11
        await app.worked()
        assert await app.pool.fetchval("SELECT count(*) FROM worker.orders WHERE shop = $1", SHOP) == 11
