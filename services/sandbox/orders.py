"""Orders in every state their topics tell of, and their refunds."""

from random import Random

from services.sandbox.carts import line_items, total
from services.sandbox.catalog import CANCEL_REASONS, GATEWAYS, LANDING_PAGES, NOTES
from services.sandbox.scene import LARGEST_ID, SMALLEST_ID, Json, Scene, address, amount, gid, person

_TAX_PERCENT = 8
_DELIVERY = 690  # cents


def created(scene: Scene) -> Json:
    return _order(scene, minutes_ago=0)


def updated(scene: Scene) -> Json:
    return _order(scene, minutes_ago=30, note="Checked by hand & ready / packed")


def paid(scene: Scene) -> Json:
    return _order(scene, minutes_ago=5, financial_status="paid", total_outstanding="0.00")


def cancelled(scene: Scene) -> Json:
    reason = scene.other("cancellations").pick(CANCEL_REASONS)
    return _order(
        scene,
        minutes_ago=60,
        financial_status="voided",
        cancelled_at=scene.time(),
        closed_at=scene.time(),
        cancel_reason=reason,
    )


def _order(scene: Scene, *, minutes_ago: float, **changes: object) -> Json:
    """The same order under every topic: what differs comes in `changes`, after everything is drawn."""
    identifier = scene.id()
    buyer = _person_of(scene)
    return {
        "id": identifier,
        "admin_graphql_api_id": gid("Order", identifier),
        **_numbers(scene),
        **_times(scene, minutes_ago),
        **_visit(scene),
        **_sums(scene, items := _lines(scene)),
        "email": buyer["email"],
        "contact_email": buyer["email"],
        "phone": buyer["phone"],
        "customer": _buyer(scene, buyer),
        "billing_address": (home := address(scene, buyer)),
        "shipping_address": home,
        "line_items": items,
        "shipping_lines": [_shipping_line(scene)],
        "financial_status": "pending",
        "fulfillment_status": None,
        "cancelled_at": None,
        "cancel_reason": None,
        "closed_at": None,
        "note": scene.pick(NOTES),
        "note_attributes": [],
        "tags": scene.pick(("", "gift", "wholesale, b2b")),
        "test": True,
        "fulfillments": [],
        "refunds": [],
        **changes,
    }


def _person_of(scene: Scene) -> Json:
    """The customer of the cast, or somebody new."""
    known = scene.cast.customer if scene.cast else None
    names = ("first_name", "last_name", "email", "phone")
    return {name: known[name] for name in names} if known else person(scene)


def _lines(scene: Scene) -> list[Json]:
    """The order's lines: of the cast's products where there are any."""
    lines = line_items(scene.other("order lines"))
    products = scene.cast.products if scene.cast else ()
    for line, product in zip(lines, products, strict=False):
        variant = product["variants"][line["quantity"] % len(product["variants"])]
        cents = int(variant["price"].replace(".", ""))
        line |= {
            "product_id": product["id"],
            "variant_id": variant["id"],
            "title": product["title"],
            "variant_title": variant["title"],
            "name": f"{product['title']} - {variant['title']}",
            "vendor": product["vendor"],
            "sku": variant["sku"],
            "price": variant["price"],
            "price_set": scene.money(cents),
        }
    return lines


def _numbers(scene: Scene) -> Json:
    token, number = scene.token(), 1000 + scene.number
    store = scene.store
    return {
        "app_id": 580111,
        "number": scene.number,
        "order_number": number,
        "name": f"#{number}",
        "confirmation_number": token[:9].upper(),
        "confirmed": True,
        "token": token,
        "cart_token": scene.token(),
        "checkout_token": scene.token(),
        "order_status_url": f"https://{store.domain}/{store.id}/orders/{token}/authenticate?key={token[::-1]}&none=1",
    }


def _times(scene: Scene, minutes_ago: float) -> Json:
    return {
        "created_at": scene.time(minutes_ago),
        "processed_at": scene.time(minutes_ago),
        "updated_at": scene.time(),
    }


def _visit(scene: Scene) -> Json:
    return {
        "browser_ip": f"203.0.113.{scene.draw.randrange(1, 255)}",
        "buyer_accepts_marketing": scene.maybe(),
        "customer_locale": "en",
        "landing_site": scene.pick(LANDING_PAGES),
        "referring_site": "https://search.example.com/?q=linen&tbm=shop",
        "source_name": "web",
        "payment_gateway_names": [scene.pick(GATEWAYS)],
        "discount_codes": [],
        "discount_applications": [],
    }


