"""Shopify's spelling of values in GraphQL: times in UTC, money as short decimals, global ids."""

from datetime import UTC, datetime
from decimal import Decimal

from graphql import GraphQLError

from services.sandbox.scene import Json

DOCUMENTATION = "https://shopify.dev/api/usage"


def time(moment: str | int | None) -> str | None:
    """A time of a webhook's payload, or seconds since 1970, as GraphQL writes it."""
    if moment is None:
        return None
    known = datetime.fromisoformat(moment) if isinstance(moment, str) else datetime.fromtimestamp(moment, UTC)
    return f"{known.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def decimal(amount: str) -> str:
    """`12.50` becomes `12.5` and `12.00` becomes `12.0`."""
    return amount[:-1] if amount.endswith("0") and "." in amount[:-2] else amount


def money(amount: str, currency: str) -> Json:
    return {"amount": decimal(amount), "currencyCode": currency}


def bag(amount: str, currency: str) -> Json:
    """The same in the store's currency and the buyer's, which are the same here."""
    both = money(amount, currency)
    return {"shopMoney": both, "presentmentMoney": both}


def times(amount: str, quantity: int) -> str:
    return f"{Decimal(amount) * quantity:.2f}"


def local_id(text: str, resource: str) -> int | None:
    """The number in `gid://shopify/Order/1`; None where it is another resource's. Raises for what is no id."""
    head, _, number = text.partition("?")[0].rpartition("/")
    if not number.isascii() or not number.isdigit() or (head and not head.startswith("gid://shopify/")):
        raise GraphQLError(f"Invalid global id '{text}'", extensions={"code": "argumentLiteralsIncompatible"})
    return int(number) if head in {"", f"gid://shopify/{resource}"} else None


def denied(field: str, scope: str) -> GraphQLError:
    """What an app without a scope is told."""
    access = f"`{scope}` access scope."
    return GraphQLError(
        f"Access denied for {field} field. Required access: {access}",
        extensions={
            "code": "ACCESS_DENIED",
            "documentation": f"{DOCUMENTATION}/access-scopes",
            "requiredAccess": access,
        },
    )


def bad_request(message: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": "BAD_REQUEST"})
