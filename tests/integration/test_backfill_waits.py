"""What a backfill waits for, and what makes it go on before its time."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.sandbox.setup import Setup
from services.sandbox.stock import Sizes
from services.sandbox.weather import Mishap, Weather
from services.worker import backfill_work
from tests.integration.backfill_kit import Shop, begin, shop
from tests.integration.backfill_worker import HURRY
from tests.waiting import poll

SIZES = Sizes(orders=60)
PUT_OFF = "UPDATE worker.backfills SET reason = 'the shop is frozen', due_at = now() + interval '1 hour'"
SWEPT = "SELECT count(*) FROM worker.history WHERE type = 'install.ended'"
STUCK = "SELECT bool_and(reason LIKE 'its handlers are behind%') FROM worker.backfills WHERE resource = 'customers'"
LIKE_IT = """
INSERT INTO worker.backfills (id, shop, resource, since, status, operation, asked_at, snapshot_at)
SELECT gen_random_uuid(), n || '.myshopify.com', resource, since, status, operation, asked_at, snapshot_at
FROM worker.backfills, generate_series(1, $2::int) AS n WHERE id = $1
"""
ITS_WORK = """
INSERT INTO worker.messages (id, type, shop, time, content_type, body, correlation_id)
SELECT gen_random_uuid(), 'backfill.customers', shop, now(), 'application/json', '{}', id::text
FROM worker.backfills, generate_series(1, $2::int) WHERE resource = 'customers' AND id <> $1 RETURNING id
"""
NEWEST = """
UPDATE worker.backfills AS b SET last_message = (
    SELECT id FROM worker.messages WHERE correlation_id = b.id::text ORDER BY id DESC LIMIT 1)
WHERE resource = 'customers'
"""
PUT_OFF_WORK = """
INSERT INTO worker.scheduled (source, message_id, lane, due_at, reason)
SELECT 'worker', id, 'bulk', now() + interval '1 hour', 'retry' FROM unnest($1::uuid[]) AS id
"""
WORK_IN_HAND = """
INSERT INTO worker.outbox (destination, lane, id, holder, leased_until)
SELECT 'worker', 'bulk', id, 'worker:another', now() + interval '1 hour' FROM unnest($1::uuid[]) AS id
"""


async def finished(one: Shop) -> bool:
    return all(operation["status"] == "COMPLETED" for operation in await one.operations())


async def test_shopifys_word_that_it_has_finished_is_enough(database: str, tmp_path: Path) -> None:
    async with shop(database, tmp_path, Setup(sizes=SIZES)) as one:
        identifier = await begin(await one.local(replace(HURRY, first_look=300.0)))
        row = await one.reached(identifier, lambda row: row["status"] == "running")
        await poll(lambda: finished(one))
        await one.tell("webhooks", "webhook.bulk_operations.finish", ["no object"])
        await one.tell(
            "webhooks", "webhook.bulk_operations.finish", {"admin_graphql_api_id": row["operation"]}
        )
        assert (await one.over(identifier))["accepted"] == 60


async def test_a_shop_that_is_back_is_not_kept_waiting(database: str, tmp_path: Path) -> None:
    async with shop(database, tmp_path, Setup(sizes=SIZES)) as one:
        identifier = await begin(await one.local(replace(HURRY, first_look=300.0)))
        await one.reached(identifier, lambda row: row["status"] == "running" and row["holder"] is None)
        await one.pool.execute(PUT_OFF)
        await poll(lambda: finished(one))
        await one.tell("auth", "token.rotated", {})
        assert (await one.over(identifier))["accepted"] == 60


async def test_a_start_whose_answer_is_lost_is_not_made_twice(database: str, tmp_path: Path) -> None:
    weather = Weather({Mishap.UNTOLD: 1.0})
    async with shop(database, tmp_path, Setup(sizes=SIZES, api_weather=weather)) as one:
        identifier = await begin(await one.local())
        await one.reached(identifier, lambda row: row["reason"] == "the answer to the start was lost")
        weather.shares.clear()
        assert (await one.over(identifier))["accepted"] == 60
        assert len(await one.operations()) == 1


@pytest.mark.parametrize(
    ("shops", "where"),
    [
        pytest.param(5, PUT_OFF_WORK, id="more shops than are worked on at once"),
        pytest.param(15, WORK_IN_HAND, id="more than is looked at is in the lane"),
    ],
)
async def test_shops_whose_handlers_are_stuck_do_not_hold_up_the_others(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shops: int, where: str
) -> None:
    monkeypatch.setattr(backfill_work, "AT_ONCE", 1)
    async with shop(database, tmp_path, Setup(sizes=Sizes(orders=300, customers=260))) as one:
        worker = await one.local(HANDLERS="tests.integration.stuck_handlers", BACKFILL_WAITING="100")
        stuck = await begin(worker, "customers")
        await one.reached(stuck, lambda row: "handlers are behind" in (row["reason"] or ""))
        async with one.pool.acquire() as conn, conn.transaction():
            await conn.execute(LIKE_IT, stuck, shops)
            await conn.execute(where, [row["id"] for row in await conn.fetch(ITS_WORK, stuck, 100)])
            await conn.execute(NEWEST)
        await poll(lambda: one.pool.fetchval(STUCK), within=120)
        row = await one.over(await begin(worker, "orders"), within=120)
        assert (row["status"], row["accepted"]) == ("completed", 300)
        assert (await one.row(stuck))["accepted"] == 250


async def test_an_uninstall_ends_what_its_install_asked_for_and_nothing_newer(
    database: str, tmp_path: Path
) -> None:
    async with shop(database, tmp_path, Setup(sizes=Sizes(customers=260))) as one:
        worker = await one.local(HANDLERS="tests.integration.stuck_handlers", BACKFILL_WAITING="100")
        before = datetime.now(UTC).isoformat()
        identifier = await begin(worker, "customers")
        await one.reached(identifier, lambda row: row["accepted"] == 250)
        await one.tell("auth", "install.ended", {"generation": 1, "uninstalled_at": before})
        await poll(lambda: one.pool.fetchval(SWEPT), within=60)
        assert (await one.row(identifier))["status"] == "reading"
        now = datetime.now(UTC).isoformat()
        await one.tell("auth", "install.ended", {"generation": 2, "uninstalled_at": now})
        row = await one.over(identifier)
        assert (row["status"], row["accepted"]) == ("cancelled", 250)
        assert row["reason"].startswith("the shop removed the app at 2")
