"""Puts the parts of backfills together for a process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from libs.common.clock import Clock
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.producer import Producer
from libs.common.privacy.keys import PrivacyKeys
from libs.common.privacy.tombstones import Tombstones
from libs.common.runtime.calls import AdminApi
from services.worker.backfill_bulk import BulkOperations
from services.worker.backfill_files import Files
from services.worker.backfill_reading import Reader
from services.worker.backfill_room import Room
from services.worker.backfill_steps import Pace, Steps
from services.worker.backfill_work import Work
from services.worker.config import Settings
from services.worker.service import Books


@asynccontextmanager
async def open_backfills(
    settings: Settings,
    books: Books,
    producer: Producer,
    admin: AdminApi,
    keys: PrivacyKeys,
    clock: Clock,
    faults: FaultPoints,
    pace: Pace | None = None,
) -> AsyncIterator[Work]:
    """The work on backfills, with a session of its own for their files, which carries no token."""
    tombstones = Tombstones(books.pool, "worker", keys, clock, settings.database_timeout_seconds)
    async with aiohttp.ClientSession(
        headers={"User-Agent": "shopbus"}, cookie_jar=aiohttp.DummyCookieJar()
    ) as http:
        files = Files(http, settings.file_hosts, settings.sandbox_store_url)
        room = Room(books, clock, settings.backfill_waiting)
        reader = Reader(files, books, producer, tombstones, room, faults)
        steps = Steps(BulkOperations(admin), reader, books, clock, faults, pace or Pace())
        yield Work(steps, books, clock, settings.retention_days, lease=steps.pace.lease, idle=steps.pace.idle)
