"""What services/ingest does with a request: whose it is, whether there is room, and which of its events are kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from libs.common.clock import Clock
from libs.common.contracts.pixel_frame import PixelEvent
from libs.common.errors import ShopbusError
from libs.common.privacy.tombstones import Tombstones
from libs.common.shopify import pixel_marks
from libs.common.shopify.pixel_marks import Mark
from libs.common.shopify.webhook_headers import safe_text
from services.ingest import glance, metrics
from services.ingest.bodies import Batch, Unreadable
from services.ingest.erased import spared
from services.ingest.events import Bad, Bounds, Cause, Fits, Judge
from services.ingest.frames import Frames, Request
from services.ingest.glance import Bare, Glance
from services.ingest.keys import Keys
from services.ingest.limits import Limits
from services.ingest.store import KnownKey, Quarantined
from services.ingest.versions import Sightings

SAMPLES = 20  # events of one request that are put into quarantine; the others are only counted
_SAMPLE_LENGTH, _DETAIL_LENGTH, _VERSION_LENGTH = 2_000, 200, 32
_MARKED = {mark.value: metrics.MARKED.labels(pixel_marks.names(mark.value)[0]) for mark in Mark}
_DROPPED = {cause: metrics.DROPPED.labels(cause.value) for cause in Cause}


class UnknownKey(ShopbusError):
    """The public key is none of ours, or is none that is in use any more."""


class NoKey(ShopbusError):
    """The request names no public key: as `key` in its object, as `?key=` or as X-Shopbus-Key."""


class TooMuch(ShopbusError):
    """More than the key or the address may send."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"too many events from this {what}")
        self.what, self.seconds = what, seconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request, for its line in the log."""

    shop: str
    accepted: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Ingest:
    """Takes in requests."""

    keys: Keys
    by_key: Limits
    by_address: Limits
    frames: Frames
    sightings: Sightings
    tombstones: Tombstones
    bounds: Bounds
    fits: Fits
    clock: Clock
    most_events: int

    def wait_of(self, address: str) -> float | None:
        """For how many seconds nothing is taken from this address, as far as is known without asking."""
        return self.by_address.refused(address)

    async def take(self, body: bytes, key: str | None, address: str) -> Outcome:
        """Returns after the commit; raises `NoKey`, `UnknownKey`, `TooMuch` or `DatabaseAway`."""
        batch = glance.read(body)
        named, events = batch.key or key, len(batch.values)
        await self._room(self.by_address, "address", address, events)
        if not named:
            raise NoKey
        known = await self.keys.find(named)
        if known is None or not known.active:
            raise UnknownKey
        await self._room(self.by_key, "key", named, events)
        return await self._keep(body, batch, known)

    async def _room(self, limits: Limits, what: str, name: str, events: int) -> None:
        seconds = await limits.take(name, max(1, events))
        if seconds is not None:
            metrics.LIMITED.labels(what).inc()
            raise TooMuch(what, seconds)

    async def _keep(self, body: bytes, batch: Batch, known: KnownKey) -> Outcome:
        now, version = self.clock.now(), _version(batch.version)
        judge = Judge(self.bounds, self.fits, known.hosts, version, int(now.timestamp() * 1000))
        events, bad = judged(Glance.at(body, judge), batch.values, self.most_events)
        aside = [
            Quarantined(
                now, known.shop, verdict.cause.value, version, verdict.detail[:_DETAIL_LENGTH], sample
            )
            for verdict, sample in bad[:SAMPLES]
        ]
        kept = await spared(self.tombstones, known.shop, events, aside)
        samples = [replace(one, sample=_beginning(one.sample)) for one in kept.aside]
        size = sum(len(event.content) for event in kept.events)
        if kept.events or samples:
            await self.frames.keep(Request(known.shop, kept.events, samples, size))
        _count(batch, kept.events, [verdict for verdict, _ in bad], judge.now_ms)
        if kept.events:
            self.sightings.saw(known.shop, version, len(kept.events), now)
        return Outcome(known.shop, len(kept.events), len(bad))


def judged(look: Glance, values: Sequence[Any], most: int) -> tuple[list[PixelEvent], list[tuple[Bad, str]]]:
    """What is kept of a request's values, and what is not, with its text: cut, it would not say whom it names."""
    events: list[PixelEvent] = []
    bad: list[tuple[Bad, str]] = []
    for value in values[:most]:
        try:
            events.append(look.event(value))
        except Bad as verdict:
            bad.append((verdict, _text(value) if len(bad) < SAMPLES else ""))
    too_many = Bad(Cause.TOO_MANY, f"a request carries up to {most} events")
    bad += [(too_many, _text(value) if len(bad) < SAMPLES else "") for value in values[most:]]
    return events, bad


def _text(value: Any) -> str:
    if isinstance(value, Bare):
        value = value.whole()
    if isinstance(value, Unreadable):
        return value.text
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return f"a {type(value).__name__} that cannot be written as JSON"


def _beginning(text: str) -> str:
    """As much of it as is kept in quarantine."""
    return safe_text(text[:_SAMPLE_LENGTH])


def _version(text: str | None) -> str | None:
    if text is None or not text.isprintable():
        return None
    return text[:_VERSION_LENGTH]


def _count(batch: Batch, events: Sequence[PixelEvent], bad: Iterable[Bad], now_ms: int) -> None:
    metrics.RECEIVED.inc(len(batch.values))
    metrics.BATCH.observe(len(batch.values))
    metrics.ACCEPTED.inc(len(events))
    for verdict in bad:
        _DROPPED[verdict.cause].inc()
    newest = 0
    for event in events:
        newest = max(newest, event.occurred_ms)
        if event.marks:
            for bit, counter in _MARKED.items():
                if event.marks & bit:
                    counter.inc()
    if events:
        metrics.SKEW.observe(abs(now_ms - newest) / 1000)
