"""How a consumer reaches RabbitMQ, as its settings say."""

from collections.abc import Callable

from libs.common.bus.consumer import BrokerConsumer
from libs.common.bus.deliveries import IncomingWork
from libs.common.bus.link import BrokerOptions
from libs.common.contracts.topology import Lane
from libs.common.runtime.config import ConsumerSettings
from libs.common.runtime.consumer import OpenBroker


def broker_of(settings: ConsumerSettings, consumer: str) -> OpenBroker | None:
    """What opens the consumer's side of RabbitMQ; None without `RABBITMQ_URL`."""
    if settings.rabbitmq_url is None:
        return None
    options = BrokerOptions.of(settings, consumer)
    prefetch = dict.fromkeys(Lane, settings.consumer_prefetch)

    def open_broker(
        deliver: Callable[[IncomingWork], None], up: Callable[[], None], down: Callable[[], None]
    ) -> BrokerConsumer:
        return BrokerConsumer(options, consumer, deliver, prefetch, on_up=up, on_down=down)

    return open_broker
