"""Settings of a consumer: how much it takes, keeps and runs at once."""

from libs.common.settings import CommonSettings, Count, Seconds


class ConsumerSettings(CommonSettings):
    """Settings of every service that works on messages."""

    consumer_concurrency: Count = 16  # handlers at once in this process
    consumer_buffer: Count = 400  # messages in hand and not started, per lane
    consumer_claim_batch: Count = 100  # rows one claim takes
    consumer_prefetch: Count = 8  # AMQP messages (packs) in hand, per lane
    consumer_lease_seconds: Seconds = 6.0  # how long a claimed row is left alone without a heartbeat
    consumer_acquire_seconds: Seconds = 10.0  # how long a handler waits for a database connection
    consumer_blocked_seconds: Seconds = 1.0  # how long the event loop may stand still before it is reported
