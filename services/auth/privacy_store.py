"""What auth holds of people and shops."""

from libs.common.privacy.declarations import CONSUMER_TABLES, PRODUCER_TABLES, Holdings, Personal, Statement

HOLDINGS = Holdings(
    "auth",
    (
        *PRODUCER_TABLES,
        *CONSUMER_TABLES,
        Personal(
            "sessions",
            ("id", "shop", "user_id", "access_token", "refresh_token"),
            erase_shop=Statement("DELETE FROM auth.sessions WHERE shop = $1"),
        ),
        Personal("shops", ("shop",), erase_shop=Statement("DELETE FROM auth.shops WHERE shop = $1")),
        Personal("states", ("shop",), erase_shop=Statement("DELETE FROM auth.states WHERE shop = $1")),
    ),
)
