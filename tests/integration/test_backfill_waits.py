"""What a backfill waits for, and what makes it go on before its time."""

from dataclasses import replace
from pathlib import Path

from services.sandbox.setup import Setup
from services.sandbox.stock import Sizes
from services.sandbox.weather import Mishap, Weather
from tests.integration.backfill_kit import Shop, begin, shop
from tests.integration.backfill_worker import HURRY
from tests.waiting import poll

SIZES = Sizes(orders=60)
PUT_OFF = "UPDATE worker.backfills SET reason = 'the shop is frozen', due_at = now() + interval '1 hour'"


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
