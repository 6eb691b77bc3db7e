"""Made-up pixel events of usual kinds and sizes: what a shopper's visit sends."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any

import orjson

SHOP = "bench.myshopify.com"
MARK = "@ID@"  # where an event's id goes

_VISIT = (
    "page_viewed", "product_viewed", "page_viewed", "collection_viewed", "page_viewed", "product_viewed",
    "product_added_to_cart", "page_viewed", "cart_viewed", "checkout_started",
)  # fmt: skip


def batch(events: int, *, diverse: bool = False) -> bytes:
    """An array of so many events of a visit, with `MARK` for each id; `diverse` ones have it in all that is remembered.

    Each of those is of another visitor, on another page, with another browser: nothing that is kept by one of these
    is found again.
    """
    visit = [_event(name, seq) for seq, name in enumerate(islice(cycle(_VISIT), events))]
    if diverse:
        for event in visit:
            event["clientId"] = MARK
            event["context"]["navigator"]["userAgent"] += f" ({MARK})"
            event["context"]["document"]["location"]["href"] += f"&visit={MARK}"
    return orjson.dumps(visit)


def contents() -> Iterator[tuple[str, bytes]]:
    """For ever: an event's name, and what of it is stored beside its columns."""
    kept = [
        (name, orjson.dumps({part: event[part] for part in ("context", "data")}))
        for seq, name in enumerate(_VISIT)
        for event in [_event(name, seq)]
    ]
    return cycle(kept)


def _event(name: str, seq: int) -> dict[str, Any]:
    return {
        "id": MARK,
        "clientId": "ece6cea2-0914-4dcd-8345-8d64ce97b76b",
        "name": name,
        "type": "standard",
        "seq": seq,
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "context": _context(name),
        "data": _data(name),
    }


def _context(name: str) -> dict[str, Any]:
    path = f"/products/blue-mug-of-the-north?variant=43751530397931&page={name}"
    location = {
        "href": f"https://{SHOP}{path}", "hash": "", "host": SHOP, "hostname": SHOP, "origin": f"https://{SHOP}",
        "pathname": path.partition("?")[0], "port": "", "protocol": "https:", "search": f"?{path.partition('?')[2]}",
    }  # fmt: skip
    return {
        "document": {
            "location": location, "referrer": f"https://{SHOP}/collections/mugs", "characterSet": "UTF-8",
            "title": "Blue mug of the north - Bench",
        },
        "navigator": {
            "language": "en-US", "languages": ["en-US", "en"], "cookieEnabled": True,
            "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/141.0",
        },
        "window": {
            "innerHeight": 553, "innerWidth": 1792, "outerHeight": 1120, "outerWidth": 1792, "pageXOffset": 0,
            "pageYOffset": 0, "location": location, "origin": f"https://{SHOP}", "screenX": 0, "screenY": 0,
            "scrollX": 0, "scrollY": 0, "screen": {"height": 1120, "width": 1792},
        },
    }  # fmt: skip


def _data(name: str) -> dict[str, Any]:
    line = {"cost": {"totalAmount": _money(85.98)}, "merchandise": _variant(1), "quantity": 2}
    match name:
        case "product_viewed":
            return {"productVariant": _variant(1)}
        case "collection_viewed":
            variants = [_variant(number) for number in range(8)]
            return {"collection": {"id": "5", "title": "Mugs", "productVariants": variants}}
        case "product_added_to_cart":
            return {"cartLine": line}
        case "cart_viewed":
            cost = {"totalAmount": _money(171.96)}
            return {"cart": {"id": "c1", "cost": cost, "lines": [line, line], "totalQuantity": 4}}
        case "checkout_started":
            return {"checkout": _checkout()}
    return {}


def _money(amount: float) -> dict[str, Any]:
    return {"amount": amount, "currencyCode": "EUR"}


def _variant(number: int) -> dict[str, Any]:
    return {
        "id": f"4375153039793{number}", "sku": f"MUG-{number}", "title": "Blue", "untranslatedTitle": "Blue",
        "price": _money(42.99), "image": {"src": f"//cdn.shopify.com/s/files/1/mug-{number}.jpg?v=1675930747"},
        "product": {
            "id": f"799298374884{number}", "title": "Mug of the north", "untranslatedTitle": "Mug of the north",
            "type": "Mug", "vendor": "Bench", "url": "/products/blue-mug-of-the-north?variant=43751530397931",
        },
    }  # fmt: skip


def _checkout() -> dict[str, Any]:
    items = [
        {
            "id": f"4375153039793{number}", "title": "Mug of the north", "quantity": 1, "variant": _variant(number),
            "discountAllocations": [], "finalLinePrice": _money(42.99), "properties": [],
        }
        for number in range(3)
    ]  # fmt: skip
    return {
        "token": "864ef6919a4214321240c177707a01f7", "currencyCode": "EUR", "email": None, "phone": None,
        "lineItems": items, "subtotalPrice": _money(128.97), "totalPrice": _money(133.97), "totalTax": _money(20.4),
        "order": None, "attributes": [], "discountApplications": [], "shippingLine": {"price": _money(5)},
        "localization": {"country": {"isoCode": "DE"}, "language": {"isoCode": "de"}}, "transactions": [],
    }  # fmt: skip
