from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from libs.common.metrics import BulkHistogram

BUCKETS = (0.1, 1, 2.5, 10)


def told(values: list[float], *, together: bool) -> dict[tuple[str, str], float]:
    """What a scrape sees after these values."""
    registry = CollectorRegistry()
    kind = BulkHistogram if together else Histogram
    histogram = kind("some", "Some.", ["route"], buckets=BUCKETS, registry=registry).labels("postgres")
    if isinstance(histogram, BulkHistogram):
        histogram.observe_all(values)
    else:
        for value in values:
            histogram.observe(value)
    [family] = registry.collect()
    return {
        (s.name, s.labels.get("le", "")): round(s.value, 6)
        for s in family.samples
        if s.name != "some_created"
    }


@given(st.lists(st.one_of(st.sampled_from(BUCKETS), st.floats(0, 100)), max_size=30))
def test_values_observed_together_are_told_as_if_one_by_one(values: list[float]) -> None:
    assert told(values, together=True) == told(values, together=False)