def _sums(scene: Scene, items: list[Json]) -> Json:
    """Every total in both of Shopify's spellings; they add up: subtotal + tax + delivery = total."""
    subtotal = total(items)
    tax = subtotal * _TAX_PERCENT // 100
    sums = {
        "total_line_items_price": subtotal,
        "subtotal_price": subtotal,
        "total_discounts": 0,
        "total_tax": tax,
        "total_price": subtotal + tax + _DELIVERY,
    }
    return {
        "currency": scene.store.currency,
        "presentment_currency": scene.store.currency,
        "taxes_included": False,
        "total_weight": sum(item["grams"] * item["quantity"] for item in items),
        "total_outstanding": amount(sums["total_price"]),
        "tax_lines": [{"title": "Sales tax", "rate": _TAX_PERCENT / 100, "price": amount(tax)}],
        **{name: amount(cents) for name, cents in sums.items()},
        **{f"{name}_set": scene.money(cents) for name, cents in sums.items()},
        "current_total_price": amount(sums["total_price"]),
        "current_total_price_set": scene.money(sums["total_price"]),
        "total_shipping_price_set": scene.money(_DELIVERY),
    }


def _buyer(scene: Scene, buyer: Json) -> Json:
    known = scene.cast.customer if scene.cast else None
    identifier = known["id"] if known else scene.id()
    return {
        "id": identifier,
        "admin_graphql_api_id": gid("Customer", identifier),
        **buyer,
        "state": "disabled",
        "verified_email": True,
        "currency": scene.store.currency,
        "created_at": scene.time(10_000),
        "updated_at": scene.time(),
    }


def _shipping_line(scene: Scene) -> Json:
    return {
        "id": scene.id(),
        "title": "Standard / 3 to 5 days",
        "code": "standard",
        "source": "shopify",
        "price": amount(_DELIVERY),
        "price_set": scene.money(_DELIVERY),
        "discount_allocations": [],
        "tax_lines": [],
    }


def refund(scene: Scene) -> Json:
    """A refund of the whole first line of the order with the same number."""
    order = created(scene.other("orders"))
    identifier = scene.id()
    return {
        "id": identifier,
        "admin_graphql_api_id": gid("Refund", identifier),
        "order_id": order["id"],
        "created_at": scene.time(),
        "processed_at": scene.time(),
        "note": "Arrived broken & wet",
        "restock": True,
        "user_id": None,
        "duties": [],
        "order_adjustments": [],
        "refund_line_items": [_refunded_line(scene, order["line_items"][0])],
        "transactions": [_transaction(scene, order)],
    }


def _refunded_line(scene: Scene, item: Json) -> Json:
    cents = total([item])
    return {
        "id": scene.id(),
        "line_item_id": item["id"],
        "line_item": {name: value for name, value in item.items() if name != "current_quantity"},
        "quantity": item["quantity"],
        "restock_type": "return",
        "location_id": scene.store.id + 1,
        "subtotal": amount(cents),
        "subtotal_set": scene.money(cents),
        "total_tax": "0.00",
        "total_tax_set": scene.money(0),
    }


def _transaction(scene: Scene, order: Json) -> Json:
    identifier = scene.id()
    return {
        "id": identifier,
        "admin_graphql_api_id": gid("OrderTransaction", identifier),
        "order_id": order["id"],
        "parent_id": scene.id(),
        "kind": "refund",
        "status": "success",
        "gateway": order["payment_gateway_names"][0],
        "amount": amount(total(order["line_items"][:1])),
        "currency": scene.store.currency,
        "test": True,
        "error_code": None,
        "message": "Refunded",
        "created_at": scene.time(),
        "processed_at": scene.time(),
    }


_PAYMENTS = {"paid": ("sale",), "voided": ("authorization", "void"), "pending": ("authorization",)}


def transactions(shop: str, order: Json) -> list[Json]:
    """How an order was paid so far: its status says which transactions there are. A later one names its parent."""
    draw, made = Random(f"{shop}:transactions:{order['id']}"), list[Json]()
    for kind in _PAYMENTS.get(order["financial_status"], ()):
        identifier = draw.randrange(SMALLEST_ID, LARGEST_ID)
        parent = made[-1] if made else None
        made.append(_payment(order, kind, identifier, parent))
    return made


def _payment(order: Json, kind: str, identifier: int, parent: Json | None) -> Json:
    moment = order["cancelled_at"] if kind == "void" else order["created_at"]
    return {
        "id": identifier,
        "admin_graphql_api_id": gid("OrderTransaction", identifier),
        "order_id": order["id"],
        "parent_id": parent and parent["id"],
        "parent": parent,
        "kind": kind,
        "status": "success",
        "gateway": order["payment_gateway_names"][0],
        "amount": order["total_price"],
        "currency": order["currency"],
        "test": True,
        "error_code": None,
        "created_at": moment,
        "processed_at": moment,
    }
