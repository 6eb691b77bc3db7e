"""Metrics of the worker's own doing; those of the work itself are in libs/common/runtime/metrics.py."""

from prometheus_client import Counter, Gauge

REPLAYED = Counter(
    "worker_replayed_total", "Messages that people put back to work: one by one, or many by filter.", ["way"]
)
PRIVACY_OPEN = Gauge(
    "privacy_request_open", "Privacy requests that are not over, by kind (from the tables).", ["kind"]
)
PRIVACY_OLDEST = Gauge(
    "privacy_request_oldest_age_seconds",
    "How long ago the oldest of them was made; Shopify gives 30 days (from the tables).",
    ["kind"],
)
PRIVACY_ENDED = Counter(
    "privacy_request_ended_total",
    "Privacy requests that are over, by outcome: done, repeated (nothing was left to erase), superseded.",
    ["kind", "outcome"],
)
PIXEL_EVENTS = Counter(
    "pixel_events_total",
    "Pixel events taken out of frames: stored, or repeated and there already.",
    ["outcome"],
)
PIXEL_PARTITIONS = Counter(
    "pixel_partitions_total",
    "Partitions of pixel events: made, dropped, or left since a lock was not to be had.",
    ["what"],
)
PIXEL_UNPLACED = Gauge(
    "pixel_events_unplaced", "Stored pixel events of days without a partition: of clocks that are far off."
)
SWEPT = Counter(
    "worker_swept_total",
    "Messages that were cancelled before they were started, because their shop had removed the app.",
    ["handler"],
)
DATA_REQUESTS = Counter(
    "data_cache_requests_total",
    "Answers of the data endpoints, by where from: hit (kept, fresh), joined (a call under way), miss (Shopify), "
    "stale (kept, as Shopify gave none).",
    ["result"],
)
DATA_ENDINGS = Counter(
    "data_cache_endings_total",
    "Answers that left a process's memory, by cause: evicted (no room), expired, dropped (a webhook, an uninstall, an "
    "erasure, or no news from Postgres for a time).",
    ["cause"],
)
DATA_ANSWERS = Gauge("data_cache_answers", "Answers of the data endpoints that this process keeps.")
DATA_BYTES = Gauge("data_cache_bytes", "Bytes of the answers of the data endpoints that this process keeps.")
BACKFILL_OPEN = Gauge(
    "backfill_open", "Backfills that have not ended, by status (from the tables).", ["status"]
)
BACKFILL_STILL = Gauge(
    "backfill_still_seconds",
    "For how long the open backfill that has stood still longest has come no further (from the tables).",
)
BACKFILL_ENDED = Counter(
    "backfill_ended_total",
    "Backfills that ended, by outcome: completed, failed, cancelled.",
    ["resource", "outcome"],
)
BACKFILL_OBJECTS = Counter(
    "backfill_objects_total", "Orders, products and customers that backfills made messages of.", ["resource"]
)
BACKFILL_BYTES = Counter("backfill_read_bytes_total", "Bytes of bulk operations' files that were taken in.")
BACKFILL_PAUSES = Counter(
    "backfill_pauses_total", "Times that reading stood still because too many of a job's messages waited."
)
BACKFILL_RESTARTS = Counter(
    "backfill_restarts_total",
    "Times that Shopify was asked for another bulk operation, as the last came to nothing.",
)
BACKFILL_FAILURES = Counter(
    "backfill_step_failures_total",
    "Steps that failed and are taken again, by the job's status then; unforeseen is a fault of shopbus.",
    ["status"],
)
