"""Messages in: what merchants do to the app in their admin, as Shopify's webhooks tell it."""

from collections.abc import Iterable
from typing import Any

import orjson

from libs.common.contracts.envelope import Message
from libs.common.runtime.context import Context
from libs.common.runtime.handlers import Handler, Registry
from libs.common.runtime.outcomes import Later, Never
from libs.common.shopify.scopes import Scopes
from services.auth.installs import Install, Meaning
from services.auth.refusals import TryLater
from services.auth.service import Auth
from services.auth.tokens import installed

_TIMEOUT = 60.0  # asking Shopify, after waiting for others of the same shop


def registry(auth: Auth, privacy: Iterable[Handler] = ()) -> Registry:
    """What auth does with which message; `privacy` is its part of the cases."""

    async def end_install(message: Message, ctx: Context) -> None:
        await _end_install(auth, message, ctx)

    async def take_in_scopes(message: Message, ctx: Context) -> None:
        await _take_in_scopes(auth, message, ctx)

    return Registry(
        [
            Handler("consumers.end_install", end_install, ("webhook.app.uninstalled",), timeout=_TIMEOUT),
            Handler(
                "consumers.take_in_scopes", take_in_scopes, ("webhook.app.scopes_update",), timeout=_TIMEOUT
            ),
            *privacy,
        ]
    )


async def _end_install(auth: Auth, message: Message, ctx: Context) -> None:
    """Ends the install that the uninstall belongs to, whenever it arrives and however often."""
    try:
        await _end_known_install(auth, message, ctx)
    except TryLater as error:
        raise Later(error.seconds, str(error)) from error


async def _end_known_install(auth: Auth, message: Message, ctx: Context) -> None:
    verdict = await auth.verdict(message.shop, message.time)
    async with ctx.transaction() as tx:
        what, known = await auth.end(tx, message.shop, message.time, verdict)
        if known is None:
            return
        if what is Meaning.ENDED:
            await ctx.emit("shop.uninstalled", _uninstalled(message, known))
            await ctx.emit(
                "install.ended", _uninstalled(message, known)
            )  # the worker's own: it cancels what waits
        elif what is Meaning.REPLACED:  # nobody has been told of the install that is alive now
            scopes = await auth.scopes(tx, message.shop)
            await ctx.emit("shop.installed", installed(message.shop, known, scopes).body)


async def _take_in_scopes(auth: Auth, message: Message, ctx: Context) -> None:
    """Keeps what the merchant grants now."""
    current = message.json().get("current") if isinstance(message.json(), dict) else None
    if not isinstance(current, list) or not all(isinstance(name, str) for name in current):
        raise Never("the payload has no list of current scopes")
    scopes = Scopes.of(current)
    async with ctx.transaction() as tx:
        missing = await auth.rescope(tx, message.shop, scopes, message.time)
        if missing is not None:
            facts = {"shop": message.shop, "scopes": str(scopes), "missing": str(missing)}
            await ctx.emit("shop.scopes_changed", facts)


def _uninstalled(message: Message, known: Install) -> Any:
    facts = {"shop": message.shop, "generation": known.generation, "uninstalled_at": known.uninstalled_at}
    return orjson.dumps(facts, option=orjson.OPT_UTC_Z)
