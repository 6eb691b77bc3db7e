"""What lies in a basket: line items, carts and checkouts."""

from services.sandbox.catalog import COLOURS, PRODUCTS, SIZES
from services.sandbox.scene import Json, Scene, address, amount, gid, person


def line_items(scene: Scene) -> list[Json]:
    """One to three lines, as an order carries them."""
    return [_line_item(scene) for _ in range(scene.draw.randrange(1, 4))]


def total(items: list[Json]) -> int:
    """What the lines cost together, in cents."""
    return sum(int(item["price"].replace(".", "")) * item["quantity"] for item in items)


def _line_item(scene: Scene) -> Json:
    identifier = scene.id()
    title, vendor, _, price = scene.pick(PRODUCTS)
    variant = f"{scene.pick(SIZES)} / {scene.pick(COLOURS)}"
    quantity = scene.draw.randrange(1, 4)
    return {
        "id": identifier,
        "admin_graphql_api_id": gid("LineItem", identifier),
        "product_id": scene.id(),
        "variant_id": scene.id(),
        "title": title,
        "variant_title": variant,
        "name": f"{title} - {variant}",
        "vendor": vendor,
        "sku": f"SB-{identifier % 100_000:05d}",
        "quantity": quantity,
        "current_quantity": quantity,
        "fulfillable_quantity": quantity,
        "fulfillment_service": "manual",
        "fulfillment_status": None,
        "price": amount(price),
        "price_set": scene.money(price),
        "total_discount": "0.00",
        "grams": scene.draw.randrange(50, 2_000),
        "gift_card": False,
        "requires_shipping": True,
        "taxable": True,
        "product_exists": True,
        "variant_inventory_management": "shopify",
        "properties": [],
        "discount_allocations": [],
        "duties": [],
        "tax_lines": [],
    }


def cart(scene: Scene) -> Json:
    """A cart as `carts/create` and `carts/update` carry it: named by its token, without numeric id."""
    token = scene.token()
    return {
        "id": token,
        "token": token,
        "line_items": [_cart_line(scene, item) for item in line_items(scene)],
        "note": None,
        "created_at": scene.time(12),
        "updated_at": scene.time(),
    }


def _cart_line(scene: Scene, item: Json) -> Json:
    cents = total([{**item, "quantity": 1}])
    price, line_price = scene.money(cents), scene.money(total([item]))
    return {
        "id": item["variant_id"],
        "variant_id": item["variant_id"],
        "product_id": item["product_id"],
        "key": f"{item['variant_id']}:{scene.token()}",
        "title": item["name"],
        "vendor": item["vendor"],
        "sku": item["sku"],
        "quantity": item["quantity"],
        "grams": item["grams"],
        "gift_card": False,
        "taxable": True,
        "properties": None,
        "discounts": [],
        "price": item["price"],
        "price_set": price,
        "original_price": item["price"],
        "discounted_price": item["price"],
        "discounted_price_set": price,
        "line_price": amount(total([item])),
        "line_price_set": line_price,
        "original_line_price": amount(total([item])),
        "total_discount": "0.00",
        "total_discount_set": scene.money(0),
    }


_SHARED_WITH_ORDERS = (
    *("product_id", "variant_id", "title", "variant_title", "vendor", "sku", "quantity", "grams", "price"),
    *(
        "gift_card",
        "requires_shipping",
        "taxable",
        "fulfillment_service",
        "discount_allocations",
        "tax_lines",
    ),
)


def _checkout_line(scene: Scene, item: Json) -> Json:
    return {
        "key": scene.token(),
        **{name: item[name] for name in _SHARED_WITH_ORDERS},
        "presentment_title": item["title"],
        "presentment_variant_title": item["variant_title"],
        "variant_price": item["price"],
        "line_price": amount(total([item])),
        "compare_at_price": None,
        "applied_discounts": [],
        "properties": None,
        "user_id": None,
        "rank": None,
    }


def checkout(scene: Scene) -> Json:
    """A checkout by its token: since API version 2026-04 it has no `id`."""
    token, buyer, items = scene.token(), person(scene), line_items(scene)
    cents, domain = total(items), scene.store.domain
    return {
        "token": token,
        "cart_token": scene.token(),
        "name": f"#{token[:12]}",
        "email": buyer["email"],
        "phone": buyer["phone"],
        "buyer_accepts_marketing": False,
        "abandoned_checkout_url": f"https://{domain}/{scene.store.id}/checkouts/ac/{token}/recover?key={token}&locale=en",
        "currency": scene.store.currency,
        "presentment_currency": scene.store.currency,
        "customer_locale": "en",
        "gateway": None,
        "landing_site": "/",
        "source_name": "web",
        "line_items": [_checkout_line(scene, item) for item in items],
        "shipping_address": (home := address(scene, buyer)),
        "billing_address": home,
        "shipping_lines": [],
        "discount_codes": [],
        "note_attributes": [],
        "tax_lines": [],
        "taxes_included": False,
        "total_discounts": "0.00",
        "total_line_items_price": amount(cents),
        "subtotal_price": amount(cents),
        "total_tax": "0.00",
        "total_price": amount(cents),
        "total_weight": sum(item["grams"] * item["quantity"] for item in items),
        "completed_at": None,
        "closed_at": None,
        "created_at": scene.time(3),
        "updated_at": scene.time(),
    }
