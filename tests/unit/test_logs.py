import asyncio
import io
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from aiohttp.http_exceptions import BadHttpMessage
from prometheus_client import REGISTRY
from pydantic import SecretStr

from libs.common import logs
from tests.log_capture import Written, logged
from tests.waiting import poll


@pytest.fixture
def written() -> Iterator[Written]:
    with logged() as found:
        yield found


def test_a_line_is_a_sentence_with_fields(written: Written) -> None:
    logs.logger("here").info("A shop was installed.", shop="a.myshopify.com", attempts=2)
    (line,) = written.lines
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "A shop was installed.",
        "logger": "here",
        "shop": "a.myshopify.com",
        "attempts": 2,
    }


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "access_token",
        "SHOPIFY_API_SECRET",
        "client_secret",
        "password",
        "Authorization",
        "cookie",
        "api_key",
        "hmac",
        "x-shopify-hmac-sha256",
        "signature",
        "database_url",
        "RABBITMQ_URL",
        "body",
        "payload",
        "dsn",
        "headers",
    ],
)
@pytest.mark.parametrize("style", ["json", "console"])
def test_what_is_named_like_a_secret_is_hidden(name: str, style: str) -> None:
    with logged(style=style) as written:
        logs.logger("here").info(
            "Something happened.", **{name: "hush", "inside": {name: "hush"}, "listed": 1}
        )
        logs.WideLogger("here").write("info", {"event": "Something happened.", name: b"hush"})
    assert "hush" not in written.text
    assert written.text.count("***") == 3


@pytest.mark.parametrize(
    ("name", "value"), [("body", 1188), ("token_age", 1.5), ("payload", None), ("has_token", True)]
)
def test_a_number_tells_no_secret(written: Written, name: str, value: object) -> None:
    logs.logger("here").info("Something happened.", **{name: value})
    assert written.lines[0][name] == value


@pytest.mark.parametrize("style", ["json", "console"])
def test_the_password_within_an_address_is_hidden(style: str) -> None:
    with logged(style=style) as written:
        logs.logger("here").info(
            "Cannot reach postgresql://user:hush@host/db.", broker="amqps://me:hush@host/v"
        )
    assert "hush" not in written.text
    assert "postgresql://***@host/db" in written.text


def test_secret_settings_and_bytes_are_not_shown(written: Written) -> None:
    logs.logger("here").info("Something happened.", given=SecretStr("hush"), raw=b"hush")
    assert written.lines[0]["given"] == "**********"
    assert written.lines[0]["raw"] == "<4 bytes>"


def test_a_traceback_is_told_without_what_postgres_quotes(written: Written) -> None:
    error = ValueError("duplicate key\nDETAIL:  Key (email)=(hush) already exists.\nmore")
    logs.logger("here").error("It failed.", exc_info=error)
    (line,) = written.lines
    assert line["exception"] == "ValueError: duplicate key\nmore"


def test_libraries_are_heard_through_the_same_door(written: Written) -> None:
    logging.getLogger("asyncpg").info("connected as %s", "user")
    logging.getLogger("anything").warning("careful")
    logging.getLogger("anything").info("chatter")
    logging.getLogger("aio_pika").info("chatter")
    logging.getLogger("odd").log(35, "between the levels")
    assert [(line["logger"], line["level"], line["event"]) for line in written.lines] == [
        ("asyncpg", "info", "connected as user"),
        ("anything", "warning", "careful"),
        ("odd", "warning", "between the levels"),
    ]


def test_what_a_broken_client_sent_is_not_quoted(written: Written) -> None:
    error = BadHttpMessage("Invalid header: hush")
    logging.getLogger("aiohttp.server").error("Error handling request", exc_info=error)
    assert written.lines[0]["event"] == "a client sent what is not HTTP"
    assert "hush" not in written.text


def test_lines_below_the_level_are_left_out() -> None:
    with logged("WARNING") as written:
        log, wide = logs.logger("here"), logs.WideLogger("here")
        log.info("chatter")
        wide.write("info", {"event": "chatter"})
        log.warning("careful")
        wide.write("error", {"event": "trouble"})
    assert [line["event"] for line in written.lines] == ["careful", "trouble"]


def test_a_logger_made_before_configuring_follows_it() -> None:
    early = logs.logger("early")
    with logged() as written:
        early.info("It began.")
    assert written.lines[0]["logger"] == "early"


@pytest.mark.parametrize("value", ["\ud800", 1 << 80, {1: "a"}, object()])
def test_any_value_can_be_logged(written: Written, value: object) -> None:
    logs.logger("here").info("Something happened.", value=value)
    assert written.lines[0]["event"] == "Something happened."


class FullDisk(io.RawIOBase):
    def writable(self) -> bool:
        return True

    def write(self, _: Any) -> int:
        raise OSError(28, "No space left on device")


def closed() -> io.BytesIO:
    stream = io.BytesIO()
    stream.close()
    return stream


@pytest.mark.parametrize("broken", [FullDisk(), closed()])
def test_a_stream_that_fails_stops_no_work_and_is_counted(broken: io.IOBase) -> None:
    before = REGISTRY.get_sample_value("log_lines_lost_total") or 0.0
    with logged(stream=broken):
        logs.logger("here").error("It failed.")
    assert (REGISTRY.get_sample_value("log_lines_lost_total") or 0.0) > before


class Flushed(io.RawIOBase):
    """What has left the buffer."""

    def __init__(self) -> None:
        self.lines = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.lines += bytes(data).count(b"\n")
        return len(data)


async def test_lines_gather_while_the_loop_runs_and_warnings_do_not_wait() -> None:
    out = Flushed()
    with logged(stream=io.BufferedWriter(out)):
        log = logs.logger("here")
        log.info("one")
        log.info("two")
        assert out.lines == 0
        await poll(lambda: out.lines == 2)
        log.info("three")
        log.warning("four")
        assert out.lines == 4


def test_lines_of_an_ended_loop_do_not_hold_up_the_next() -> None:
    async def speak() -> None:
        logs.logger("here").info("one")

    out = Flushed()
    with logged(stream=io.BufferedWriter(out)):
        asyncio.run(speak())
        logs.logger("here").info("two")
        assert out.lines == 2


def test_ids_read_well_on_the_console() -> None:
    with logged(style="console") as written:
        logs.logger("here").info("Something happened.", message_id=UUID(int=1))
    assert "message_id=00000000-0000-0000-0000-000000000001" in written.text
