"""What webhooks holds of people and shops. The view `deliveries` shows the messages."""

from libs.common.privacy.declarations import (
    CONSUMER_TABLES,
    PRODUCER_TABLES,
    Free,
    Holdings,
    Personal,
    Statement,
)

_OF_SHOPS = {
    "subscription_shops": "DELETE FROM webhooks.subscription_shops WHERE shop = $1 AND known_at <= $2",
    "subscription_states": "DELETE FROM webhooks.subscription_states WHERE shop = $1 AND checked_at <= $2",
    "subscription_history": "DELETE FROM webhooks.subscription_history WHERE shop = $1 AND at <= $2",
    "reconciled_shops": "DELETE FROM webhooks.reconciled_shops WHERE shop = $1 AND known_at <= $2",
    "reconciled_hours": "DELETE FROM webhooks.reconciled_hours WHERE shop = $1 AND checked_at <= $2",
}

# Ids of what came, and of what did not.
ERASE_ARRIVALS = """
DELETE FROM webhooks.arrivals
WHERE shop = $1 AND (family = 'customers' AND resource_id = $2
                     OR family = 'orders' AND resource_id = ANY ($3::bigint[]))
"""
ERASE_RECONCILED = """
DELETE FROM webhooks.reconciled
WHERE shop = $1 AND (family = 'customers' AND resource_id = $2
                     OR family = 'orders' AND resource_id = ANY ($3::bigint[]))
"""
_BY_CUSTOMER = ("shop", "customer_id", "all_orders")
ERASE_SHOPS_ARRIVALS = "DELETE FROM webhooks.arrivals WHERE shop = $1 AND updated_at <= $2"
ERASE_SHOPS_RECONCILED = "DELETE FROM webhooks.reconciled WHERE shop = $1 AND updated_at <= $2"

HOLDINGS = Holdings(
    "webhooks",
    (
        *PRODUCER_TABLES,
        *CONSUMER_TABLES,
        Personal(
            "rejected",
            ("shop", "remote", "user_agent", "detail"),
            # as a request called itself, which nobody has verified
            erase_shop=Statement(
                "DELETE FROM webhooks.rejected WHERE lower(shop) = $1 AND at <= $2", ("shop", "before")
            ),
        ),
        *(
            Personal(
                table,
                ("shop",),
                erase_shop=Statement(statement, ("shop", "before")),
                counted=False,
            )
            for table, statement in _OF_SHOPS.items()
        ),
        Personal(
            "arrivals",
            ("shop", "resource_id"),
            erase=Statement(ERASE_ARRIVALS, _BY_CUSTOMER),
            erase_shop=Statement(ERASE_SHOPS_ARRIVALS, ("shop", "before")),
            counted=False,
        ),
        Personal(
            "reconciled",
            ("shop", "resource_id", "problem"),
            erase=Statement(ERASE_RECONCILED, _BY_CUSTOMER),
            erase_shop=Statement(ERASE_SHOPS_RECONCILED, ("shop", "before")),
            counted=False,
        ),
        Free("arrivals_read", "the id of a message"),
    ),
)
