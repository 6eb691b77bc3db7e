"""Parameters of an operator's request; what they cannot be is a 400 that says what they have to be."""

from datetime import UTC, datetime

from aiohttp import web

from libs.common.shopify.shop_domain import InvalidShopDomain, shop_domain
from libs.common.web import Problem


def bad(name: str, wanted: str) -> Problem:
    """The answer to a parameter that cannot be meant."""
    return Problem(400, f"{name} has to be {wanted}", kind="bad-parameter")


def shop_in(request: web.Request) -> str:
    """The shop that the request names; it has to name one."""
    try:
        return shop_domain(request.query.get("shop", ""))
    except InvalidShopDomain as error:
        raise bad("shop", "name.myshopify.com") from error


def moment_in(request: web.Request, name: str, otherwise: datetime) -> datetime:
    """A time, in UTC where it has no offset."""
    text = request.query.get(name)
    if not text:
        return otherwise
    try:
        moment = datetime.fromisoformat(
            text.replace(" ", "+")
        )  # a plus that nobody escaped arrives as a blank
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError as error:
        raise bad(name, "a time like 2026-11-21T08:00:00Z") from error
