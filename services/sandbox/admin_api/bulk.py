"""Bulk operations: queries that are answered into a file, in the background, a line of JSON for each node."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from graphql import GraphQLError

from libs.common import logs
from libs.common.clock import Clock
from services.sandbox.admin_api.desk import Desk, sort_key
from services.sandbox.admin_api.documents import read
from services.sandbox.admin_api.projection import Projection
from services.sandbox.admin_api.values import time
from services.sandbox.ledger import BulkOperation, Ledger
from services.sandbox.news import News
from services.sandbox.scene import gid
from services.sandbox.store import Row
from services.sandbox.weather import Mishap, Weather

KIND = "BulkOperation"
AT_ONCE = 5
KEPT_SECONDS = 7 * 86_400
_BREATH = 25  # nodes between two breaths of the event loop
_ENDED = frozenset({"COMPLETED", "FAILED", "CANCELED", "EXPIRED"})
_HALFWAY = frozenset({Mishap.BROKEN, Mishap.CUT_OFF, Mishap.PARTIAL, Mishap.EXPIRED})

_log = logs.logger("sandbox")


@dataclass(frozen=True, slots=True)
class Workshop:
    """Runs the bulk operations of all shops."""

    ledger: Ledger
    clock: Clock
    news: News
    folder: Path
    desk: Callable[[str, frozenset[str]], Desk]
    weather: Weather = field(default_factory=Weather)
    _running: dict[int, asyncio.Task[None]] = field(default_factory=dict)

    def resume(self) -> None:
        """Begins anew what was under way when the sandbox stopped, and forgets old files."""
        self.folder.mkdir(parents=True, exist_ok=True)
        known = [(shop, one) for shop, store in self.ledger.stores.items() for one in store.bulk.values()]
        now = self.clock.now().timestamp()
        kept = {self.path(one) for _, one in known if one.created_at > now - KEPT_SECONDS}
        for path in set(self.folder.iterdir()) - kept:
            path.unlink()
        for shop, one in known:
            if one.status not in _ENDED:
                self.start(shop, one)

    async def close(self) -> None:
        """Stops; what is under way begins anew at the next start."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def path(self, one: BulkOperation) -> Path:
        return self.folder / f"{one.file}.jsonl"

    def underway(self, shop: str) -> int:
        """How many have not ended."""
        return sum(one.status not in _ENDED for one in self.ledger.look(shop).bulk.values())

    def start(self, shop: str, one: BulkOperation) -> None:
        task = asyncio.create_task(self._run(shop, one), name=f"bulk operation {one.id} of {shop}")
        self._running[one.id] = task
        task.add_done_callback(lambda _: self._running.pop(one.id, None))

    async def _run(self, shop: str, one: BulkOperation) -> None:
        one.objects = one.roots = one.size = 0
        if one.status != "CANCELING":
            one.status = "RUNNING"
        self.ledger.save()
        one.status, one.error = await self._outcome(shop, one)
        one.completed_at = self.clock.now().timestamp()
        self.ledger.save()
        self.news.happened(shop, "bulk_operations/finish", _finished(one))

    async def _outcome(self, shop: str, one: BulkOperation) -> tuple[str, str | None]:
        """Writes the file; the status that this ends with, and the error code."""
        try:
            with self.path(one).open("wb") as file:
                mishap = await self._write(shop, one, file)
        except GraphQLError as error:
            code = (error.extensions or {}).get("code")
            return "FAILED", "ACCESS_DENIED" if code == "ACCESS_DENIED" else "INTERNAL_SERVER_ERROR"
        except Exception:  # noqa: BLE001 - whatever it was, the operation has ended and says so
            _log.exception("A bulk operation of the sandbox failed.", shop=shop)
            return "FAILED", "INTERNAL_SERVER_ERROR"
        if one.status == "CANCELING":
            return "CANCELED", None
        if mishap is Mishap.EXPIRED:
            return "EXPIRED", None
        return ("FAILED", "INTERNAL_SERVER_ERROR") if mishap in _HALFWAY else ("COMPLETED", None)

    def _wanted(self, shop: str, one: BulkOperation) -> bool:
        """Neither cancelled nor gone with the app."""
        return one.status != "CANCELING" and self.ledger.look(shop).bulk.get(str(one.id)) is one

    async def _write(self, shop: str, one: BulkOperation, file: BinaryIO) -> Mishap:
        """Writes what is wanted; some of the weather that it returns ends it halfway."""
        projection = Projection.of(read(one.query, None, {}))
        desk = self.desk(shop, frozenset(one.scopes.split(",")))
        await desk.stock.open_in_pieces(shop)
        mishap, rows, total = self.weather.next(), *_rows(desk, projection)
        last = total // 2 if mishap in _HALFWAY else None
        for number, chunk in enumerate(_batches(islice(rows, last))):
            if not self._wanted(shop, one):
                return Mishap.CUT_OFF
            for line in _ordered([list(projection.lines(desk.node(row))) for row in chunk], one.grouped):
                one.size += file.write(line)
                one.objects += 1
            one.roots += len(chunk)
            await asyncio.sleep(self.weather.delay if number and mishap is Mishap.SLOW else 0)
        return mishap


def _ordered(families: list[list[bytes]], grouped: bool) -> Iterator[bytes]:  # noqa: FBT001 - Shopify's own switch
    """Each node with its children behind it, or, as is usual, all nodes before all children."""
    if grouped:
        yield from chain.from_iterable(families)
        return
    yield from (family[0] for family in families)
    yield from chain.from_iterable(family[1:] for family in families)


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while batch := list(islice(rows, _BREATH)):
        yield batch


def _rows(desk: Desk, projection: Projection) -> tuple[Iterator[Row], int]:
    """The nodes of the root connection, and how many there are."""
    kind, arguments = projection.root.name.value, projection.arguments()
    desk.need(f"read_{kind}", kind)
    search = desk.search(kind, arguments.get("query"))
    key, reverse = sort_key(arguments.get("sortKey", "ID")), bool(arguments.get("reverse"))
    rows = desk.stock.rows(desk.shop, kind, search, key=key, reverse=reverse)
    return rows, desk.stock.shelves.count(desk.shop, kind, search)


def _finished(one: BulkOperation) -> dict[str, object]:
    return {
        "admin_graphql_api_id": gid(KIND, one.id),
        "completed_at": time(int(one.completed_at or 0)),
        "created_at": time(int(one.created_at)),
        "error_code": one.error and one.error.lower(),
        "status": one.status.lower(),
        "type": "query",
    }
