"""Which webhooks the app wants, in one place: edit WANTED, and every shop's subscriptions follow within hours.

`shopify.app.toml` (`shopbus app toml`) and the repair in services/webhooks are both made from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

WEBHOOK_PATH = "/webhooks/shopify"

COMPLIANCE_TOPICS = ("customers/data_request", "customers/redact", "shop/redact")
"""Shopify takes these from the app's configuration only."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One topic. `in_toml`: by the app's configuration, for all shops at once; Shopify never deletes it."""

    topic: str  # as webhooks name it: orders/create
    scope: str | None = None  # without which Shopify refuses it
    include_fields: tuple[str, ...] = ()  # all, where none is named; name updated_at among them
    filter: str = ""
    in_toml: bool = False


WANTED = (
    Wanted("app/uninstalled", in_toml=True),
    Wanted("app/scopes_update", in_toml=True),
    *(
        Wanted(f"orders/{what}", "read_orders")
        for what in ("create", "updated", "paid", "cancelled", "fulfilled", "partially_fulfilled", "delete")
    ),
    Wanted("order_transactions/create", "read_orders"),
    *(Wanted(f"products/{what}", "read_products") for what in ("create", "update", "delete")),
    *(Wanted(f"customers/{what}", "read_customers") for what in ("create", "update", "delete")),
    Wanted("bulk_operations/finish"),
)

LEFT_ALONE: tuple[str, ...] = ()
"""Addresses that begin so belong to another program of the same app: not deleted, not counted as drift."""


def by_api(wanted: tuple[Wanted, ...] = WANTED) -> tuple[Wanted, ...]:
    """The topics that each shop is subscribed to through the Admin API."""
    return tuple(one for one in wanted if not one.in_toml)


def enum_of(topic: str) -> str:
    """A topic as the Admin API names it: ORDERS_CREATE."""
    return topic.replace("/", "_").replace(".", "_").upper()


def app_specific(wanted: tuple[Wanted, ...] = WANTED) -> list[Mapping[str, object]]:
    """The entries of `[[webhooks.subscriptions]]` in shopify.app.toml, compliance topics first."""
    entries: list[Mapping[str, object]] = [
        {"compliance_topics": list(COMPLIANCE_TOPICS), "uri": WEBHOOK_PATH}
    ]
    plain = [one.topic for one in wanted if one.in_toml and not (one.include_fields or one.filter)]
    if plain:
        entries.append({"topics": plain, "uri": WEBHOOK_PATH})
    for one in wanted:
        if one.in_toml and (one.include_fields or one.filter):
            fields = {"include_fields": list(one.include_fields)} if one.include_fields else {}
            chosen = {"filter": one.filter} if one.filter else {}
            entries.append({"topics": [one.topic], "uri": WEBHOOK_PATH, **fields, **chosen})
    return entries
