"""What webhooks holds of people and shops. The view `deliveries` shows the messages."""

from libs.common.privacy.declarations import CONSUMER_TABLES, PRODUCER_TABLES, Holdings, Personal, Statement

_SUBSCRIPTIONS = {
    "subscription_shops": "DELETE FROM webhooks.subscription_shops WHERE shop = $1 AND known_at <= $2",
    "subscription_states": "DELETE FROM webhooks.subscription_states WHERE shop = $1 AND checked_at <= $2",
    "subscription_history": "DELETE FROM webhooks.subscription_history WHERE shop = $1 AND at <= $2",
}

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
            for table, statement in _SUBSCRIPTIONS.items()
        ),
    ),
)
