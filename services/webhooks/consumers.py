"""Messages in: installs, uninstalls and scopes, as auth tells them; each makes a shop due for a check, or ends it."""

from collections.abc import Callable, Iterable
from typing import Any

from libs.common.contracts.envelope import Message
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import Handler, Registry
from libs.common.runtime.outcomes import Never
from services.webhooks import subscriptions_store


def registry(wake: Callable[[], None], privacy: Iterable[Handler] = ()) -> Registry:
    """What webhooks does with which message; `privacy` is its part of the cases."""

    async def begin_subscriptions(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await subscriptions_store.installed(tx, message.shop, _generation(message))
        wake()

    async def revise_subscriptions(message: Message, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await subscriptions_store.rescoped(tx, message.shop)
        wake()

    return Registry(
        [
            Handler("consumers.begin_subscriptions", begin_subscriptions, ("shop.installed",)),
            Handler("consumers.revise_subscriptions", revise_subscriptions, ("shop.scopes_changed",)),
            Handler("consumers.end_subscriptions", end_subscriptions, ("shop.uninstalled",)),
            *privacy,
        ]
    )


async def end_subscriptions(message: Message, ctx: Context) -> None:
    """Shopify has dropped them with the install."""
    async with ctx.transaction() as tx:
        await subscriptions_store.uninstalled(tx, message.shop, _generation(message))


def _generation(message: Message) -> int:
    facts: Any = message.json()
    generation = facts.get("generation") if isinstance(facts, dict) else None
    if type(generation) is not int or not message.shop:
        raise Never("the message names no shop and generation of its install")
    return generation
