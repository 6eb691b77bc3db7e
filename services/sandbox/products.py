"""Products with their variants and images, and what is in stock."""

from services.sandbox.catalog import COLOURS, PRODUCTS, SIZES
from services.sandbox.scene import Json, Scene, amount, gid, handle_of


def product(scene: Scene) -> Json:
    """A product as `products/create` and `products/update` carry it."""
    identifier = scene.id()
    title, vendor, kind, price = scene.pick(PRODUCTS)
    created = scene.time(scene.draw.randrange(10, 500_000))
    colour = scene.pick(COLOURS)
    variants = [_variant(scene, identifier, place, colour, price) for place in range(1, len(SIZES) + 1)]
    image = _image(scene, identifier, title)
    return {
        "id": identifier,
        "admin_graphql_api_id": gid("Product", identifier),
        "title": title,
        "body_html": f"<p>{title} by <strong>{vendor}</strong> &mdash; made to last.</p>",
        "vendor": vendor,
        "product_type": kind,
        "handle": f"{handle_of(title)}-{scene.number}",
        "status": scene.pick(("active", "active", "draft")),
        "created_at": created,
        "published_at": created,
        "updated_at": scene.time(),
        "published_scope": "global",
        "template_suffix": None,
        "tags": f"{kind.lower()}, sandbox",
        "options": _options(scene, identifier, colour),
        "variants": variants,
        "images": [image],
        "image": image,
        "media": [],
        "variant_gids": [
            {"admin_graphql_api_id": variant["admin_graphql_api_id"], "updated_at": variant["updated_at"]}
            for variant in variants
        ],
        "has_variants_that_requires_components": False,
        "category": None,
    }


def _options(scene: Scene, identifier: int, colour: str) -> list[Json]:
    named = (("Size", list(SIZES)), ("Colour", [colour]))
    return [
        {"id": scene.id(), "product_id": identifier, "name": name, "position": position, "values": values}
        for position, (name, values) in enumerate(named, start=1)
    ]


def _variant(scene: Scene, product_id: int, position: int, colour: str, price: int) -> Json:
    identifier, size, stock = scene.id(), SIZES[position - 1], scene.draw.randrange(0, 400)
    return {
        "id": identifier,
        "admin_graphql_api_id": gid("ProductVariant", identifier),
        "product_id": product_id,
        "title": f"{size} / {colour}",
        "price": amount(price + 100 * position),
        "compare_at_price": None,
        "sku": f"SB-{product_id % 100_000:05d}-{size}",
        "barcode": f"{scene.draw.randrange(10**12, 10**13)}",
        "position": position,
        "inventory_policy": "deny",
        "inventory_item_id": scene.id(),
        "inventory_quantity": stock,
        "old_inventory_quantity": stock,
        "option1": size,
        "option2": colour,
        "option3": None,
        "taxable": True,
        "image_id": None,
        "created_at": scene.time(20),
        "updated_at": scene.time(),
    }


def _image(scene: Scene, product_id: int, title: str) -> Json:
    identifier = scene.id()
    return {
        "id": identifier,
        "admin_graphql_api_id": gid("MediaImage", identifier),
        "product_id": product_id,
        "position": 1,
        "alt": title,
        "width": 1600,
        "height": 1200,
        "src": f"https://cdn.example.com/s/files/1/{scene.store.id}/products/{handle_of(title)}.jpg?v=1&width=1600",
        "variant_ids": [],
        "created_at": scene.time(20),
        "updated_at": scene.time(20),
    }


def inventory_level(scene: Scene) -> Json:
    item, location = scene.id(), scene.draw.randrange(10**10, 10**11)
    return {
        "inventory_item_id": item,
        "location_id": location,
        "available": scene.draw.randrange(0, 400),
        "updated_at": scene.time(),
        "admin_graphql_api_id": f"{gid('InventoryLevel', location)}?inventory_item_id={item}",
    }
