"""How deep RabbitMQ's queues are, so that a backlog stays in Postgres. No I/O."""

from dataclasses import dataclass


@dataclass(slots=True)
class _Queue:
    ready: int = 0  # AMQP messages, as last seen plus what was published since
    pack_mean: float = 1.0  # messages per AMQP message, moving average
    full: bool = False


class Depths:
    """Says whether a queue is shallow enough for more; once full, it has to fall to half before it is again."""

    def __init__(self, high_water: int) -> None:
        self._high_water = high_water
        self._queues: dict[str, _Queue] = {}

    def shallow(self, name: str, *, waiting: int = 0) -> bool:
        """Whether a queue may take more; `waiting` messages are on their way to it."""
        queue = self._queues.setdefault(name, _Queue())
        depth = queue.ready * queue.pack_mean + waiting
        queue.full = depth > (self._high_water / 2 if queue.full else self._high_water)
        return not queue.full

    def published(self, name: str, messages: int) -> None:
        """One AMQP message with so many messages went out."""
        queue = self._queues.setdefault(name, _Queue())
        queue.ready += 1
        queue.pack_mean += (messages - queue.pack_mean) * 0.05

    def seen(self, name: str, ready: int) -> None:
        """RabbitMQ reported this many AMQP messages ready."""
        self._queues.setdefault(name, _Queue()).ready = ready

    def names(self) -> list[str]:
        """The queues that were asked about."""
        return list(self._queues)
