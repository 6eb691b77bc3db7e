import asyncio

import asyncpg
import pytest
from prometheus_client import REGISTRY

from services.webhooks.config import Settings
from tests.environment import MakeSettings
from tests.integration.webhook_requests import Door, open_door
from tests.log_capture import logged
from tests.servers.postgres import PostgresServer
from tests.waiting import poll


async def ready(door: Door) -> bool:
    async with door.client.get("/readyz") as response:
        return response.status == 200


async def accepted(door: Door, key: str) -> None:
    async def answered() -> bool:
        return (await door.deliver(webhook_id=key)).status == 200

    await poll(answered)


async def reasons(door: Door) -> list[str]:
    async with door.client.get("/readyz") as response:
        found: list[str] = (await response.json())["reasons"]
        return found


def deletion_risk() -> float | None:
    return REGISTRY.get_sample_value("subscription_deletion_risk_seconds", {"topic": "orders/create"})


@pytest.mark.parametrize("away", ["kill", "stop", "freeze"])
async def test_while_postgres_is_away_it_is_503_and_then_the_same_delivery_goes_in(
    settings: MakeSettings, database: str, postgres: PostgresServer, away: str
) -> None:
    chosen = settings(Settings, database_url=database, accept_timeout_seconds=0.5, database_timeout_seconds=1)
    async with open_door(chosen) as door:
        assert (await door.deliver(webhook_id="before")).status == 200
        getattr(postgres, away)()
        responses = await asyncio.gather(*(door.deliver(webhook_id=f"during-{n}") for n in range(20)))
        assert {(r.status, r.headers.get("Retry-After")) for r in responses} == {(503, "2")}
        assert await reasons(door) == ["webhooks: the database is away"]
        assert deletion_risk() is not None
        postgres.heal()

        for number in range(20):
            await accepted(door, f"during-{number}")
        assert deletion_risk() is None
        await poll(lambda: ready(door))
    database_again = await asyncpg.connect(database)
    keys = await database_again.fetch("SELECT key FROM webhooks.messages")
    await database_again.close()
    assert sorted(row["key"] for row in keys) == sorted(["before", *(f"during-{n}" for n in range(20))])


async def test_nothing_is_answered_before_the_commit(settings: MakeSettings, database: str) -> None:
    async with open_door(settings(Settings, database_url=database)) as door:
        async with door.database.transaction():
            await door.database.execute("LOCK TABLE webhooks.messages IN EXCLUSIVE MODE")
            delivery = asyncio.create_task(door.deliver())
            blocked = (
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'webhooks.messages'::regclass"
            )
            await poll(lambda: door.database.fetchval(blocked))
            assert not delivery.done()
        assert (await delivery).status == 200


async def test_a_commit_that_takes_too_long_is_503(settings: MakeSettings, database: str) -> None:
    async with open_door(settings(Settings, database_url=database, accept_timeout_seconds=0.2)) as door:
        before = REGISTRY.get_sample_value("webhook_rejected_total", {"reason": "database_away"}) or 0.0
        async with door.database.transaction():
            await door.database.execute("LOCK TABLE webhooks.messages IN EXCLUSIVE MODE")
            assert (await door.deliver(webhook_id="slow")).status == 503
        after = REGISTRY.get_sample_value("webhook_rejected_total", {"reason": "database_away"})
        assert after == before + 1
        assert (await door.deliver(webhook_id="slow")).status == 200
        assert await door.count("messages") == 1


async def test_without_its_tables_it_is_not_ready_and_says_what_to_do(
    settings: MakeSettings, empty_database: str
) -> None:
    with logged("ERROR"):  # as processes log: the console's tracebacks would take seconds
        await _says_what_to_do(settings(Settings, database_url=empty_database))


async def _says_what_to_do(made: Settings) -> None:
    async with open_door(made) as door:
        (reason,) = await reasons(door)
        assert "webhooks.messages" in reason
        assert reason.endswith("run: shopbus migrate")
        assert (await door.deliver()).status == 500


async def test_it_tells_which_route_work_takes_and_that_nobody_keeps_subscriptions(
    settings: MakeSettings, database: str
) -> None:
    async with open_door(settings(Settings, database_url=database)) as door:
        response = await door.ops("/readyz")
    assert await response.json() == {
        "ready": True,
        "reasons": [],
        "notes": [
            "RABBITMQ_URL is not set: work takes the Postgres route",
            "APP_URL is not set: webhook subscriptions are left alone",
        ],
    }


async def test_one_line_a_request_with_ids_that_join_and_neither_body_nor_secret(
    settings: MakeSettings, database: str
) -> None:
    body = b'{"secret-content":1}'
    with logged() as written:
        async with open_door(settings(Settings, database_url=database)) as door:
            good = await door.deliver(body, webhook_id="logged")
            bad = await door.deliver(body, hmac_sha256="c2VjcmV0")
    first, second = [line for line in written.lines if line["logger"] == "http"]
    assert [line["request_id"] for line in (first, second)] == [
        r.headers["X-Request-Id"] for r in (good, bad)
    ]
    assert (first["message_id"], first["webhook_id"]) == ((await good.json())["id"], "logged")
    assert (second["reason"], second["status"]) == ("hmac", 401)
    signature = door.headers(body)["X-Shopify-Hmac-Sha256"]
    for secret in (
        "secret-content",
        signature,
        "c2VjcmV0",
        door.settings.shopify_api_secret.get_secret_value(),
    ):
        assert secret not in written.text
