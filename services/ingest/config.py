"""Settings of services/ingest."""

from typing import Annotated

from pydantic import Field, SecretStr

from libs.common.runtime.config import ConsumerSettings
from libs.common.session_settings import SessionSettings
from libs.common.settings import Count, Seconds
from libs.common.shopify.admin.config import AdminSettings


class Settings(ConsumerSettings, SessionSettings, AdminSettings):
    """Settings of services/ingest, beside those of services that work on messages and that call the Admin API."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8083

    ops_token: Annotated[SecretStr, Field(min_length=1)]

    # One request. Browsers send 64 KiB at most of what has to outlive a page.
    ingest_body_limit_bytes: Count = 128 * 1024  # also of what gzip makes of it
    ingest_body_seconds: Seconds = 5.0  # for the body to arrive
    ingest_gzip_ratio: Count = 100  # how much larger than itself a gzipped body may become
    ingest_events: Count = 500  # events in one request
    ingest_event_bytes: Count = 48 * 1024  # one event, when it is stored
    ingest_text_length: Count = 8_192  # characters of one text within an event
    ingest_commit_seconds: Seconds = 3.0  # for the commit
    ingest_skew_seconds: Seconds = (
        3_600.0  # how far ahead a visitor's clock may be before its events are marked
    )
    ingest_late_seconds: Seconds = 172_800.0  # how late an event may come before it is marked

    # Limits, over all processes. The burst is what a key or an address may send at once.
    ingest_key_per_second: Seconds = 2_000.0
    ingest_key_burst: Count = 20_000
    ingest_address_per_second: Seconds = 200.0
    ingest_address_burst: Count = 4_000
    ingest_proxies: Annotated[int, Field(ge=0, le=10)] = 0  # how many of ours stand before this service

    ingest_key_seconds: Seconds = 5.0  # how long a key, or its absence, is remembered
    ingest_key_overlap_hours: Seconds = 72.0  # how long a key works on after another took its place
    quarantine_keep: Count = 10_000  # events kept in quarantine
