"""Messages in: installs and uninstalls of the app, as auth tells them."""

from typing import Any

from libs.common.contracts.envelope import Message
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import Handler, Registry
from libs.common.runtime.outcomes import Never
from services.ingest import extensions_store


def registry() -> Registry:
    """What ingest does with which message."""
    return Registry(
        [
            Handler("consumers.know_install", know_install, ("shop.installed",)),
            Handler("consumers.end_pixel", end_pixel, ("shop.uninstalled",)),
        ]
    )


async def know_install(message: Message, ctx: Context) -> None:
    """Notes which install of the app is alive."""
    async with ctx.transaction() as tx:
        await extensions_store.installed(tx, message.shop, _generation(message))


async def end_pixel(message: Message, ctx: Context) -> None:
    """Takes in no more events of a shop that has uninstalled the app."""
    async with ctx.transaction() as tx:
        await extensions_store.uninstalled(tx, message.shop, _generation(message), message.time)


def _generation(message: Message) -> int:
    facts: Any = message.json()
    generation = facts.get("generation") if isinstance(facts, dict) else None
    if type(generation) is not int or not message.shop:
        raise Never("the message names no shop and generation of its install")
    return generation
