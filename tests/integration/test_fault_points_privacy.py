"""A service is killed in the middle of an erasure; another goes on, and what was erased is counted once."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.integration.privacy_kit import ANNA, BEN, CLEO, DORA, dump, fill, holding, world
from tests.integration.privacy_processes import dying

TO_ERASE = "SELECT count(*) FROM webhooks.messages WHERE shop = $1 AND position($2::bytea in body) > 0"


@pytest.mark.parametrize("point", ["rows erased, not committed", "rows erased, not answered"])
async def test_an_erasure_that_was_cut_short_is_finished_once(
    database: str, tmp_path: Path, point: str
) -> None:
    async with world(database, without="webhooks") as one:
        await fill(one.pool)
        kept = holding(
            await dump(one.pool), [word for person in (BEN, CLEO, DORA) for word in person.words()]
        )
        number = await one.pool.fetchval(TO_ERASE, ANNA.shop, ANNA.email.encode())
        async with dying(database, tmp_path, point) as doomed:
            request = await one.accept("customers.redact", ANNA.request(), ANNA.shop)
            assert await asyncio.wait_for(doomed.wait(), 40) == -signal.SIGKILL
    async with world(database) as one:
        case = await one.case(request)
        after = await dump(one.pool)
    assert holding(after, ANNA.words()) == {}
    assert holding(after, [word for person in (BEN, CLEO, DORA) for word in person.words()]) == kept
    rows = {place: count for step in case["steps"] for place, count in step["rows"].items()}
    assert (rows["webhooks.messages"], rows["webhooks.messages (requests)"]) == (number, 1)
    assert after["webhooks.privacy_progress"] == []
