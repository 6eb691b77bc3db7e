"""Limits inside one process: how many of a kind may run, and who waits for the next place. No I/O."""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from libs.common.runtime.work import Delivery

GateKey = tuple[str, str]


class Entry(StrEnum):
    """What a gate said."""

    GO = "go"
    WAIT = "wait"  # it is called when a place is free
    FULL = "full"  # too many wait already


@dataclass(slots=True)
class _Gate:
    inside: int = 0
    waiting: deque[Delivery] = field(default_factory=deque)


class Gates:
    """One gate per kind, kept only while somebody is inside."""

    def __init__(self) -> None:
        self._gates: dict[GateKey, _Gate] = {}

    def enter(self, key: GateKey, delivery: Delivery, *, limit: int, most_waiting: int) -> Entry:
        """Lets a delivery in, or keeps it waiting, or refuses it."""
        gate = self._gates.setdefault(key, _Gate())
        if gate.inside < limit:
            gate.inside += 1
            return Entry.GO
        if len(gate.waiting) >= most_waiting:
            return Entry.FULL
        gate.waiting.append(delivery)
        return Entry.WAIT

    def leave(self, key: GateKey) -> Delivery | None:
        """One is done; returns the next, which is not inside yet, or None."""
        gate = self._gates[key]
        gate.inside -= 1
        if gate.waiting:
            return gate.waiting.popleft()
        if gate.inside == 0:
            del self._gates[key]
        return None

    def empty(self) -> list[Delivery]:
        """Takes out everything that waits."""
        rest = [delivery for gate in self._gates.values() for delivery in gate.waiting]
        for gate in self._gates.values():
            gate.waiting.clear()
        return rest
