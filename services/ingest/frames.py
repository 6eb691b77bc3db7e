"""Requests share commits, and events of one shop share a frame: one message, one row, of however many requests."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from libs.common.contracts import pixel_frame
from libs.common.contracts.envelope import Draft
from libs.common.contracts.pixel_frame import PixelEvent
from libs.common.db import connection, database_away_named
from libs.common.deadlines import Deadlines
from libs.common.errors import DatabaseAway
from libs.common.outbox.faults import FaultPoints
from libs.common.outbox.group_commit import GroupCommit
from libs.common.outbox.producer import Producer
from services.ingest import metrics, store
from services.ingest.store import Quarantined

FRAME_EVENTS = 50  # the worker has up to a hundred frames in one transaction
FRAME_BYTES = 64 * 1024  # before it is deflated
_MOST_REQUESTS = 400  # in one commit
_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What one request leaves behind."""

    shop: str
    events: Sequence[PixelEvent]
    quarantined: Sequence[Quarantined]
    size: int


class Frames:
    """Takes in what requests carry; returns to each after the commit."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        producer: Producer,
        *,
        timeout: float,
        commit_seconds: float,
        faults: FaultPoints | None = None,
    ) -> None:
        self._pool, self._producer, self._timeout = pool, producer, timeout
        self._deadlines = Deadlines(commit_seconds)
        self._faults = faults or FaultPoints()
        self._commits: GroupCommit[Request, None] = GroupCommit(
            self._commit, size=lambda request: request.size, max_items=_MOST_REQUESTS, max_bytes=_MOST_BYTES
        )

    async def keep(self, request: Request) -> None:
        """Returns once it is committed; raises `DatabaseAway` where that could not be done in time.

        It may still be committed after that. The browser sends it again, and the events are known by their ids.
        """
        try:
            with database_away_named():
                await self._deadlines.within(self._commits.submit(request))
        except TimeoutError as error:
            raise DatabaseAway("the commit took too long") from error
        await self._faults.reach("stored, not answered")

    async def close(self) -> None:
        """Waits for commits under way."""
        await self._commits.close()

    async def _commit(self, requests: Sequence[Request]) -> list[Exception | None]:
        drafts = [draft for shop, events in _by_shop(requests).items() for draft in _drafts(shop, events)]
        aside = [event for request in requests for event in request.quarantined]
        await self._faults.reach("received, not stored")
        async with connection(self._pool, self._timeout) as conn:
            if aside:
                async with conn.transaction():
                    await store.quarantine(conn, aside)
                    sent = await self._producer.put(conn, drafts) if drafts else []
            else:  # one statement is one transaction
                sent = await self._producer.put(conn, drafts) if drafts else []
        metrics.COMMIT_REQUESTS.observe(len(requests))
        await self._faults.reach("stored, not announced")
        self._producer.sent(sent)
        return [None] * len(requests)


def _by_shop(requests: Sequence[Request]) -> dict[str, list[PixelEvent]]:
    by_shop: dict[str, list[PixelEvent]] = defaultdict(list)
    for request in requests:
        by_shop[request.shop] += request.events
    return {shop: events for shop, events in by_shop.items() if events}


def _drafts(shop: str, events: Sequence[PixelEvent]) -> list[Draft]:
    drafts, frame, size = [], list[PixelEvent](), 0
    for event in events:
        if frame and (len(frame) >= FRAME_EVENTS or size + len(event.content) > FRAME_BYTES):
            drafts.append(_draft(shop, frame))
            frame, size = [], 0
        frame.append(event)
        size += len(event.content)
    drafts.append(_draft(shop, frame))
    return drafts


def _draft(shop: str, events: Sequence[PixelEvent]) -> Draft:
    metrics.FRAME_EVENTS.observe(len(events))
    return Draft(
        pixel_frame.TYPE,
        pixel_frame.encode(events),
        shop=shop,
        dataschema="1",
        content_type=pixel_frame.CONTENT_TYPE,
    )
