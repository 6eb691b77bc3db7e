"""Whose browser pixel events came from is known by the one that names somebody: they are all that person's."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import UUID
from zipfile import ZipFile

import orjson
import pytest

from libs.common.clock import SystemClock
from libs.common.contracts.pixel_frame import PixelEvent, encode
from libs.common.contracts.privacy import ERASED, Subject
from libs.common.ids import IdFactory
from services.worker import browsers
from services.worker.service import Books
from tests.integration.auth_kit import OPS
from tests.integration.ingest_kit import ADDRESS, add_key, event
from tests.integration.privacy_kit import ANNA, BEN, A, World, dump, holding, world
from tests.waiting import poll

KEEP_EVENT = """
INSERT INTO worker.pixel_events (day, shop, event_id, name, kind, client_id, occurred_at, received_at, marks, content)
VALUES ($1, $2, $3, 'page_viewed', 'standard', $4, $5, $5, 0, $6)
"""
KEEP_FRAME = """
INSERT INTO ingest.messages (id, type, shop, key, time, content_type, headers, body)
VALUES ($1, 'pixel.frame', $2, gen_random_uuid()::text, now() - interval '1 day', 'application/octet-stream', '{}', $3)
RETURNING id
"""
KEEP_ASIDE = (
    "INSERT INTO ingest.quarantine (at, shop, cause, detail, sample) VALUES (now(), $1, 'no_id', 'odd', $2)"
)
LOOKING = """
SELECT backend_xid IS NOT NULL AS writes FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
  AND query ~ 'END AS client_id\\sFROM worker.pixel_events'
"""
PARTITION = "SELECT to_regclass($1) IS NOT NULL"  # no row goes elsewhere while it is made
ROWS = "SELECT count(*) FROM worker.pixel_events"
NAMED = {"data": {"checkout": {"email": ANNA.email}}}
_ids = IdFactory()


@pytest.fixture
async def one(database: str) -> AsyncIterator[World]:
    async with world(database) as made:
        await poll(lambda: made.pool.fetchval(PARTITION, f"worker.pixel_events_{datetime.now(UTC):%Y%m%d}"))
        yield made


async def keep_visits(one: World) -> dict[str, UUID]:
    """Events that the worker stored, of which one names Anna, and ingest's frame of each browser."""
    await keep(one, "named", "annas", NAMED)
    await keep(one, "before", "annas", {"data": {}})
    await keep(one, "of another", "bens", {"data": {}})
    return {browser: await keep_frame(one, browser) for browser in ("annas", "bens")}


async def keep(one: World, event_id: str, browser: str, content: Mapping[str, Any]) -> None:
    now = datetime.now(UTC)
    text = orjson.dumps(content).decode()
    await one.pool.execute(KEEP_EVENT, now.date(), A, event_id, browser, now, text)


async def keep_frame(one: World, browser: str) -> UUID:
    now = int(datetime.now(UTC).timestamp() * 1000)
    seen = PixelEvent("e", "page_viewed", "standard", browser, 1, now, now, 0, None, b"{}")
    kept: UUID = await one.pool.fetchval(KEEP_FRAME, _ids.new(), A, encode([seen]))
    return kept


async def test_what_a_customers_browser_told_before_it_named_them_is_erased_too(one: World) -> None:
    kept = await keep_visits(one)
    await one.redact(ANNA)
    assert await stored(one) == ["of another"]
    statement = "SELECT id, body = $1 AS erased FROM ingest.messages WHERE type = 'pixel.frame'"
    frames = {row["id"]: row["erased"] for row in await one.pool.fetch(statement, ERASED)}
    assert frames == {kept["annas"]: True, kept["bens"]: False}


async def test_what_was_put_aside_of_a_customers_browsers_is_erased_however_many_there_are(
    one: World,
) -> None:
    names = ["1", *(f"{number:0128}" for number in range(120))]
    for number, browser in enumerate(names):
        await keep(one, f"named {number}", browser, NAMED)
        await one.pool.execute(KEEP_ASIDE, A, orjson.dumps({"clientId": browser}).decode())
    await one.pool.execute(KEEP_ASIDE, A, '{"clientId":"11","seq":1}')
    await one.redact(ANNA)
    left = await one.pool.fetch("SELECT sample FROM ingest.quarantine")
    assert [row["sample"] for row in left] == ['{"clientId":"11","seq":1}']


