"""Customers, and the three compliance topics about them and their shop."""

from services.sandbox.scene import Json, Scene, address, amount, gid, person


def customer(scene: Scene) -> Json:
    """A customer as `customers/create` and `customers/update` carry it."""
    identifier, who = scene.id(), person(scene)
    orders = scene.draw.randrange(6)
    home = {"id": scene.id(), "customer_id": identifier, **address(scene, who), "default": True}
    del home["latitude"], home["longitude"]  # which only an order's addresses have
    return {
        "id": identifier,
        "admin_graphql_api_id": gid("Customer", identifier),
        **who,
        "created_at": scene.time(scene.draw.randrange(10, 500_000)),
        "updated_at": scene.time(),
        "orders_count": orders,
        "total_spent": amount(orders * scene.draw.randrange(1_000, 20_000)),
        "currency": scene.store.currency,
        "state": scene.pick(("disabled", "invited", "enabled")),
        "note": None,
        "verified_email": True,
        "multipass_identifier": None,
        "tax_exempt": False,
        "tax_exemptions": [],
        "tags": scene.pick(("", "newsletter", "vip, newsletter")),
        "last_order_id": scene.id() if orders else None,
        "last_order_name": f"#{1000 + scene.number}" if orders else None,
        "email_marketing_consent": _consent(scene),
        "sms_marketing_consent": None,
        "addresses": [home],
        "default_address": home,
    }


def _consent(scene: Scene) -> Json:
    return {
        "state": scene.pick(("subscribed", "not_subscribed")),
        "opt_in_level": "single_opt_in",
        "consent_updated_at": scene.time(scene.draw.randrange(10, 5_000)),
    }


def data_request(scene: Scene) -> Json:
    return {
        **_concerned(scene),
        "orders_requested": [scene.id() for _ in range(scene.draw.randrange(1, 4))],
        "data_request": {"id": scene.id()},
    }


def redaction(scene: Scene) -> Json:
    return {**_concerned(scene), "orders_to_redact": [scene.id() for _ in range(scene.draw.randrange(1, 4))]}


def shop_redaction(scene: Scene) -> Json:
    return {"shop_id": scene.store.id, "shop_domain": scene.store.domain}


def _concerned(scene: Scene) -> Json:
    whole = customer(scene)
    return {**shop_redaction(scene), "customer": {key: whole[key] for key in ("id", "email", "phone")}}
