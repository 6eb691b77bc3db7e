"""A resource of the Admin API in the shape of its webhooks (docs/reconciliation.md names the fields)."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import orjson

Json = Mapping[str, Any]

_BAG = "{ shopMoney { amount currencyCode } presentmentMoney { amount currencyCode } }"
_NAMED = "id createdAt updatedAt tags"
_ADDRESS = """id firstName lastName name company address1 address2 city zip phone province provinceCode
country countryCodeV2"""


def fields(family: str, scopes: frozenset[str]) -> str:
    """What is asked of one resource, with its first $parts."""
    return f"{_FIELDS[family](scopes)} {parts(family, scopes)}"


def parts(family: str, scopes: frozenset[str]) -> str:
    """A page of the list that belongs to it: with 250 $parts below the 1,000 points of a query."""
    page = "pageInfo { hasNextPage endCursor }"
    return f"{PARTS[family]}(first: $parts, after: $after) {{ nodes {{ {_PART_FIELDS[family](scopes)} }} {page} }}"


def _fields_of_order(scopes: frozenset[str]) -> str:
    buyer = "customer { id }" if "read_customers" in scopes else ""
    return f"""{_NAMED} name note test processedAt cancelledAt cancelReason closedAt currencyCode
displayFinancialStatus displayFulfillmentStatus {buyer} totalPriceSet {_BAG} currentTotalPriceSet {_BAG}
subtotalPriceSet {_BAG} totalTaxSet {_BAG} totalDiscountsSet {_BAG}"""


def _fields_of_line(scopes: frozenset[str]) -> str:
    goods = "product { id } variant { id }" if "read_products" in scopes else ""
    return f"id title name sku quantity currentQuantity originalUnitPriceSet {_BAG} {goods}"


def _fields_of_product(_: frozenset[str]) -> str:
    return f"{_NAMED} title handle status vendor productType descriptionHtml publishedAt"


def _fields_of_variant(_: frozenset[str]) -> str:
    return """id title sku barcode position price compareAtPrice inventoryQuantity
inventoryItem { id } createdAt updatedAt"""


def _fields_of_customer(_: frozenset[str]) -> str:
    return f"""{_NAMED} firstName lastName note state verifiedEmail numberOfOrders
