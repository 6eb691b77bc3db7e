"""Keeps out what a pixel sends late of somebody who was erased: a browser keeps events until they are answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from libs.common.contracts.pixel_frame import TYPE, PixelEvent
from libs.common.privacy import metrics
from libs.common.privacy.people import people_in
from libs.common.privacy.tombstones import Graves, Tombstones
from services.ingest.store import Quarantined

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WITHHELD = metrics.WITHHELD.labels("ingest")


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a request may be kept."""

    events: Sequence[PixelEvent]
    aside: Sequence[Quarantined]


async def spared(
    tombstones: Tombstones, shop: str, events: Sequence[PixelEvent], aside: Sequence[Quarantined]
) -> Kept:
    """Without those who were erased, where samples are still whole. Where nobody was, nothing is looked at.

    Raises `DatabaseAway`.
    """
    graves = await tombstones.of_shop(shop)
    if graves is None:
        return Kept(events, aside)
    kept = Kept(
        [event for event in events if not _holds(graves, event)],
        [bad for bad in aside if not graves.hold(people_in(TYPE, bad.sample.encode()), _EPOCH)],
    )
    _WITHHELD.inc(len(events) + len(aside) - len(kept.events) - len(kept.aside))
    return kept


def _holds(graves: Graves, event: PixelEvent) -> bool:
    people = people_in(TYPE, event.content)
    if event.client_id is not None:
        people.clients.add(event.client_id)
    return graves.hold(people, _EPOCH + timedelta(milliseconds=event.occurred_ms))
