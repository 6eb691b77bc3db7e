"""Every metric of the consumer runtime, with kind, unit and meaning. No label comes from outside."""

from prometheus_client import Counter, Gauge, Histogram

from libs.common.metrics import BulkHistogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

MESSAGES = Counter(
    "worker_messages_total", "Messages that left the consumer's hand, by result.", ["handler", "result"]
)
HANDLER_SECONDS = Histogram(
    "worker_handler_duration_seconds", "One call of a handler.", ["handler"], buckets=_SECONDS
)
ATTEMPTS = BulkHistogram(
    "worker_attempts", "Tries a message had when it ended.", ["handler"], buckets=(1, 2, 3, 5, 8, 13)
)
INFLIGHT = Gauge("worker_inflight", "Messages being worked on.", ["service"])
IN_HAND = Gauge("worker_in_hand", "Messages taken from RabbitMQ or Postgres and not ended.", ["service"])
REDELIVERED = Counter("worker_redelivered_total", "Messages RabbitMQ brought again.", ["service"])
COPIES = Counter("worker_copies_total", "Second copies of a message that had no effect.", ["service"])
CLAIMED = Counter("worker_claimed_total", "Messages claimed from Postgres.", ["service", "way"])
GIVEN_BACK = Counter("worker_given_back_total", "Messages returned unworked.", ["service", "reason"])
END_TO_END = BulkHistogram(
    "event_end_to_end_seconds",
    "From acceptance to the commit of its effect.",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400),
)
FAILED = Counter("worker_failed_total", "Messages given up, by reason.", ["handler", "reason"])
LOOP_BLOCKED = Counter(
    "worker_loop_blocked_total", "Times a handler kept the event loop from running.", ["handler"]
)
DATABASE_AWAY = Gauge("worker_database_away", "1 while work waits for Postgres.", ["service"])
# The next three look at 10,001 rows at most, so that a table of millions costs no more.
DLQ_SIZE = Gauge(
    "dlq_size",
    "Messages in `failed`, waiting for a replay. Counted up to 10001 over all reasons, which means more than 10000.",
    ["reason"],
)
DLQ_OLDEST = Gauge(
    "dlq_oldest_age_seconds", "How long the oldest of up to 10001 messages has been in `failed`.", ["service"]
)
SCHEDULED = Gauge(
    "worker_scheduled",
    "Messages waiting for their time: retries, delays, busy shops. Counted up to 10001, which means more than 10000.",
    ["service"],
)
