"""Servers as they are seen through a proxy of ours, and what a producer makes of that."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from libs.common.bus.publisher import BrokerPublisher
from libs.common.outbox.broker_route import BrokerRoute
from libs.common.outbox.circuit import State
from libs.common.outbox.producer import Producer
from tests.chaos.proxy import Proxy
from tests.integration.protocol import LONG, counted
from tests.waiting import poll


@dataclass(frozen=True)
class Detour:
    """The way to a server through a proxy."""

    proxy: Proxy
    url: str

    @property
    def secret(self) -> SecretStr:
        """The URL as settings hold it."""
        return SecretStr(self.url)


@contextmanager
def through_proxy(url: str) -> Iterator[Detour]:
    """A way to the server of a URL, with all that the proxy may do to it."""
    port = urlsplit(url).port
    assert port is not None
    with Proxy(port) as proxy:
        yield Detour(proxy, url.replace(f":{port}/", f":{proxy.port}/"))


def route_of(producer: Producer) -> BrokerRoute:
    """A producer's way over RabbitMQ."""
    assert producer.broker is not None
    return producer.broker


def publisher_of(producer: Producer) -> BrokerPublisher:
    """A producer's connection to RabbitMQ."""
    publisher = route_of(producer).publisher
    assert isinstance(publisher, BrokerPublisher)
    return publisher


async def opened(producer: Producer) -> None:
    """Returns once a producer does not trust RabbitMQ."""
    await poll(lambda: route_of(producer).circuit.state is State.OPEN, within=LONG)


def connects(service: str = "webhooks", link: str = "publish") -> float:
    """How often a connection to RabbitMQ was opened again."""
    return counted("broker_reconnects_total", service=service, link=link)