amountSpent {{ amount currencyCode }} defaultEmailAddress {{ emailAddress }} defaultPhoneNumber {{ phoneNumber }}
defaultAddress {{ {_ADDRESS} }}"""


_FIELDS: Mapping[str, Callable[[frozenset[str]], str]] = {
    "orders": _fields_of_order,
    "products": _fields_of_product,
    "customers": _fields_of_customer,
}
PARTS = {"orders": "lineItems", "products": "variants", "customers": "addressesV2"}
_PART_FIELDS: Mapping[str, Callable[[frozenset[str]], str]] = {
    "orders": _fields_of_line,
    "products": _fields_of_variant,
    "customers": lambda _: _ADDRESS,
}
_CENTS = 2
_FULFILLMENT = {"FULFILLED": "fulfilled", "PARTIALLY_FULFILLED": "partial", "RESTOCKED": "restocked"}


def payload(family: str, node: Json) -> bytes:
    """The body of the message that is fed."""
    return orjson.dumps({**_root(node), **_MAKERS[family](node)})


def number_of(gid: str) -> int:
    """The number in `gid://shopify/Order/1?x=y`."""
    return int(gid.partition("?")[0].rpartition("/")[2])


def _root(node: Json) -> Json:
    return {
        **_ids(node),
        "created_at": node["createdAt"],
        "updated_at": node["updatedAt"],
        "tags": ", ".join(node["tags"]),
    }


def _ids(node: Json) -> Json:
    return {"id": number_of(node["id"]), "admin_graphql_api_id": node["id"]}


def _order(node: Json) -> Json:
    return {
        "name": node["name"],
        "note": node["note"],
        "test": node["test"],
        "processed_at": node["processedAt"],
        "cancelled_at": node["cancelledAt"],
        "cancel_reason": _small(node["cancelReason"]),
        "closed_at": node["closedAt"],
        "currency": node["currencyCode"],
        "presentment_currency": node["totalPriceSet"]["presentmentMoney"]["currencyCode"],
        "financial_status": _small(node["displayFinancialStatus"]),
        "fulfillment_status": _FULFILLMENT.get(node["displayFulfillmentStatus"]),
        **_sums(node),
        **_buyer(node),
        "line_items": [_line(line) for line in node["lineItems"]["nodes"]],
    }


def _buyer(node: Json) -> Json:
    """Not named at all where the app may not see customers: that is not the same as nobody."""
    if "customer" not in node:
        return {}
    return {"customer": _ids(node["customer"]) if node["customer"] else None}


def _sums(node: Json) -> Json:
    names = {
        "total_price": "totalPriceSet",
        "current_total_price": "currentTotalPriceSet",
        "subtotal_price": "subtotalPriceSet",
        "total_tax": "totalTaxSet",
        "total_discounts": "totalDiscountsSet",
    }
    told = {ours: node[theirs] for ours, theirs in names.items() if node[theirs] is not None}
    plain = {name: _amount(bag["shopMoney"]["amount"]) for name, bag in told.items()}
    return {**plain, **{f"{name}_set": _bag(bag) for name, bag in told.items()}}


def _line(line: Json) -> Json:
    price = line["originalUnitPriceSet"]
    return {
        **_ids(line),
        "title": line["title"],
        "name": line["name"],
        "sku": line["sku"],
        "quantity": line["quantity"],
        "current_quantity": line["currentQuantity"],
        "price": _amount(price["shopMoney"]["amount"]),
        "price_set": _bag(price),
        **{f"{name}_id": _number(line[name]) for name in ("product", "variant") if name in line},
    }


def _product(node: Json) -> Json:
    number = number_of(node["id"])
    return {
        "title": node["title"],
        "handle": node["handle"],
        "status": _small(node["status"]),
        "vendor": node["vendor"],
        "product_type": node["productType"],
        "body_html": node["descriptionHtml"],
        "published_at": node["publishedAt"],
        "variants": [_variant(variant, number) for variant in node["variants"]["nodes"]],
    }


def _variant(variant: Json, product: int) -> Json:
    return {
        **_ids(variant),
        "product_id": product,
        "title": variant["title"],
        "sku": variant["sku"],
        "barcode": variant["barcode"],
        "position": variant["position"],
        "price": _amount(variant["price"]),
        "compare_at_price": _amount(variant["compareAtPrice"]),
        "inventory_quantity": variant["inventoryQuantity"],
        "inventory_item_id": _number(variant["inventoryItem"]),
        "created_at": variant["createdAt"],
        "updated_at": variant["updatedAt"],
    }


def _customer(node: Json) -> Json:
    email, phone, home = (
        node[name] for name in ("defaultEmailAddress", "defaultPhoneNumber", "defaultAddress")
    )
    return {
        "first_name": node["firstName"],
        "last_name": node["lastName"],
        "email": email and email["emailAddress"],
        "phone": phone and phone["phoneNumber"],
        "note": node["note"],
        "state": _small(node["state"]),
        "verified_email": node["verifiedEmail"],
        "orders_count": int(node["numberOfOrders"]),
        "total_spent": _amount(node["amountSpent"]["amount"]),
        "currency": node["amountSpent"]["currencyCode"],
        "default_address": home and _address(home),
        "addresses": [_address(one) for one in node["addressesV2"]["nodes"]],
    }


def _address(node: Json) -> Json:
    return {
        "id": number_of(node["id"]),
        "first_name": node["firstName"],
        "last_name": node["lastName"],
        "name": node["name"],
        "company": node["company"],
        "address1": node["address1"],
        "address2": node["address2"],
        "city": node["city"],
        "zip": node["zip"],
        "phone": node["phone"],
        "province": node["province"],
        "province_code": node["provinceCode"],
        "country": node["country"],
        "country_code": node["countryCodeV2"],
    }


_MAKERS: Mapping[str, Callable[[Json], Json]] = {
    "orders": _order,
    "products": _product,
    "customers": _customer,
}


def _small(word: str | None) -> str | None:
    return word and word.lower()


def _number(node: Json | None) -> int | None:
    return number_of(node["id"]) if node else None


def _bag(bag: Json) -> Json:
    return {
        "shop_money": _money(bag["shopMoney"]),
        "presentment_money": _money(bag["presentmentMoney"]),
    }


def _money(money: Json) -> Json:
    return {"amount": _amount(money["amount"]), "currency_code": money["currencyCode"]}


def _amount(text: str | None) -> str | None:
    """`12.5` of the Admin API is `12.50` in a webhook."""
    if text is None:
        return None
    amount = Decimal(text)
    exponent = amount.as_tuple().exponent
    few = isinstance(exponent, int) and exponent > -_CENTS
    return f"{amount:.2f}" if few else f"{amount:f}"
