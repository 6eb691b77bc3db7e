"""The sender of webhooks: what it sent, how often, and what it was told."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import orjson

from libs.common.contracts.envelope import Draft
from libs.common.errors import DatabaseAway
from libs.common.outbox.producer import Producer
from tests.chaos.history import Request
from tests.simulation.host import Host
from tests.simulation.loop import SimLoop, State

_PATIENCE_SECONDS = 2.0  # after which a delivery without an answer is tried again


@dataclass(slots=True)
class Delivery:
    """One webhook and the tries to deliver it."""

    webhook_id: str
    topic: str
    shop: str
    delay: float
    tries: list[Request]

    def accepted(self) -> bool:
        return any(request.outcome == "ok" for request in self.tries)

    def draft(self) -> Draft:
        """What services/webhooks makes of it."""
        message_type = f"webhook.{self.topic.replace('/', '.')}"
        body = orjson.dumps({"webhook": self.webhook_id})
        return Draft(message_type, body, shop=self.shop, key=self.webhook_id, delay=self.delay)


class Shopify:
    """Sends webhooks to one process, which takes them in where it can."""

    def __init__(self, loop: SimLoop, receiver: Host) -> None:
        self._loop, self._receiver = loop, receiver
        self._deliveries: list[Delivery] = []

    def send(self, topic: str, shop: str, delay: float) -> None:
        delivery = Delivery(f"webhook {len(self._deliveries)}", topic, shop, delay, [])
        self._deliveries.append(delivery)
        self._try(delivery)

    def repeat(self, back: int) -> None:
        """Sends an earlier one once more, whatever became of it."""
        if self._deliveries:
            self._try(self._deliveries[-1 - back % len(self._deliveries)])

    def send_again(self) -> None:
        """Sends what was not accepted in time once more."""
        for delivery in self._deliveries:
            late = self._loop.time() - delivery.tries[-1].invoked > _PATIENCE_SECONDS
            if late and not delivery.accepted():
                self._try(delivery)

    def satisfied(self) -> bool:
        """Whether everything was accepted."""
        return all(delivery.accepted() for delivery in self._deliveries)

    def requests(self) -> Iterator[Request]:
        """Every try."""
        return (request for delivery in self._deliveries for request in delivery.tries)

    def _try(self, delivery: Delivery) -> None:
        number, receiver = len(delivery.tries), self._receiver
        delivery.tries.append(Request(delivery.webhook_id, delivery.topic, delivery.shop, self._loop.time()))
        if receiver.process.state is State.RUNNING and receiver.producer is not None:
            self._loop.spawn(receiver.process, self._taken_in(delivery, number, receiver.producer))

    async def _taken_in(self, delivery: Delivery, number: int, producer: Producer) -> None:
        try:
            receipt = await producer.accept(delivery.draft())
        except DatabaseAway:
            return  # 503: nobody knows
        delivery.tries[number] = replace(
            delivery.tries[number], ended=self._loop.time(), outcome="ok", message_id=str(receipt.id)
        )
