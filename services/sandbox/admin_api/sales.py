"""Orders, their lines and their transactions as GraphQL shows them."""

from collections.abc import Callable
from typing import Any

from services.sandbox.admin_api.paging import Listed
from services.sandbox.admin_api.people import address, tags
from services.sandbox.admin_api.values import bag, time, times
from services.sandbox.orders import transactions
from services.sandbox.scene import Json, gid
from services.sandbox.store import Row

Find = Callable[[int], Json | None]
_PAID = frozenset({"paid"})


def order(row: Row, facts: Json, *, customer: Callable[[], Json | None], product: Find) -> Json:
    """An order; who bought and what is looked up when it is asked for."""
    return {
        "id": facts["admin_graphql_api_id"],
        "legacyResourceId": str(row.id),
        **_description(facts),
        "createdAt": (created := time(row.created_at)),
        "processedAt": created,
        "updatedAt": time(row.updated_at),
        "cancelledAt": time(facts["cancelled_at"]),
        "closedAt": time(facts["closed_at"]),
        "cancelReason": facts["cancel_reason"] and facts["cancel_reason"].upper(),
        "displayFinancialStatus": facts["financial_status"].upper(),
        "displayFulfillmentStatus": (facts["fulfillment_status"] or "unfulfilled").upper(),
        **_sums(facts),
        "customer": lambda _: customer(),
        "billingAddress": lambda _: address(facts["billing_address"], row.id),
        "shippingAddress": lambda _: address(facts["shipping_address"], row.id),
        "lineItems": Listed(facts["line_items"], lambda line: _line(line, facts["currency"], product)),
        "shippingLines": Listed(facts["shipping_lines"], lambda line: _shipping(line, facts["currency"])),
        "transactions": lambda _, first=None: _transactions(row, facts)[:first],
    }


def _description(facts: Json) -> Json:
    return {
        "name": facts["name"],
        "number": facts["order_number"],
        "confirmationNumber": facts["confirmation_number"],
        "confirmed": facts["confirmed"],
        "email": facts["email"],
        "phone": facts["phone"],
        "note": facts["note"],
        "tags": tags(facts["tags"]),
        "test": facts["test"],
        "closed": facts["closed_at"] is not None,
        "sourceName": facts["source_name"],
        "statusPageUrl": facts["order_status_url"],
        "customerLocale": facts["customer_locale"],
        "currencyCode": facts["currency"],
        "presentmentCurrencyCode": facts["presentment_currency"],
        "taxesIncluded": facts["taxes_included"],
        "totalWeight": str(facts["total_weight"]),
        "paymentGatewayNames": facts["payment_gateway_names"],
        "discountCodes": [code["code"] for code in facts["discount_codes"]],
    }


def _sums(facts: Json) -> Json:
    """The sums; an order that was cancelled owes nothing any more."""
    currency, whole = facts["currency"], facts["total_price"]
    received = whole if facts["financial_status"] in _PAID else "0.00"
    owed = whole if facts["financial_status"] == "pending" else "0.00"
    now = "0.00" if facts["cancelled_at"] else None
    sums = {
        "totalPriceSet": whole,
        "currentTotalPriceSet": now or whole,
        "subtotalPriceSet": facts["subtotal_price"],
        "currentSubtotalPriceSet": now or facts["subtotal_price"],
        "totalTaxSet": facts["total_tax"],
        "currentTotalTaxSet": now or facts["total_tax"],
        "totalDiscountsSet": facts["total_discounts"],
        "currentTotalDiscountsSet": facts["total_discounts"],
        "totalShippingPriceSet": facts["total_shipping_price_set"]["shop_money"]["amount"],
        "totalRefundedSet": "0.00",
        "totalOutstandingSet": owed,
        "totalReceivedSet": received,
        "netPaymentSet": received,
    }
    return {name: bag(amount, currency) for name, amount in sums.items()}


def _line(line: Json, currency: str, product: Find) -> Json:
    def variant(_: object) -> Json | None:
        whole = product(line["product_id"])
        if whole is None:
            return None
        found = (
            whole["variants"].make(one) for one in whole["variants"].items if one["id"] == line["variant_id"]
        )
        return next(found, None)

    each, together = bag(line["price"], currency), bag(times(line["price"], line["quantity"]), currency)
    return {
        "id": line["admin_graphql_api_id"],
        "title": line["title"],
        "name": line["name"],
        "variantTitle": line["variant_title"],
        "vendor": line["vendor"],
        "sku": line["sku"],
        "quantity": line["quantity"],
        "currentQuantity": line["current_quantity"],
        "taxable": line["taxable"],
        "requiresShipping": line["requires_shipping"],
        "isGiftCard": line["gift_card"],
        "originalUnitPriceSet": each,
        "discountedUnitPriceSet": each,
        "originalTotalSet": together,
        "discountedTotalSet": together,
        "product": lambda _: product(line["product_id"]),
        "variant": variant,
    }


def _shipping(line: Json, currency: str) -> Json:
    price = bag(line["price"], currency)
    return {
        "id": gid("ShippingLine", line["id"]),
        "title": line["title"],
        "code": line["code"],
        "source": line["source"],
        "originalPriceSet": price,
        "discountedPriceSet": price,
    }


def _transactions(row: Row, facts: Json) -> list[Json]:
    return [_transaction(one) for one in transactions(row.shop, facts)]


def _transaction(facts: Json) -> Json:
    parent: dict[str, Any] | None = facts["parent"]
    return {
        "id": facts["admin_graphql_api_id"],
        "kind": facts["kind"].upper(),
        "status": facts["status"].upper(),
        "gateway": facts["gateway"],
        "formattedGateway": facts["gateway"].replace("_", " ").title(),
        "amountSet": bag(facts["amount"], facts["currency"]),
        "createdAt": time(facts["created_at"]),
        "processedAt": time(facts["processed_at"]),
        "parentTransaction": _transaction(parent) if parent else None,
        "test": facts["test"],
        "errorCode": facts["error_code"],
    }
