"""Products and their variants as GraphQL shows them."""

import re
from collections.abc import Callable

from services.sandbox.admin_api.paging import Listed
from services.sandbox.admin_api.people import tags
from services.sandbox.admin_api.values import time
from services.sandbox.scene import Json, gid
from services.sandbox.store import Row

_TAG = re.compile(r"<[^>]*>|&[a-z]+;")


def product(row: Row, facts: Json) -> Json:
    def again(_: object) -> Json:
        return product(row, facts)

    return {
        "id": facts["admin_graphql_api_id"],
        "legacyResourceId": str(row.id),
        "title": facts["title"],
        "handle": facts["handle"],
        "status": facts["status"].upper(),
        "vendor": facts["vendor"],
        "productType": facts["product_type"],
        "tags": tags(facts["tags"]),
        "description": _TAG.sub("", facts["body_html"]),
        "descriptionHtml": facts["body_html"],
        "totalInventory": sum(one["inventory_quantity"] for one in facts["variants"]),
        "tracksInventory": True,
        "templateSuffix": facts["template_suffix"],
        "createdAt": time(row.created_at),
        "updatedAt": time(row.updated_at),
        "publishedAt": time(facts["published_at"]),
        "variants": Listed(facts["variants"], lambda one: variant(one, facts["title"], again)),
        "variantsCount": {"count": len(facts["variants"]), "precision": "EXACT"},
    }


def variant(facts: Json, title: str, of: Callable[[object], Json]) -> Json:
    item = facts["inventory_item_id"]
    return {
        "id": facts["admin_graphql_api_id"],
        "legacyResourceId": str(facts["id"]),
        "title": facts["title"],
        "displayName": f"{title} - {facts['title']}",
        "sku": facts["sku"],
        "barcode": facts["barcode"],
        "position": facts["position"],
        "price": facts["price"],
        "compareAtPrice": facts["compare_at_price"],
        "inventoryQuantity": facts["inventory_quantity"],
        "inventoryItem": {
            "id": gid("InventoryItem", item),
            "legacyResourceId": str(item),
            "sku": facts["sku"],
            "tracked": True,
        },
        "taxable": facts["taxable"],
        "createdAt": time(facts["created_at"]),
        "updatedAt": time(facts["updated_at"]),
        "product": of,
    }
