"""Every metric that the code defines, read from the modules named `metrics.py`."""

import importlib
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram, Info

ROOT = Path(__file__).parents[1]

_SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "info": ("_info",),
}


def defined_metrics() -> dict[str, tuple[str, ...]]:
    """Each metric's name as dashboards call it, and the names of its series."""
    return dict(_named(metric) for module in _modules() for metric in _metrics_of(module))


def _modules() -> Iterator[str]:
    for folder in ("libs", "services"):
        for path in sorted((ROOT / folder).rglob("metrics.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _metrics_of(module: str) -> Iterator[Counter | Gauge | Histogram | Info]:
    for value in vars(importlib.import_module(module)).values():
        if isinstance(value, (Counter, Gauge, Histogram, Info)):
            yield value


def _named(metric: Counter | Gauge | Histogram | Info) -> tuple[str, tuple[str, ...]]:
    [family] = metric.describe()
    series = tuple(family.name + suffix for suffix in _SUFFIXES[family.type])
    return (family.name if family.type == "histogram" else series[0]), series
