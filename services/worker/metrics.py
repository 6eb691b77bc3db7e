"""Metrics of the worker's HTTP side; those of the work itself are in libs/common/runtime/metrics.py."""

from prometheus_client import Counter

REPLAYED = Counter(
    "worker_replayed_total", "Messages that people put back to work: one by one, or many by filter.", ["way"]
)
