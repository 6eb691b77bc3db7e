"""The ways in which RabbitMQ fails us, as a closed set of causes."""

import asyncio
from enum import StrEnum

from aiormq.exceptions import (
    AMQPChannelError,
    AMQPError,
    ChannelInvalidStateError,
    DeliveryError,
    PublishError,
)

from libs.common.errors import BrokerAway


class PublishFailure(StrEnum):
    """Why a call to RabbitMQ failed; the values are label values of metrics."""

    TIMEOUT = "timeout"
    RETURNED = "returned"
    NACKED = "nacked"
    CONNECTION = "connection"
    BLOCKED = "blocked"
    CLOSED = "closed"


class BusError(BrokerAway):
    """A call to RabbitMQ failed."""

    cause: PublishFailure


class PublishTimeout(BusError):
    """RabbitMQ did not answer in time; what was sent may still arrive."""

    cause = PublishFailure.TIMEOUT


class QueueSilent(PublishTimeout):
    """RabbitMQ answers, but one of its queues does not."""

    def __init__(self, queue: str) -> None:
        super().__init__(f"RabbitMQ answers, but its queue {queue} does not")
        self.queue = queue


class PublishReturned(BusError):
    """No queue is bound for the message: RabbitMQ confirmed it and threw it away."""

    cause = PublishFailure.RETURNED


class PublishNacked(BusError):
    """RabbitMQ refused to take responsibility for the message."""

    cause = PublishFailure.NACKED


class ConnectionLost(BusError):
    """There is no connection to RabbitMQ; what was sent over the last one may still arrive."""

    cause = PublishFailure.CONNECTION


class ConnectionBlocked(BusError):
    """RabbitMQ stopped reading from the connection because of a memory or disk alarm."""

    cause = PublishFailure.BLOCKED


class ChannelLost(BusError):
    """RabbitMQ closed the channel: something does not exist, is declared differently, or is not permitted."""

    cause = PublishFailure.CLOSED


def named(error: BaseException) -> BusError | None:
    """What an error of aiormq or of the socket means; None if it is neither's.

    The order matters: `PublishError` is a `DeliveryError`, and all are `AMQPError`s. A cancellation is among
    them because aiormq ends calls with one when heartbeats are missed, though nobody cancelled the caller.
    """
    match error:
        case PublishError():
            return PublishReturned()
        case DeliveryError():
            return PublishNacked()
        case AMQPChannelError():
            return ChannelLost(f"RabbitMQ closed the channel: {_words(error)}")
        case TimeoutError():
            return PublishTimeout()
        case AMQPError() | ChannelInvalidStateError() | OSError() | asyncio.CancelledError():
            return ConnectionLost(f"no connection to RabbitMQ: {_words(error)}")
    return None


def _words(error: BaseException) -> str:
    """The broker's reason, or what the system said. Neither carries the URL, hence no password."""
    return " ".join([type(error).__name__, *(str(part) for part in error.args)])[:300]
