"""Messages in: installs and uninstalls of the app, as auth tells them."""

from collections.abc import Iterable
from typing import Any

from libs.common.contracts.envelope import Message
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import Handler, Registry
from libs.common.runtime.outcomes import Never
from services.ingest import extensions_store
from services.ingest.extensions import Extensions

_TIMEOUT = 60.0  # asking Shopify, which may have to be waited for


def registry(extensions: Extensions, privacy: Iterable[Handler] = ()) -> Registry:
    """What ingest does with which message; `privacy` is its part of the cases."""

    async def restore_pixel(message: Message, ctx: Context) -> None:
        await _restore_pixel(extensions, message, ctx)

    return Registry(
        [
            Handler("consumers.restore_pixel", restore_pixel, ("shop.installed",), timeout=_TIMEOUT),
            Handler("consumers.end_pixel", end_pixel, ("shop.uninstalled",)),
            *privacy,
        ]
    )


async def _restore_pixel(extensions: Extensions, message: Message, ctx: Context) -> None:
    """Switches on the pixel of a merchant who had it before: Shopify has dropped it with the uninstall."""
    generation = _generation(message)
    if not await extensions.heard_of_install(message.shop, generation):
        return
    pixel = await extensions.restore(message.shop)
    async with ctx.transaction() as tx:
        await extensions_store.revive(tx, message.shop, generation, pixel.id, extensions.clock.now())


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
