"""Every metric of the outbox protocol, with kind, unit and meaning."""

from prometheus_client import Counter, Gauge, Histogram

ACCEPT_BATCH = Histogram(
    "outbox_commit_batch_size",
    "Messages that shared one commit.",
    ["service"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
)
ACCEPTED = Counter(
    "outbox_accepted_total", "Messages committed to the outbox, by first route.", ["service", "route"]
)
DUPLICATES = Counter("outbox_duplicates_total", "Drafts whose idempotency key was known.", ["service"])
OVERFLOWED = Counter(
    "outbox_overflow_total",
    "Messages put into the overflow lane because their shop exceeded its share.",
    ["service"],
)

# Gauges of tables look at the oldest 10,001 rows of a lane or table, so that a backlog of millions costs no more.
PENDING = Gauge(
    "outbox_pending",
    "Rows in the outbox: work not done yet. Counted up to 10001, which means more than 10000.",
    ["service", "lane"],
)
OLDEST_AGE = Gauge(
    "outbox_oldest_age_seconds",
    "How long the row that waits longest has been in the outbox; of each lane's first 10001 rows.",
    ["service"],
)
LEASED = Gauge(
    "outbox_leased",
    "Rows under a live lease, by who holds it: broker or worker; of each lane's first 10001 rows.",
    ["service", "holder"],
)

PUBLISHED = Counter("outbox_published_total", "Messages that RabbitMQ confirmed.", ["service"])
RELAYED = Counter(
    "outbox_relayed_total",
    "Messages that RabbitMQ confirmed for programs outside.",
    ["service", "destination"],
)
PUBLISH_FAILURES = Counter(
    "outbox_publish_failures_total", "Publishes without a confirm.", ["service", "reason"]
)
PUBLISH_SECONDS = Histogram(
    "outbox_publish_duration_seconds",
    "From handing a packet to RabbitMQ to its confirm.",
    ["service"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2),
)
PACK = Histogram(
    "outbox_pack_size", "Messages in one AMQP message.", ["service"], buckets=(1, 2, 5, 10, 20, 50, 100)
)
RECLAIMED = Counter(
    "outbox_reclaimed_total",
    "Leases of the broker route that were freed for the Postgres route.",
    ["service"],
)

CIRCUIT_OPEN = Gauge("outbox_circuit_open", "1 while new messages bypass RabbitMQ.", ["service"])
CIRCUIT_OPENED = Counter(
    "outbox_circuit_opened_total", "Times the circuit opened, by cause.", ["service", "reason"]
)
BROKER_SHARE = Gauge(
    "outbox_broker_share", "Share of new messages that take the broker route, 0 to 1.", ["service"]
)
QUEUE_DEPTH = Gauge(
    "outbox_broker_queue_depth",
    "AMQP messages ready in a queue, as its producer last saw it.",
    ["service", "queue"],
)
NOTIFY_FAILURES = Counter(
    "outbox_notify_failures_total", "Wake-ups that could not be sent; polling covers them.", ["service"]
)
EXPIRED = Counter(
    "outbox_expired_total",
    "What was deleted because its retention was over: payloads, and the traces history and failed.",
    ["service", "kind"],
)
GAUGES_LATE = Counter(
    "outbox_gauges_late_total",
    "Refreshes that Postgres did not answer in time; the gauges of the tables show their last value then.",
)
