"""Every real pixel event, and every documented one, becomes a row that says the same, field for field."""

from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from libs.common.shopify import pixel_marks
from libs.common.shopify.pixel_payloads import STANDARD
from services.ingest.config import Settings as IngestSettings
from services.worker.app import open_service as open_worker
from services.worker.config import Settings as WorkerSettings
from tests.environment import MakeSettings
from tests.integration.ingest_kit import Ingesting, event, ingesting
from tests.pixel_fixtures import PIXELS
from tests.waiting import poll

FILES = sorted(PIXELS.glob("*.json"))
DOM = ("clicked", "form_submitted", "input_blurred", "input_changed", "input_focused")
ADVANCED = tuple(
    f"advanced_dom_{name}"
    for name in (
        "available", "changed", "clicked", "clipboard", "form_submitted", "input_blurred", "input_changed",
        "input_focused", "mouse_moved", "scrolled", "selection_changed", "window_resized",
    )
)  # fmt: skip
ROWS = "SELECT * FROM worker.pixel_events"
COUNT = "SELECT count(*) FROM worker.pixel_events"


async def stored(door: Ingesting, database: str, settings: MakeSettings, events: list[Any]) -> dict[str, Any]:
    """The rows by id, once all are there."""
    mine = settings(WorkerSettings, database_url=database)
    for at in range(0, len(events), 4):
        assert (await door.send(events[at : at + 4])).status == 204
    async with open_worker(mine):

        async def all_there() -> bool:
            return bool(await door.database.fetchval(COUNT) == len(events))

        await poll(all_there, within=40.0)
    assert await door.causes() == []
    return {row["event_id"]: row for row in await door.database.fetch(ROWS)}


def said_again(row: asyncpg.Record) -> dict[str, Any]:
    """The event that a row tells."""
    columns = {"id": row["event_id"], "name": row["name"], "clientId": row["client_id"], "seq": row["seq"]}
    return {
        **{name: value for name, value in columns.items() if value is not None},
        **orjson.loads(row["content"]),
    }


@pytest.mark.skipif(not FILES, reason="there are no real events on this machine")
async def test_real_events_become_rows_that_say_the_same(database: str, settings: MakeSettings) -> None:
    events = {f"{number}-{file.stem}": _read(file) for number, file in enumerate(FILES)}
    sent = [{**given, "id": identifier} for identifier, given in events.items()]
    async with ingesting(settings(IngestSettings, database_url=database)) as door:
        rows = await stored(door, database, settings, sent)
    for identifier, given in events.items():
        row, kind = rows[identifier], given.pop("type", None)
        occurred = given.pop("timestamp")
        assert row["occurred_at"].timestamp() == pytest.approx(
            datetime.fromisoformat(occurred).timestamp(), abs=0.001
        )
        assert kind in {None, row["kind"]}
        assert "misshapen" not in pixel_marks.names(row["marks"])
        told = said_again(row)
        if "cleaned" in pixel_marks.names(row["marks"]):
            assert _shape(told) == _shape({**given, "id": identifier})
        else:
            assert told == {**given, "id": identifier}


async def test_every_documented_event_becomes_a_row_of_its_kind(
    database: str, settings: MakeSettings
) -> None:
    kinds = {
        **dict.fromkeys(STANDARD, "standard"),
        **dict.fromkeys(DOM, "dom"),
        **dict.fromkeys(ADVANCED, "advanced-dom"),
    }
    events = [event(name, id=name, type=kind, data={}) for name, kind in kinds.items()]
    events.append(
        event("anything at all", id="custom", type="custom", data=..., customData={"a": [1, {"b": None}]})
    )
    events[-1].pop("data")
    async with ingesting(settings(IngestSettings, database_url=database)) as door:
        rows = await stored(door, database, settings, events)
    assert {row["name"]: row["kind"] for row in rows.values()} == {**kinds, "anything at all": "custom"}
    assert said_again(rows["custom"])["customData"] == {"a": [1, {"b": None}]}


def _read(file: Path) -> dict[str, Any]:
    given: dict[str, Any] = orjson.loads(file.read_bytes())
    return given


def _shape(value: Any) -> Any:
    """An event without its texts, some of which were cleaned."""
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    return "a text" if isinstance(value, str) else value