async def test_a_customers_file_has_all_events_of_their_browser_and_no_frame_with_others_in_it(
    one: World,
) -> None:
    await keep_visits(one)
    await keep(one, "bens order on her browser", "annas", {"data": {"checkout": BEN.order()}})
    for note in ({"email": BEN.email}, {"page": "hats"}):  # as a handler may have sent on
        await one.accept("visits.noted", {"clientId": "annas", **note}, A)
    request = ANNA.request("orders_requested", data_request={"id": 9999})
    case = await one.case(await one.accept("customers.data_request", request, A), status="ready")
    path, ops = f"/api/privacy/cases/{case['id']}/export", {"Authorization": f"Bearer {OPS}"}
    async with one.client.get(path, headers=ops) as answer:
        with ZipFile(BytesIO(await answer.read())) as archive:
            items = orjson.loads(archive.read("data.json"))["items"]
    events = {item["event_id"] for item in items if item["table"] == "worker.pixel_events"}
    assert events == {"named", "before"}
    assert "ingest.messages" not in {item["table"] for item in items}
    bodies = [item["body"] for item in items if item.get("type") == "webhook.visits.noted"]
    assert bodies == [{"clientId": "annas", "page": "hats"}]
    assert BEN.email not in str(items)


async def test_pixel_events_that_come_late_do_not_bring_anybody_back(one: World) -> None:
    """A browser keeps what it got no answer to, for days."""
    early, later = datetime.now(UTC) - timedelta(minutes=10), datetime.now(UTC) + timedelta(minutes=10)
    async with one.pool.acquire() as conn:
        key = await add_key(conn, A)
    await send(one, key, told("first", "annas", early, **NAMED))
    await poll(lambda: counted(one, 1))
    await one.redact(ANNA)
    await send(
        one,
        key,
        told("names her", "new", early, **NAMED),
        told("of her browser", "annas", early),
        told("", "annas", early, **NAMED),  # has no id, and would be put into quarantine
        told(
            "", "annas", early, data={"text": 5_000 * "long "}
        ),  # of which quarantine keeps the beginning alone
        told("of another", "bens", early),
        told("later", "annas", later),
    )
    await poll(lambda: counted(one, 2))
    assert await stored(one) == ["later", "of another"]
    assert await one.pool.fetchval("SELECT count(*) FROM ingest.quarantine") == 0
    assert holding(await dump(one.pool), ANNA.words()) == {}


def told(event_id: str, browser: str, time: datetime, **changes: Any) -> dict[str, Any]:
    return event(id=event_id, clientId=browser, timestamp=time.isoformat(), **changes)


async def send(one: World, key: str, *events: dict[str, Any]) -> None:
    """A request of the pixel's."""
    async with one.client.post(ADDRESS, params={"key": key}, data=orjson.dumps(events)) as answer:
        assert answer.status == 204, await answer.text()


async def stored(one: World) -> list[str]:
    rows = await one.pool.fetch("SELECT event_id FROM worker.pixel_events ORDER BY event_id")
    return [row["event_id"] for row in rows]


async def counted(one: World, wanted: int) -> bool:
    return bool(await one.pool.fetchval(ROWS) == wanted)


async def test_a_case_is_open_before_any_event_is_looked_through(one: World) -> None:
    """Looking takes long in a busy shop, and here the events cannot even be read."""
    await keep_visits(one)
    async with one.pool.acquire() as conn, conn.transaction():
        await conn.execute("LOCK TABLE worker.pixel_events IN ACCESS EXCLUSIVE MODE")
        request = await one.accept("customers.redact", ANNA.request(), A)
        case = await one.case(request, status="open")
        assert case["due_at"]
        await poll(lambda: one.pool.fetchrow(LOOKING), within=40)
        assert not await one.pool.fetchval(LOOKING)
    await one.case(request)
    assert await stored(one) == ["of another"]


async def test_browsers_are_looked_for_in_all_windows(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsers, "_WINDOW", 2)
    for number in range(5):
        await keep(one, f"named {number}", f"browser {number}", NAMED)
        await keep(one, f"other {number}", "bens", {"data": {}})
    looked = browsers.Browsers(Books(one.pool, SystemClock(), 30.0))
    subject = Subject(A, datetime.now(UTC), email=ANNA.email)
    assert await looked.of(subject) == [f"browser {number}" for number in range(5)]
    monkeypatch.setattr(browsers, "_MOST", 3)
    assert len(await looked.of(subject)) == 3
