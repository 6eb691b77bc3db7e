"""Metrics of the worker's own doing; those of the work itself are in libs/common/runtime/metrics.py."""

from prometheus_client import Counter

REPLAYED = Counter(
    "worker_replayed_total", "Messages that people put back to work: one by one, or many by filter.", ["way"]
)
SWEPT = Counter(
    "worker_swept_total",
    "Messages that were cancelled before they were started, because their shop had removed the app.",
    ["handler"],
)
