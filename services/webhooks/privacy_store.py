"""What webhooks holds of people and shops. The view `deliveries` shows the messages."""

from libs.common.privacy.declarations import CONSUMER_TABLES, PRODUCER_TABLES, Holdings, Personal, Statement

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
    ),
)
