"""What a consumer receives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiormq.abc import DeliveredMessage

from libs.common.bus.packing import decode
from libs.common.contracts.envelope import Message
from libs.common.contracts.topology import Lane


@dataclass(slots=True, eq=False)
class IncomingWork:
    """The messages of one packet, as RabbitMQ brought them."""

    messages: Sequence[Message]
    lane: Lane
    redelivered: bool  # RabbitMQ gave it out before, perhaps to somebody who never looked at it
    delivery_count: int  # how often it was given out before and came back, by RabbitMQ's count; 0 at first
    dead_lettered: bool  # RabbitMQ gave it up
    _acknowledge: Callable[[], None] = field(repr=False)
    _acknowledged: bool = field(default=False, init=False)

    def ack(self) -> None:
        """RabbitMQ may forget the packet. Counted and dropped when the connection it came by is gone."""
        if not self._acknowledged:
            self._acknowledged = True
            self._acknowledge()


def read(
    delivery: DeliveredMessage, lane: Lane, acknowledge: Callable[[], None], *, dead_lettered: bool
) -> IncomingWork:
    """The work inside a delivery; raises `InvalidPacket`."""
    headers = delivery.header.properties.headers or {}
    return IncomingWork(
        decode(delivery.body, headers, delivery.header.properties.content_type),
        _first_lane(headers) if dead_lettered else lane,
        redelivered=bool(delivery.redelivered),
        delivery_count=_whole(headers.get("x-delivery-count")),
        dead_lettered=dead_lettered,
        _acknowledge=acknowledge,
    )


def _first_lane(headers: Mapping[str, object]) -> Lane:
    """The lane a dead letter came from, which RabbitMQ notes as the name of its first queue."""
    lane = str(headers.get("x-first-death-queue", "")).rpartition(".")[2]
    return Lane(lane) if lane in set(Lane) else Lane.DEFAULT


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
