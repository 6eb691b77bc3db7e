"""Metrics of what every service does for privacy."""

from prometheus_client import Counter

WITHHELD = Counter(
    "privacy_withheld_total",
    "Messages that came after the erasure of the person or shop they are about, and were accepted empty; "
    "pixel events are left out.",
    ["service"],
)
ERASED = Counter("privacy_erased_rows_total", "Rows that were erased or emptied.", ["service"])
