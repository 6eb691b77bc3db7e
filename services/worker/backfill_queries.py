"""What a backfill asks Shopify for: one root connection with at most one below it, which is joined to its parent.

Edit the fields here, and every later backfill has them. `id` has to stay: Shopify joins by it, and so do we.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from services.worker.data_queries import (
    ADDRESS_FIELDS,
    CUSTOMER_FIELDS,
    LINE_FIELDS,
    ORDER_FIELDS,
    PRODUCT_FIELDS,
    VARIANT_FIELDS,
)


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of thing that can be fetched."""

    many: str  # as Shopify's root field is called, and at the end of the message type
    fields: str
    children: str  # the connection below; its nodes become a list of this name
    child_fields: str

    @property
    def message_type(self) -> str:
        return f"backfill.{self.many}"

    def query(self, name: str, since: datetime) -> str:
        """The bulk query. Its name is found again in the shop's list of bulk operations."""
        search = f"updated_at:>='{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'"
        below = f"{self.children} {{ edges {{ node {{ {self.child_fields} }} }} }}"
        return (
            f'query {name} {{ {self.many}(query: "{search}") '
            f"{{ edges {{ node {{ {self.fields} {below} }} }} }} }}"
        )


RESOURCES: Mapping[str, Resource] = {
    one.many: one
    for one in (
        Resource("orders", ORDER_FIELDS, "lineItems", LINE_FIELDS),
        Resource("products", PRODUCT_FIELDS, "variants", VARIANT_FIELDS),
        Resource("customers", CUSTOMER_FIELDS, "addressesV2", ADDRESS_FIELDS),
    )
}


def operation_name(backfill: UUID, attempt: int) -> str:
    """What a backfill's bulk operation is known by, also where the answer to its start was lost."""
    return f"Backfill_{backfill.hex}_{attempt}"
