"""A queue is given up only after it alone has been silent for long enough."""

from libs.common.bus.silence import Silence


def test_a_queue_that_stays_silent_is_hopeless_when_patience_ends() -> None:
    silence = Silence(patience=60)
    assert silence.hopeless(1000) is None
    silence.kept("bulk", 1000)
    silence.kept("bulk", 1030)
    assert silence.hopeless(1059) is None
    assert silence.hopeless(1060) == "bulk"


def test_anything_else_in_between_starts_the_count_anew() -> None:
    silence = Silence(patience=60)
    silence.kept("bulk", 1000)
    silence.broken()
    assert silence.hopeless(1100) is None
    silence.kept("bulk", 1100)
    assert silence.hopeless(1159) is None
    assert silence.hopeless(1160) == "bulk"


def test_another_queue_starts_the_count_anew() -> None:
    silence = Silence(patience=60)
    silence.kept("bulk", 1000)
    silence.kept("default", 1059)
    assert silence.hopeless(1100) is None
    assert silence.hopeless(1119) == "default"
