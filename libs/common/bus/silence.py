"""When a queue that answers nobody is given up. No I/O.

RabbitMQ can bring a quorum queue back without a leader: 3.10 does so with the queue it made last, if it is killed
within two seconds of that. Such a queue can be declared and looked at, but neither takes nor gives messages, for
ever. What lies in it lies in Postgres too, so it may be deleted and made anew; patience is for queues that are
still electing a leader.
"""


class Silence:
    """Remembers which queue has been silent since when, on a clock of the caller's."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._queue: str | None = None
        self._since = 0.0

    def kept(self, queue: str, now: float) -> None:
        """A queue did not answer, although RabbitMQ did."""
        if queue != self._queue:
            self._queue, self._since = queue, now

    def broken(self) -> None:
        """Something else happened: the queue answered, or RabbitMQ did not."""
        self._queue = None

    def hopeless(self, now: float) -> str | None:
        """The queue that has been silent for too long, if there is one."""
        return self._queue if now - self._since >= self._patience else None
