"""Every metric of the connections to RabbitMQ, with kind, unit and meaning."""

from prometheus_client import Counter, Gauge, Histogram

CONNECTED = Gauge(
    "broker_connected", "1 while a connection is up; `link` is publish or consume.", ["service", "link"]
)
RECONNECTS = Counter(
    "broker_reconnects_total", "Connections opened after the first one.", ["service", "link"]
)
CONFIRM_SECONDS = Histogram(
    "broker_confirm_duration_seconds",
    "From publish to RabbitMQ's confirm.",
    ["service"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2),
)
RETURNED = Counter("broker_returned_total", "Packets that no queue was bound for.", ["service"])
NACKED = Counter("broker_nacked_total", "Packets that RabbitMQ refused.", ["service"])
BLOCKED = Gauge(
    "broker_blocked", "1 while RabbitMQ blocks the publishing connection by an alarm.", ["service"]
)
INVALID_PACKETS = Counter(
    "broker_invalid_packets_total", "Packets that could not be decoded; dropped.", ["service"]
)
ACKS_DROPPED = Counter(
    "broker_acks_dropped_total",
    "Acknowledgements whose channel was gone; RabbitMQ delivers again.",
    ["service"],
)
