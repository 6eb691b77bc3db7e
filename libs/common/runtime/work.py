"""Messages in a consumer's hand, and the rule which lane is served next. No I/O."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from libs.common.contracts.envelope import Message
from libs.common.contracts.topology import LANE_WEIGHTS, Lane

RABBITMQ = "rabbitmq"
POSTGRES = "postgres"

Key = tuple[str, UUID]  # source and message id


@dataclass(slots=True, eq=False)
class Delivery:
    """One message in hand. Copies that arrive meanwhile are added to it and end with it."""

    message: Message
    lane: Lane
    route: str
    lease_ends: float  # on the monotonic clock
    deliveries: int = 1
    suspicions: int = 0
    acks: list[Callable[[], None]] = field(default_factory=list)
    started_at: datetime | None = None

    @property
    def key(self) -> Key:
        return (self.message.source, self.message.id)

    def acknowledge(self) -> None:
        """The broker's copies are not needed any more."""
        acks, self.acks = self.acks, []
        for ack in acks:
            ack()


class Hands:
    """Everything in hand, so that a second copy joins the first instead of running beside it."""

    def __init__(self) -> None:
        self._held: dict[Key, Delivery] = {}

    def take(self, delivery: Delivery) -> bool:
        """False if the message was in hand already; its copy's acknowledgement waits for the first one's end."""
        held = self._held.setdefault(delivery.key, delivery)
        if held is delivery:
            return True
        held.acks.extend(delivery.acks)
        return False

    def drop(self, delivery: Delivery) -> None:
        """The message is not in hand any more; its copies are acknowledged."""
        self._held.pop(delivery.key, None)
        delivery.acknowledge()

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def __iter__(self) -> Iterator[Delivery]:
        return iter(list(self._held.values()))


class LaneBuffers:
    """What is in hand and not started, by lane, and how many of each lane run.

    Lanes are served by weight (smooth weighted round robin). Each but the critical one leaves some of the
    concurrency unused, so that a critical message finds a free place even while long bulk work runs.
    """

    def __init__(self, concurrency: int, weights: Mapping[Lane, int] = LANE_WEIGHTS) -> None:
        self._waiting: dict[Lane, deque[Delivery]] = {lane: deque() for lane in Lane}
        self._running: Counter[Lane] = Counter()
        self._weights = weights
        self._credit: dict[Lane, int] = dict.fromkeys(Lane, 0)
        self.concurrency = concurrency
        self._for_others = max(
            1, concurrency - max(1, concurrency // 8)
        )  # a place is kept for critical messages
        half = max(1, concurrency // 2)
        self._most = {Lane.DEFAULT: self._for_others, Lane.OVERFLOW: half, Lane.BULK: half}

    def add(self, delivery: Delivery, *, first: bool = False) -> None:
        queue = self._waiting[delivery.lane]
        (queue.appendleft if first else queue.append)(delivery)

    def waiting(self, lane: Lane) -> int:
        return len(self._waiting[lane])

    @property
    def running(self) -> int:
        return self._running.total()

    def choose(self) -> Lane | None:
        """The lane to serve next, or None while nothing can be started."""
        if self.running >= self.concurrency:
            return None
        others = self.running - self._running[Lane.CRITICAL]
        ready = [
            lane
            for lane in Lane
            if self._waiting[lane]
            and (
                lane is Lane.CRITICAL
                or (others < self._for_others and self._running[lane] < self._most[lane])
            )
        ]
        if not ready:
            return None
        for lane in ready:
            self._credit[lane] += self._weights[lane]
        best = max(ready, key=lambda lane: self._credit[lane])
        self._credit[best] -= sum(self._weights[lane] for lane in ready)
        return best

    def take(
        self, lane: Lane, most: Callable[[Delivery], int], alike: Callable[[Delivery, Delivery], bool]
    ) -> list[Delivery]:
        """Takes the lane's first message, and those behind it that may share its transaction."""
        queue = self._waiting[lane]
        group = [queue.popleft()]
        limit = most(group[0])
        while queue and len(group) < limit and alike(group[0], queue[0]):
            group.append(queue.popleft())
        return group

    def started(self, lane: Lane) -> None:
        self._running[lane] += 1

    def ended(self, lane: Lane) -> None:
        self._running[lane] -= 1

    def empty(self) -> list[Delivery]:
        """Takes out everything that was not started."""
        rest = [delivery for queue in self._waiting.values() for delivery in queue]
        for queue in self._waiting.values():
            queue.clear()
        return rest
