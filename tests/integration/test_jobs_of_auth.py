"""Messages that auth works on beside the worker: found, and put back to work, by naming auth."""

import pytest

from libs.common.contracts.envelope import Draft
from libs.common.db import open_pool
from libs.common.outbox.open import open_producer
from services.worker import app as worker
from services.worker.config import Settings
from tests.environment import MakeSettings
from tests.integration.auth_kit import OPS, SHOP, running
from tests.serving import serving
from tests.waiting import poll

FAILED = "SELECT count(*) FROM auth.failed"
OPS_HEADER = {"Authorization": f"Bearer {OPS}"}


async def test_what_auth_gave_up_is_listed_shown_and_replayed_under_its_name(
    database: str, settings: MakeSettings
) -> None:
    made = settings(Settings, database_url=database, ops_token=OPS)
    async with (
        running(database) as auth,
        open_pool(made) as pool,
        open_producer(made, schema="webhooks", pool=pool) as shopify,
        worker.open_service(made) as service,
        serving([service], made) as api,
    ):
        sent = (await shopify.accept(Draft("webhook.app.scopes_update", b"[]", shop=SHOP))).id
        await poll(lambda: auth.pool.fetchval(FAILED))
        async with api.get("/api/jobs?status=failed&consumer=auth", headers=OPS_HEADER) as answer:
            assert [job["id"] for job in (await answer.json())["jobs"]] == [str(sent)]
        async with api.get("/api/jobs?status=failed", headers=OPS_HEADER) as answer:
            assert (await answer.json())["jobs"] == []
        async with api.get(f"/api/jobs/{sent}?consumer=auth", headers=OPS_HEADER) as answer:
            assert (await answer.json())["reason"] == "never"
        async with api.post(f"/api/jobs/{sent}/retry?consumer=auth", headers=OPS_HEADER) as answer:
            assert answer.status == 202
        tries = "SELECT attempts > 1 OR jsonb_array_length(log) > 1 FROM auth.failed"
        await poll(lambda: auth.pool.fetchval(tries))


@pytest.mark.parametrize("name", ["", "sandbox", "x"])
async def test_a_service_that_works_on_no_messages_is_refused(
    database: str, settings: MakeSettings, name: str
) -> None:
    made = settings(Settings, database_url=database, ops_token=OPS)
    async with (
        worker.open_service(made) as service,
        serving([service], made) as api,
        api.get(f"/api/jobs?consumer={name}", headers=OPS_HEADER) as answer,
    ):
        assert answer.status == 400
