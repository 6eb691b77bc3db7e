"""Keys are looked up together, remembered for a while, and so is their absence."""

import asyncio
from collections.abc import Sequence

import pytest

from libs.common.errors import DatabaseAway
from services.ingest.keys import Keys, new_key
from services.ingest.store import KnownKey

KNOWN = KnownKey("a.myshopify.com", active=True, hosts=frozenset())


class Table:
    def __init__(self, *keys: str) -> None:
        self.keys = dict.fromkeys(keys, KNOWN)
        self.asked: list[list[str]] = []
        self.away = False

    async def find(self, wanted: Sequence[str]) -> dict[str, KnownKey]:
        if self.away:
            raise DatabaseAway
        self.asked.append(list(wanted))
        return {key: found for key, found in self.keys.items() if key in wanted}


async def test_a_key_is_asked_for_once() -> None:
    key, other = new_key(), new_key()
    table = Table(key)
    keys = Keys(table.find, 60)
    for _ in range(3):
        assert await keys.find(key) == KNOWN
        assert await keys.find(other) is None
    assert table.asked == [[key], [other]]


async def test_what_is_no_key_is_not_asked_for() -> None:
    table = Table()
    keys = Keys(table.find, 60)
    for text in ("", "x", "sbp_" + "g" * 32, new_key().upper(), new_key() + "0"):
        assert await keys.find(text) is None
    assert table.asked == []


async def test_a_change_is_seen_at_once_where_it_was_made_and_soon_elsewhere() -> None:
    key = new_key()
    table = Table()
    here, elsewhere = Keys(table.find, 60), Keys(table.find, 0.01)
    assert await here.find(key) is None
    assert await elsewhere.find(key) is None
    table.keys[key] = KNOWN
    here.forget([key])
    assert await here.find(key) == KNOWN
    await asyncio.sleep(0.02)
    assert await elsewhere.find(key) == KNOWN


async def test_what_could_not_be_asked_is_not_remembered() -> None:
    key = new_key()
    table = Table(key)
    keys = Keys(table.find, 60)
    table.away = True
    with pytest.raises(DatabaseAway):
        await keys.find(key)
    table.away = False
    assert await keys.find(key) == KNOWN


async def test_many_made_up_keys_push_out_no_real_one() -> None:
    key = new_key()
    table = Table(key)
    keys = Keys(table.find, 60)
    await keys.find(key)
    await asyncio.gather(*(keys.find(new_key()) for _ in range(2_000)))
    asked = len(table.asked)
    assert asked < 100
    assert await keys.find(key) == KNOWN
    assert len(table.asked) == asked
