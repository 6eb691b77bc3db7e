"""Every metric of services/ingest, with kind, unit and meaning."""

from prometheus_client import Counter, Histogram

RECEIVED = Counter("ingest_events_received_total", "Events that requests carried.")
ACCEPTED = Counter("ingest_events_accepted_total", "Events that were committed, repeated ones among them.")
DROPPED = Counter("ingest_events_dropped_total", "Events that went into quarantine, by cause.", ["cause"])
MARKED = Counter(
    "ingest_events_marked_total",
    "Events that were kept with a mark: bot, clock_skew, foreign_host, cleaned, misshapen.",
    ["mark"],
)
CLOSE_LOOKS = Counter(
    "ingest_events_close_looks_total",
    "Events that took more than a glance, which costs two to three times as much.",
)
REFUSED = Counter(
    "ingest_requests_refused_total", "Requests that were not answered with 204, by cause.", ["cause"]
)
LIMITED = Counter(
    "ingest_limited_total", "Requests refused by a rate limit: that of a key, or of an address.", ["limit"]
)
BATCH = Histogram(
    "ingest_batch_events", "Events in one request.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)
BODY_BYTES = Histogram(
    "ingest_body_bytes",
    "Bytes of one request's body as it was sent.",
    buckets=(512, 2_048, 8_192, 16_384, 32_768, 65_536, 131_072),
)
GZIP_RATIO = Histogram(
    "ingest_gzip_ratio", "How many times larger gzipped bodies became.", buckets=(1, 2, 5, 10, 20, 50, 100)
)
SKEW = Histogram(
    "ingest_clock_skew_seconds",
    "How far the newest event of a request was from our clock, behind or ahead.",
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 3_600, 86_400),
)
COMMIT_REQUESTS = Histogram(
    "ingest_commit_requests", "Requests that shared one commit.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 400)
)
FRAME_EVENTS = Histogram("ingest_frame_events", "Events in one frame.", buckets=(1, 2, 5, 10, 20, 50))
VERSIONS_UNSEEN = Counter(
    "ingest_versions_unrecorded_total", "Sightings of a pixel's version that could not be written in time."
)
