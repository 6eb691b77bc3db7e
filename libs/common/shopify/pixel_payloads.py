"""What the web pixel's standard events carry, as Shopify documents it (SHOPIFY 5.4).

Nearly everything may be null, and what is not named here is kept as it is: Shopify adds fields without a new version.
"""

# ruff: noqa: D101 - the names are Shopify's, and so are their meanings

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from libs.common.shopify.pixel_values import Amount, Id


class Payload(BaseModel):
    """Part of an event."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True)


class Money(Payload):
    amount: Amount | None = None
    currency_code: str | None = None


class Image(Payload):
    src: str | None = None


class Product(Payload):
    id: Id | None = None
    title: str | None = None
    type: str | None = None
    untranslated_title: str | None = None
    url: str | None = None
    vendor: str | None = None


class ProductVariant(Payload):
    id: Id | None = None
    image: Image | None = None
    price: Money | None = None
    product: Product | None = None
    sku: str | None = None
    title: str | None = None
    untranslated_title: str | None = None


class Attribute(Payload):
    key: str | None = None
    value: Any = None


class Cost(Payload):
    total_amount: Money | None = None


class CartLine(Payload):
    cost: Cost | None = None
    merchandise: ProductVariant | None = None
    quantity: int | None = None


class Cart(Payload):
    attributes: list[Attribute] | None = None
    cost: Cost | None = None
    id: Id | None = None
    lines: list[CartLine] | None = None
    total_quantity: int | None = None


class Collection(Payload):
    id: Id | None = None
    title: str | None = None
    product_variants: list[ProductVariant] | None = None


class SearchResult(Payload):
    query: str | None = None
    product_variants: list[ProductVariant] | None = None


class Address(Payload):
    address1: str | None = None
    address2: str | None = None
    city: str | None = None
    country: str | None = None
    country_code: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    province: str | None = None
    province_code: str | None = None
    zip: str | None = None


class DiscountApplication(Payload):
    allocation_method: str | None = None
    target_selection: str | None = None
    target_type: str | None = None
    title: str | None = None
    type: str | None = None
    value: dict[str, Any] | None = None  # money, or {"percentage": 10}


class DiscountAllocation(Payload):
    amount: Money | None = None
    discount_application: DiscountApplication | None = None


class SellingPlan(Payload):
    id: Id | None = None
    name: str | None = None


class SellingPlanAllocation(Payload):
    selling_plan: SellingPlan | None = None


class LineItem(Payload):
    discount_allocations: list[DiscountAllocation] | None = None
    final_line_price: Money | None = None
    id: Id | None = None
    properties: list[Attribute] | None = None
    quantity: int | None = None
    selling_plan_allocation: SellingPlanAllocation | None = None
    title: str | None = None
    variant: ProductVariant | None = None


class Country(Payload):
    iso_code: str | None = None


class Language(Payload):
    iso_code: str | None = None


class Market(Payload):
    handle: str | None = None
    id: Id | None = None


class Localization(Payload):
    country: Country | None = None
    language: Language | None = None
    market: Market | None = None


class DeliveryOption(Payload):
    cost: Money | None = None
    cost_after_discounts: Money | None = None
    description: str | None = None
    handle: str | None = None
    title: str | None = None
    type: str | None = None


class Delivery(Payload):
    selected_delivery_options: list[DeliveryOption] | None = None


class OrderCustomer(Payload):
    id: Id | None = None
    is_first_order: bool | None = None


class Order(Payload):
    customer: OrderCustomer | None = None
    id: Id | None = None


class PaymentMethod(Payload):
    name: str | None = None
    type: str | None = None


class Transaction(Payload):
    amount: Money | None = None
    gateway: str | None = None
    payment_method: PaymentMethod | None = None


class ShippingRate(Payload):
    price: Money | None = None


class Checkout(Payload):
    attributes: list[Attribute] | None = None
    billing_address: Address | None = None
    buyer_accepts_email_marketing: bool | None = None
    buyer_accepts_sms_marketing: bool | None = None
    currency_code: str | None = None
    delivery: Delivery | None = None
    discount_applications: list[DiscountApplication] | None = None
    discounts_amount: Money | None = None
    email: str | None = None
    line_items: list[LineItem] | None = None
    localization: Localization | None = None
    order: Order | None = None
    phone: str | None = None
    shipping_address: Address | None = None
    shipping_line: ShippingRate | None = None
    sms_marketing_phone: str | None = None
    subtotal_price: Money | None = None
    token: str | None = None  # the order's checkout_token: what joins a checkout with its order
    total_price: Money | None = None
    total_tax: Money | None = None
    transactions: list[Transaction] | None = None


class Alert(Payload):
    message: str | None = None
    target: str | None = None
    type: str | None = None
    value: str | None = None


class ExtensionError(Payload):
    api_version: str | None = None
    app_id: Id | None = None
    app_name: str | None = None
    app_version: str | None = None
    extension_name: str | None = None
    extension_target: str | None = None
    message: str | None = None
    placement_reference: str | None = None
    trace: str | None = None
    type: str | None = None


class PageData(Payload):
    """A page carries nothing of its own; its context says it all."""


class CartData(Payload):
    cart: Cart | None = None


class CartLineData(Payload):
    cart_line: CartLine | None = None


class ProductData(Payload):
    product_variant: ProductVariant | None = None


class CollectionData(Payload):
    collection: Collection | None = None


class SearchData(Payload):
    search_result: SearchResult | None = None


class CheckoutData(Payload):
    checkout: Checkout | None = None


class AlertData(Payload):
    alert: Alert | None = None


class ExtensionErrorData(Payload):
    error: ExtensionError | None = None


STANDARD: Mapping[str, type[Payload]] = {
    "page_viewed": PageData,
    "product_viewed": ProductData,
    "collection_viewed": CollectionData,
    "search_submitted": SearchData,
    "cart_viewed": CartData,
    "product_added_to_cart": CartLineData,
    "product_removed_from_cart": CartLineData,
    "checkout_started": CheckoutData,
    "checkout_contact_info_submitted": CheckoutData,
    "checkout_address_info_submitted": CheckoutData,
    "checkout_shipping_info_submitted": CheckoutData,
    "payment_info_submitted": CheckoutData,
    "checkout_completed": CheckoutData,
    "alert_displayed": AlertData,
    "ui_extension_errored": ExtensionErrorData,
}
"""The standard events, and what each carries. Those of the DOM, and custom ones, carry whatever they like."""
