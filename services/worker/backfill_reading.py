"""Takes in the file of a bulk operation: pack by pack, each with the progress of the job in one transaction.

So a process may die anywhere: the next one goes on behind the last pack that was committed.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from libs.common.contracts.envelope import Draft
from libs.common.db import Connection
from libs.common.errors import ShopbusError
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.producer import Producer
from libs.common.privacy.tombstones import Tombstones
from services.worker import backfill_store, metrics
from services.worker.backfill_files import Files
from services.worker.backfill_lines import Entry, Families, Lines
from services.worker.backfill_queries import RESOURCES
from services.worker.backfill_room import Room
from services.worker.backfill_store import Advance, Backfill
from services.worker.service import Books

PACK, PACK_BYTES = 250, 1024 * 1024


class Lost(ShopbusError):
    """Somebody else has the job now, or it is to be ended; what was about to be committed is undone."""


@dataclass(slots=True)
class _Pack:
    """What was read and is not taken in yet."""

    start: int
    entries: list[Entry] = field(default_factory=list)
    size: int = 0

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.size += len(entry.body)

    @property
    def full(self) -> bool:
        return len(self.entries) >= PACK or self.size >= PACK_BYTES


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads for every job of a process."""

    files: Files
    books: Books
    producer: Producer
    tombstones: Tombstones
    room: Room
    faults: FaultPoints

    async def read(self, held: Backfill, address: str) -> None:
        """From where the job is to the end of the file; raises `Lost`, `Behind`, `BadFile`, or as `Files.open` does."""
        pack = _Pack(held.position)
        async with self.files.open(address, held.position) as chunks:
            async for entry in _entries(chunks, held):
                pack.add(entry)
                if pack.full:
                    await self._take_in(held, pack)
                    pack = _Pack(entry.end)
                    await self.room.wait(held)
        if pack.entries:
            await self._take_in(held, pack)

    async def _take_in(self, held: Backfill, pack: _Pack) -> None:
        """Makes messages of a pack, all or none."""
        drafts = [_draft(held, entry) for entry in pack.entries]
        async with self.books.open() as conn, conn.transaction():
            welcome = await self.tombstones.welcome(conn, drafts)
            sent = await self.producer.put(conn, welcome)
            await self._advance(conn, held, pack, welcome=len(welcome), new=[out.id for out in sent])
            await self.faults.reach("pack stored, not committed")
        await self.faults.reach("pack committed, not announced")
        self.producer.sent(sent)
        metrics.BACKFILL_OBJECTS.labels(held.resource).inc(len(sent))
        metrics.BACKFILL_BYTES.inc(pack.entries[-1].end - pack.start)

    async def _advance(
        self, conn: Connection, held: Backfill, pack: _Pack, *, welcome: int, new: Sequence[UUID]
    ) -> None:
        step = Advance(
            pack.start, pack.entries[-1].end, sum(entry.lines for entry in pack.entries), len(new),
            welcome - len(new), len(pack.entries) - welcome, max(new, default=None),
        )  # fmt: skip
        if not await backfill_store.advance(conn, held, step):
            raise Lost


async def _entries(chunks: AsyncIterator[bytes], held: Backfill) -> AsyncIterator[Entry]:
    lines, families = Lines(held.position), Families(RESOURCES[held.resource].children)
    async for chunk in chunks:
        for line in lines.feed(chunk):
            if (entry := families.add(line)) is not None:
                yield entry
    for last in lines.end():
        if (entry := families.add(last)) is not None:
            yield entry
    if (entry := families.end()) is not None:
        yield entry


def _draft(held: Backfill, entry: Entry) -> Draft:
    """The same object of the same job is the same message; its time is that of the snapshot that tells of it."""
    return Draft(
        type=RESOURCES[held.resource].message_type,
        body=entry.body,
        shop=held.shop,
        key=f"backfill {held.id} {entry.gid}",
        time=held.snapshot_at,
        subject=entry.gid,
        correlation_id=str(held.id),
    )
