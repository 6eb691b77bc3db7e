"""What the worker holds of people and shops. Add your handlers' tables here (docs/privacy.md)."""

from libs.common.privacy.declarations import (
    CONSUMER_TABLES,
    PRODUCER_TABLES,
    Free,
    Holdings,
    Personal,
    Statement,
)

FIND_ORDERS = "SELECT * FROM worker.orders WHERE shop = $1 AND order_id = ANY ($2::bigint[])"
ERASE_ORDERS = "DELETE FROM worker.orders WHERE shop = $1 AND order_id = ANY ($2::bigint[])"
ERASE_SHOPS_ORDERS = "DELETE FROM worker.orders WHERE shop = $1 AND triggered_at <= $2"

# A visitor's other events say nothing of the person by themselves, and all of them through the one that does. What
# names the person is looked for once: by their browsers, which have an index, the rest is found.
FIND_EVENTS = """
SELECT * FROM worker.pixel_events WHERE shop = $1 AND (client_id IS NULL AND content::text ~* $2
    OR client_id = ANY ($3::text[] || ARRAY(SELECT DISTINCT client_id FROM worker.pixel_events
                                            WHERE shop = $1 AND client_id IS NOT NULL AND content::text ~* $2)))
"""
ERASE_EVENTS = """
DELETE FROM worker.pixel_events WHERE shop = $1 AND (client_id IS NULL AND content::text ~* $2
    OR client_id = ANY ($3::text[] || ARRAY(SELECT DISTINCT client_id FROM worker.pixel_events
                                            WHERE shop = $1 AND client_id IS NOT NULL AND content::text ~* $2)))
"""
ERASE_SHOPS_EVENTS = "DELETE FROM worker.pixel_events WHERE shop = $1 AND received_at <= $2"

# Also what was found for somebody else and names the person.
ERASE_ITEMS = """
DELETE FROM worker.privacy_items AS i USING worker.privacy_cases AS c
WHERE c.id = i.case_id AND c.kind = 'data_request' AND c.shop = $1
  AND ((c.subject ->> 'customer_id')::bigint = $2 OR c.subject ->> 'email' = $3 OR c.subject ->> 'phone' = $4
       OR convert_from(i.content, 'UTF8') ~* ANY ($5::text[]))
"""
ERASE_SHOPS_ITEMS = """
DELETE FROM worker.privacy_items WHERE case_id IN (SELECT id FROM worker.privacy_cases WHERE shop = $1)
"""
ERASE_CASES = """
UPDATE worker.privacy_cases
SET subject = NULL, status = CASE WHEN ended_at IS NULL THEN 'superseded' ELSE status END,
    reason = CASE WHEN ended_at IS NULL THEN 'the customer was erased' ELSE reason END,
    ended_at = coalesce(ended_at, now())
WHERE kind = 'data_request' AND shop = $1
  AND ((subject ->> 'customer_id')::bigint = $2 OR subject ->> 'email' = $3 OR subject ->> 'phone' = $4)
"""
ERASE_SHOPS_CASES = """
UPDATE worker.privacy_cases
SET shop = NULL, subject = NULL, status = CASE WHEN ended_at IS NULL THEN 'superseded' ELSE status END,
    reason = CASE WHEN ended_at IS NULL THEN 'the shop was erased' ELSE reason END,
    ended_at = coalesce(ended_at, now())
WHERE shop = $1 AND kind <> 'shop_redact'
"""
ERASE_SHOPS_BACKFILLS = "DELETE FROM worker.backfills WHERE shop = $1 AND created_at <= $2"
_CUSTOMER = ("shop", "customer_id", "email", "phone")

HOLDINGS = Holdings(
    "worker",
    (
        *PRODUCER_TABLES,
        *CONSUMER_TABLES,
        Personal(
            "orders",
            ("shop", "order_id", "name"),
            find=Statement(FIND_ORDERS, ("shop", "all_orders")),
            erase=Statement(ERASE_ORDERS, ("shop", "orders")),
            erase_shop=Statement(ERASE_SHOPS_ORDERS, ("shop", "before")),
        ),
        Personal(
            "pixel_events",
            ("shop", "client_id", "content"),
            names="content",
            find=Statement(FIND_EVENTS, ("shop", "pattern", "clients")),
            erase=Statement(ERASE_EVENTS, ("shop", "pattern", "clients")),
            erase_shop=Statement(ERASE_SHOPS_EVENTS, ("shop", "before")),
        ),
        Personal(
            "privacy_items",
            ("content",),
            erase=Statement(ERASE_ITEMS, (*_CUSTOMER, "patterns")),
            erase_shop=Statement(ERASE_SHOPS_ITEMS),
            counted=False,
        ),
        Personal(
            "privacy_cases",
            ("shop", "subject"),
            erase=Statement(ERASE_CASES, _CUSTOMER),
            erase_shop=Statement(ERASE_SHOPS_CASES),
            counted=False,
        ),
        Personal(
            "shopify.budgets",
            ("shop",),
            erase_shop=Statement("DELETE FROM shopify.budgets WHERE shop = $1"),
            counted=False,
        ),
        Personal(
            "backfills",
            ("shop",),
            erase_shop=Statement(ERASE_SHOPS_BACKFILLS, ("shop", "before")),
            counted=False,
        ),
        Free("privacy_steps", "numbers of rows, by table"),
    ),
)
