"""What the store lost is found, fed once, and proven to be there."""

from pathlib import Path

from tests.environment import MakeSettings
from tests.integration.reconcile_kit import comparing, one_in_a_hundred, quiet


async def test_after_one_run_nothing_of_a_store_that_loses_one_in_a_hundred_is_missing(
    database: str, tmp_path: Path, settings: MakeSettings
) -> None:
    async with comparing(database, tmp_path, settings, setup=quiet(one_in_a_hundred())) as app:
        await app.happen("orders/create", 200)
        await app.happen("orders/paid", 100)
        await app.happen("orders/cancelled", 20)
        await app.happen("products/update", 60)
        await app.happen("products/create", 20)
        await app.happen("customers/update", 60)
        lost = await app.lost()
        assert lost > 2
        found = await app.reconcile()
        print(lost, found)
        assert 0
