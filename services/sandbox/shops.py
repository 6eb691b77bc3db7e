"""The shop of `shop/update` and `app/uninstalled`, the scopes an app was granted, and anything else."""

from services.sandbox.catalog import FIRST_NAMES, LAST_NAMES, STREETS
from services.sandbox.scene import Json, Scene, gid, store_of


def shop(scene: Scene) -> Json:
    store = scene.store
    city, province, province_code, postcode, country, country_code, latitude, longitude = store.place
    owner = f"{FIRST_NAMES[store.id % len(FIRST_NAMES)]} {LAST_NAMES[store.id % len(LAST_NAMES)]}"
    created = scene.time(525_600)
    return {
        "id": store.id,
        "name": store.name,
        "shop_owner": owner,
        "email": f"owner@{store.domain.partition('.')[0]}.example.com",
        "customer_email": f"hello@{store.domain.partition('.')[0]}.example.com",
        "domain": store.domain,
        "myshopify_domain": store.domain,
        "address1": f"{store.id % 200 + 1} {STREETS[store.id % len(STREETS)]}",
        "address2": None,
        "city": city,
        "zip": postcode,
        "province": province,
        "province_code": province_code,
        "country": country_code,
        "country_code": country_code,
        "country_name": country,
        "latitude": latitude,
        "longitude": longitude,
        "phone": None,
        "source": None,
        "created_at": created,
        "updated_at": scene.time(),
        **_trading(scene),
    }


def _trading(scene: Scene) -> Json:
    store = scene.store
    return {
        "currency": store.currency,
        "enabled_presentment_currencies": [store.currency],
        "money_format": "{{amount}}",
        "money_with_currency_format": f"{{{{amount}}}} {store.currency}",
        "timezone": store.zone_label,
        "iana_timezone": store.zone_name,
        "primary_locale": "en",
        "primary_location_id": store.id + 1,
        "weight_unit": "kg",
        "plan_name": "partner_test",
        "plan_display_name": "Development",
        "taxes_included": store.currency in {"GBP", "EUR", "AUD"},
        "tax_shipping": None,
        "county_taxes": True,
        "has_discounts": True,
        "has_gift_cards": False,
        "has_storefront": True,
        "password_enabled": True,
        "setup_required": False,
        "multi_location_enabled": True,
        "checkout_api_supported": True,
        "finances": True,
        "eligible_for_payments": True,
        "requires_extra_payments_agreement": False,
        "pre_launch_enabled": False,
    }


def scopes(scene: Scene) -> Json:
    return {
        "id": store_of(scene.store.domain).id,
        "previous": ["read_products"],
        "current": ["read_products", "read_orders"],
        "updated_at": scene.time(),
    }


def anything(scene: Scene, resource: str) -> Json:
    """A resource nobody described to the sandbox: what nearly all of Shopify's have in common."""
    identifier = scene.id()
    return {
        "id": identifier,
        "admin_graphql_api_id": gid(resource, identifier),
        "title": f"{resource} {scene.number}",
        "created_at": scene.time(scene.draw.randrange(1, 5_000)),
        "updated_at": scene.time(),
    }


def deleted(scene: Scene) -> Json:
    """All that is left of a deleted resource: its id, drawn first as it was when the resource was made."""
    return {"id": scene.id()}
