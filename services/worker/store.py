"""SQL of the worker's own tables; the protocol's is in libs/common/outbox, a handler's stands above the handler."""

from libs.common.contracts.topology import SOURCES

NEEDED = (
    *(f"{source}.{table}" for source in SOURCES for table in ("messages", "outbox")),
    *(
        f"worker.{table}"
        for table in (
            "scheduled",
            "failed",
            "history",
            "schedules",
            "orders",
            "privacy_cases",
            "pixel_events",
            "backfills",
        )
    ),
    "shopify.budgets",
)
"""What the service cannot do without."""
