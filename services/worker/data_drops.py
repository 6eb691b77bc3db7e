"""Which messages make kept answers untrue, and how every process of the worker hears of it.

A message reaches one process, which drops at once what it keeps and tells the others by NOTIFY, all that came within
a moment together. A process that ends before it has told leaves the others with what they keep until that is too old:
a minute, or ten where Shopify is away. An erasure is told before it begins.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import asyncpg

from libs.common import news
from libs.common.clock import Clock
from libs.common.contracts.envelope import Message
from libs.common.contracts.privacy import ERASE, ERASED, Command, command_type
from libs.common.db import Connect, connection, database_away_named
from libs.common.errors import DatabaseAway
from libs.common.outbox import put_store
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import Handler, Registry
from libs.common.tasks import Part
from services.worker.data_cache import DataCache

CHANNEL = "shopbus_data"
"""What is sent on it: a shop's domain, and a subject or `*`."""

EVERYTHING = "*"
_MOMENT = 0.05  # seconds in which what is to be told is gathered
_PAUSE = 1.0  # before it is told again where Postgres did not take it
_ERASE = command_type(ERASE, "worker")

# By what a type begins with. An order's payment, refund or customer is in the order's answer; a customer's orders are
# counted in the customer's.
CHANGED: Mapping[str, tuple[str, ...]] = {
    "webhook.products.": ("products",),
    "webhook.inventory_levels.": ("products",),
    "webhook.inventory_items.": ("products",),
    "webhook.orders.": ("orders", "customers"),
    "webhook.order_transactions.": ("orders",),
    "webhook.refunds.": ("orders",),
    "webhook.fulfillments.": ("orders",),
    "webhook.customers.": ("customers", "orders"),
    "webhook.customer.": ("customers",),  # customer.tags_added
    "webhook.app.uninstalled": (EVERYTHING,),
    "webhook.app.scopes_update": (EVERYTHING,),
    "webhook.shop.redact": (EVERYTHING,),
    "install.ended": (EVERYTHING,),
}


def changed_by(message_type: str) -> tuple[str, ...]:
    """The subjects whose answers are untrue after a message of this type."""
    first, _, rest = message_type.partition(".")
    subject = rest.partition(".")[0]
    return CHANGED.get(f"{first}.{subject}.") or CHANGED.get(message_type, ())


@dataclass(frozen=True, slots=True)
class Drops:
    """One for a process."""

    cache: DataCache
    pool: asyncpg.Pool
    connect: Connect
    clock: Clock
    timeout: float
    _untold: set[str] = field(default_factory=set)
    _some: asyncio.Event = field(default_factory=asyncio.Event)

    def heard(self, message: Message) -> None:
        """Takes note of a message; called with each that comes in."""
        for subject in changed_by(message.type):
            told = f"{message.shop} {subject}"
            self._drop(told)
            self._untold.add(told)
            self._some.set()

    def registry(self, handlers: Registry) -> Registry:
        """These handlers; the one that erases first makes every process forget the shop."""
        return Registry(
            replace(one, function=partial(self._erase, one)) if _ERASE in one.patterns else one
            for one in handlers.handlers
        )

    def parts(self) -> dict[str, Part]:
        """What has to run beside."""
        return {
            "news of data": self._listen,
            "telling of data": self._tell_for_ever,
            "old data": self.cache.sweep_for_ever,
        }

    async def _erase(self, handler: Handler, message: Message, ctx: Context) -> None:
        if message.body != ERASED:
            told = f"{Command.of(message).subject.shop} {EVERYTHING}"
            self._drop(told)
            await self._tell({told})
        await handler.function(message, ctx)

    async def _listen(self) -> None:
        await news.listen(self.connect, CHANNEL, self._drop, self.cache.drop_all, self.clock, name="data")

    async def _tell_for_ever(self) -> None:
        while True:
            await self._some.wait()
            await self.clock.sleep(_MOMENT)
            self._some.clear()
            await self._tell_untold()

    async def _tell_untold(self) -> None:
        telling = set(self._untold)
        self._untold.clear()
        try:
            await self._tell(telling)
        except DatabaseAway:
            self._untold.update(telling)
            await self.clock.sleep(_PAUSE)
            self._some.set()

    async def _tell(self, told: set[str]) -> None:
        async with connection(self.pool, self.timeout) as conn:
            with database_away_named():
                await put_store.notify(conn, [(CHANNEL, one) for one in sorted(told)])

    def _drop(self, told: str) -> None:
        shop, _, subject = told.partition(" ")
        self.cache.drop(shop, None if subject == EVERYTHING else subject)
