"""Limits inside one process: how many of a kind may run, and who waits for the next place. No I/O."""

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import StrEnum

from libs.common.clock import Clock
from libs.common.contracts.topology import Lane
from libs.common.runtime.work import Delivery

GateKey = tuple[str, str]

_FIRST_GUESS = 0.1  # seconds
_NEWEST_COUNTS = 0.2
_FIRST_SWEEP = 1_000  # gates; from then on whenever their number has doubled
_SOONEST, _LATEST = 0.2, 60.0  # seconds


class Entry(StrEnum):
    """What a gate said."""

    GO = "go"
    WAIT = "wait"  # it is called when a place is free
    FULL = "full"  # too many wait already


@dataclass(slots=True)
class _Gate:
    limit: int
    inside: int = 0
    waiting: deque[Delivery] = field(default_factory=deque)
    seconds: float = _FIRST_GUESS  # how long one is inside, moving average
    next_appointment: float = 0.0  # on the monotonic clock


class Gates:
    """One gate per kind, kept while somebody is inside or has an appointment.

    Who is refused gets an appointment: those turned away before it come first, as many at a time as there are
    places. So a shop's flood is not written back and forth while it waits, and its places do not stay empty.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._gates: dict[GateKey, _Gate] = {}
        self.waiting = Counter[Lane]()
        self._sweep_at = _FIRST_SWEEP

    def enter(self, key: GateKey, delivery: Delivery, *, limit: int, most_waiting: int) -> Entry:
        """Lets a delivery in, or keeps it waiting, or refuses it."""
        if key not in self._gates and len(self._gates) >= self._sweep_at:
            self._forget_deserted()
        gate = self._gates.setdefault(key, _Gate(limit))
        if gate.inside < limit:
            gate.inside += 1
            return Entry.GO
        if len(gate.waiting) >= most_waiting:
            return Entry.FULL
        _line_up(gate.waiting, delivery)
        self.waiting[delivery.lane] += 1
        return Entry.WAIT

    def leave(self, key: GateKey, seconds: float) -> Delivery | None:
        """One is done after so many seconds; returns the next, which is not inside yet, or None."""
        gate = self._gates[key]
        gate.inside -= 1
        gate.seconds += (seconds - gate.seconds) * _NEWEST_COUNTS
        if gate.waiting:
            delivery = gate.waiting.popleft()
            self.waiting[delivery.lane] -= 1
            return delivery
        if gate.inside == 0 and gate.next_appointment <= self._clock.monotonic():
            del self._gates[key]
        return None

    def appointment(self, key: GateKey) -> float:
        """Seconds until a refused delivery may try again."""
        now = self._clock.monotonic()
        gate = self._gates[key]
        following = max(now + _SOONEST, gate.next_appointment + gate.seconds / gate.limit)
        gate.next_appointment = min(now + _LATEST, following)
        return gate.next_appointment - now

    def _forget_deserted(self) -> None:
        now = self._clock.monotonic()
        deserted = [
            key for key, gate in self._gates.items() if not gate.inside and gate.next_appointment <= now
        ]
        for key in deserted:
            del self._gates[key]
        self._sweep_at = max(_FIRST_SWEEP, 2 * len(self._gates))

    def empty(self) -> list[Delivery]:
        """Takes out everything that waits."""
        rest = [delivery for gate in self._gates.values() for delivery in gate.waiting]
        for gate in self._gates.values():
            gate.waiting.clear()
        self.waiting.clear()
        return rest


def _line_up(waiting: deque[Delivery], delivery: Delivery) -> None:
    """Behind those that wait already, but before the more suspect: an innocent one waits for no killer's next try."""
    place = len(waiting)
    while place and waiting[place - 1].suspicions > delivery.suspicions:
        place -= 1
    waiting.insert(place, delivery)
