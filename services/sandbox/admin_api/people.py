"""Customers and addresses as GraphQL shows them."""

from services.sandbox.admin_api.paging import Listed
from services.sandbox.admin_api.values import money, time
from services.sandbox.scene import Json
from services.sandbox.store import Row


def customer(row: Row, facts: Json) -> Json:
    home = facts["default_address"]
    return {
        "id": facts["admin_graphql_api_id"],
        "legacyResourceId": str(row.id),
        "displayName": f"{facts['first_name']} {facts['last_name']}",
        "firstName": facts["first_name"],
        "lastName": facts["last_name"],
        "email": facts["email"],
        "phone": facts["phone"],
        "note": facts["note"],
        "locale": "en",
        "tags": tags(facts["tags"]),
        "state": facts["state"].upper(),
        "verifiedEmail": facts["verified_email"],
        "taxExempt": facts["tax_exempt"],
        "canDelete": facts["orders_count"] == 0,
        "numberOfOrders": str(facts["orders_count"]),
        "amountSpent": money(facts["total_spent"], facts["currency"]),
        "defaultEmailAddress": {
            "emailAddress": facts["email"],
            "marketingState": facts["email_marketing_consent"]["state"].upper(),
        },
        "defaultPhoneNumber": _phone(facts["phone"]),
        "defaultAddress": address(home, home["id"]),
        "addressesV2": Listed(facts["addresses"], lambda one: address(one, one["id"])),
        "createdAt": time(row.created_at),
        "updatedAt": time(row.updated_at),
    }


def address(facts: Json, identifier: int) -> Json:
    """A postal address; those of orders have no id of their own and go by the order's."""
    area = [facts["city"], facts["province_code"], facts["country"]]
    return {
        "id": f"gid://shopify/MailingAddress/{identifier}?model_name=CustomerAddress",
        "firstName": facts["first_name"],
        "lastName": facts["last_name"],
        "name": facts["name"],
        "company": facts["company"],
        "address1": facts["address1"],
        "address2": facts["address2"],
        "city": facts["city"],
        "zip": facts["zip"],
        "phone": facts["phone"],
        "province": facts["province"],
        "provinceCode": facts["province_code"],
        "country": facts["country"],
        "countryCodeV2": facts["country_code"],
        "formattedArea": ", ".join(part for part in area if part),
    }


def tags(text: str) -> list[str]:
    """Tags are one string in a webhook and a sorted list in GraphQL."""
    return sorted(word.strip() for word in text.split(",") if word.strip())


def _phone(number: str | None) -> Json | None:
    return {"phoneNumber": number, "marketingState": "NOT_SUBSCRIBED"} if number else None
