"""Products, orders, transactions and customers: as the Admin API gives them, and as the data endpoints answer.

Read by Shopify's names, written by ours. Money is a Decimal and goes out as a text; `id` is the number that stands in
our addresses, `gid` Shopify's name of the same thing.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Generic, TypeVar

from pydantic import AliasPath, BaseModel, ConfigDict, Field, computed_field
from pydantic.alias_generators import to_camel

T = TypeVar("T")


class Shown(BaseModel):
    """What Shopify adds to its answers later does no harm."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


class Named(Shown):
    """A thing that has an id."""

    gid: Annotated[str, Field(validation_alias="id", pattern=r"^gid://shopify/[A-Za-z]+/\d+")]

    @computed_field
    def id(self) -> str:
        """The number at the end of the gid."""
        return self.gid.partition("?")[0].rpartition("/")[2]


class Some(Shown, Generic[T]):
    """The first of a thing's parts; `has_more` says that there are others."""

    nodes: list[T]
    has_more: Annotated[bool, Field(validation_alias=AliasPath("pageInfo", "hasNextPage"))]


class Money(Shown):
    """An amount in a currency."""

    amount: Decimal
    currency_code: str


class MoneyBag(Shown):
    """The same amount in the shop's currency and in the customer's."""

    shop_money: Money
    presentment_money: Money | None = None


class Product(Named):
    """A product as a list shows it."""

    title: str
    handle: str
    status: str
    vendor: str
    product_type: str
    tags: list[str]
    total_inventory: int | None = None
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None = None


class Variant(Named):
    """What can be bought."""

    title: str
    sku: str | None = None
    barcode: str | None = None
    position: int
    price: Decimal
    compare_at_price: Decimal | None = None
    inventory_quantity: int | None = None
    inventory_item: Named | None = None
    created_at: datetime
    updated_at: datetime


class ProductDetail(Product):
    """A product with its variants."""

    description: str
    variants: Some[Variant]


class Order(Named):
    """An order as a list shows it."""

    name: str
    created_at: datetime
    processed_at: datetime
    updated_at: datetime
    cancelled_at: datetime | None = None
    cancel_reason: str | None = None
    closed_at: datetime | None = None
    test: bool
    tags: list[str]
    currency_code: str
    display_financial_status: str | None = None
    display_fulfillment_status: str
    total_price_set: MoneyBag
    current_total_price_set: MoneyBag
    subtotal_price_set: MoneyBag | None = None
    total_tax_set: MoneyBag | None = None
    total_discounts_set: MoneyBag | None = None
    total_refunded_set: MoneyBag
    customer: Named | None = None


class LineItem(Named):
    """A line of an order."""

    name: str
    sku: str | None = None
    quantity: int
    current_quantity: int
    original_unit_price_set: MoneyBag
    discounted_total_set: MoneyBag
    product: Named | None = None
    variant: Named | None = None


class OrderDetail(Order):
    """An order with its lines."""

    note: str | None = None
    line_items: Some[LineItem]


class Transaction(Named):
    """Money that moved, or was to move, for an order."""

    kind: str
    status: str
    gateway: str | None = None
    amount_set: MoneyBag
    created_at: datetime
    processed_at: datetime | None = None
    parent_transaction: Named | None = None
    test: bool
    error_code: str | None = None


class Transactions(Named):
    """An order's transactions."""

    transactions: list[Transaction]


class Customer(Named):
    """A customer as a list shows one."""

    display_name: str
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = Field(None, validation_alias=AliasPath("defaultEmailAddress", "emailAddress"))
    phone: str | None = Field(None, validation_alias=AliasPath("defaultPhoneNumber", "phoneNumber"))
    state: str
    locale: str
    tags: list[str]
    number_of_orders: int
    amount_spent: Money
    created_at: datetime
    updated_at: datetime


class Address(Shown):
    """Where a customer lives."""

    name: str | None = None
    company: str | None = None
    address1: str | None = None
    address2: str | None = None
    city: str | None = None
    zip: str | None = None
    province: str | None = None
    province_code: str | None = None
    country: str | None = None
    country_code: str | None = Field(None, validation_alias="countryCodeV2")
    phone: str | None = None


class CustomerDetail(Customer):
    """A customer with addresses."""

    note: str | None = None
    addresses: Annotated[Some[Address], Field(validation_alias="addressesV2")]
