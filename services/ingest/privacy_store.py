"""What ingest holds of people and shops. Frames are messages: inflated to be searched, and emptied as others are."""

from libs.common.privacy.declarations import (
    CONSUMER_TABLES,
    PRODUCER_TABLES,
    Free,
    Holdings,
    Personal,
    Statement,
)

# What only came from the same browser may be cut before it names somebody else.
FIND_QUARANTINE = "SELECT * FROM ingest.quarantine WHERE shop = $1 AND sample ~* $2"
ERASE_QUARANTINE = "DELETE FROM ingest.quarantine WHERE shop = $1 AND sample ~* ANY ($2::text[])"
ERASE_SHOPS_QUARANTINE = "DELETE FROM ingest.quarantine WHERE shop = $1 AND at <= $2"
ERASE_KEYS = "DELETE FROM ingest.extension_keys WHERE shop = $1"
ERASE_VERSIONS = "DELETE FROM ingest.extension_versions WHERE shop = $1"
ERASE_EXTENSION = "DELETE FROM ingest.extensions WHERE shop = $1"

HOLDINGS = Holdings(
    "ingest",
    (
        *PRODUCER_TABLES,
        *CONSUMER_TABLES,
        Personal(
            "quarantine",
            ("shop", "detail", "sample"),
            find=Statement(FIND_QUARANTINE, ("shop", "pattern")),
            erase=Statement(ERASE_QUARANTINE, ("shop", "patterns")),
            erase_shop=Statement(ERASE_SHOPS_QUARANTINE, ("shop", "before")),
        ),
        Personal("extension_keys", ("shop", "key"), erase_shop=Statement(ERASE_KEYS)),
        Personal("extension_versions", ("shop",), erase_shop=Statement(ERASE_VERSIONS)),
        Personal("extensions", ("shop", "hosts"), erase_shop=Statement(ERASE_EXTENSION)),
        Free("limits", "keys and addresses, until their buckets are full again: seconds"),
    ),
)
