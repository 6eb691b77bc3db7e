"""`shopbus send webhook` as it is typed; how deliveries behave is in tests/integration/test_sender.py."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.unit.shopbus_cli import SECRET, Call, JobApi, Shopbus, job_api
from tests.waiting import poll

ROUTE = "/webhooks/shopify"


@pytest.fixture
def shopbus() -> Shopbus:
    return Shopbus()


@pytest.fixture
def receiver() -> Iterator[JobApi]:
    with job_api() as served:
        served.answer = lambda _: (200, {"id": str(uuid4()), "duplicate": False})
        yield served


def test_a_run_is_summed_up_for_people(shopbus: Shopbus, receiver: JobApi) -> None:
    result = shopbus(
        "send", "webhook", "orders/create", "--count", "12", "--shops", "3", "--url", receiver.url
    )
    assert result.exit_code == 0
    assert "12 sent to " in result.stdout
    assert "accepted" in result.stdout
    assert "shopbus why " in result.stdout
    assert {call.path for call in receiver.calls} == {ROUTE}


def test_a_run_is_summed_up_for_programs(shopbus: Shopbus, receiver: JobApi) -> None:
    result = shopbus(
        "send", "webhook", "orders/create", "--count", "5", "--seed", "9", "--json", "--url", receiver.url
    )
    summary = json.loads(result.stdout)
    assert (summary["sent"], summary["accepted"], summary["seed"], summary["given_up"]) == (5, 5, 9, 0)
    assert summary["p99_ms"] >= summary["p50_ms"] > 0


def test_accepted_ids_are_written_for_checkers(shopbus: Shopbus, receiver: JobApi, tmp_path: Path) -> None:
    ids: list[str] = []

    def answer(_call: Call) -> tuple[int, Any]:
        ids.append(str(uuid4()))
        return 200, {"id": ids[-1], "duplicate": False}

    receiver.answer = answer
    file = tmp_path / "ids.txt"
    shopbus("send", "webhook", "orders/create", "--count", "4", "--ids", str(file), "--url", receiver.url)
    assert sorted(file.read_text().split()) == sorted(ids)


def test_what_is_refused_ends_with_exit_code_1_and_a_hint(shopbus: Shopbus, receiver: JobApi) -> None:
    receiver.answer = lambda _: (401, {"detail": "no"})
    result = shopbus("send", "webhook", "orders/create", "--retry-scale", "0", "--url", receiver.url)
    assert result.exit_code == 1
    assert "given up" in result.stdout
    assert "another SHOPIFY_API_SECRET" in result.stdout
    assert SECRET not in result.output


def test_a_file_goes_out_as_it_is(shopbus: Shopbus, receiver: JobApi, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_bytes(b'{ "a":\t1 }\n')
    result = shopbus(
        "send", "webhook", "my/topic", "--file", str(body), "--shop", "sandbox-009", "--url", receiver.url
    )
    assert result.exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("Orders Create",),
        ("orders/create", "--count", "0"),
        ("orders/create", "--count", "many"),
        ("orders/create", "--rate", "0"),
        ("orders/create", "--duplicates", "2"),
        ("orders/create", "--format", "xml"),
        ("orders/create", "--file", "missing.json"),
        ("orders/create", "--file", "."),
        ("orders/create", "--ids", "missing/ids.txt"),
        ("orders/create", "--url", "ftp://127.0.0.1/"),
        ("orders/create", "--url", "http://127.0.0.1:99999/"),
        ("orders/create", "--shop", "not a shop"),
        (),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(shopbus: Shopbus, arguments: tuple[str, ...]) -> None:
    result = shopbus("send", "webhook", *arguments)
    assert (result.exit_code, len(result.stderr.splitlines()), result.stdout) == (2, 1, ""), result.output


def test_bad_settings_are_one_line_and_exit_code_2(shopbus: Shopbus) -> None:
    result = shopbus("send", "webhook", "orders/create", PORT="eighty")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "PORT" in result.stderr


def test_without_a_secret_its_sources_are_named(shopbus: Shopbus) -> None:
    result = shopbus("send", "webhook", "orders/create", SHOPIFY_API_SECRET=None)
    assert result.exit_code == 2
    assert result.stderr.startswith("shopbus: no SHOPIFY_API_SECRET: ")


def test_the_secret_of_a_local_run_is_found(shopbus: Shopbus, receiver: JobApi, tmp_path: Path) -> None:
    (tmp_path / ".shopbus").mkdir()
    (tmp_path / ".shopbus" / "secrets.env").write_text("SHOPIFY_API_SECRET=made-here\n")
    result = shopbus("send", "webhook", "orders/create", "--url", receiver.url, SHOPIFY_API_SECRET=None)
    assert result.exit_code == 0


def test_nobody_listening_is_said_at_once(shopbus: Shopbus) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        result = shopbus("send", "webhook", "orders/create", "--count", "1000", PORT=port)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert f"nothing listens at http://127.0.0.1:{port}" in result.stderr


async def test_ctrl_c_sums_up_what_was_sent(shopbus: Shopbus, receiver: JobApi) -> None:
    arguments = ("orders/create", "--count", "100000", "--rate", "50", "--json", "--url", receiver.url)
    with shopbus.started("send", "webhook", *arguments) as process:
        await poll(lambda: len(receiver.calls) > 3, within=30)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    summary = json.loads(output)
    assert (process.returncode, errors) == (130, b"")
    assert summary["interrupted"]
    assert 0 < summary["accepted"] < 100_000


@pytest.mark.parametrize("arguments", [(), ("jobs",), ("send",), ("--help",), ("send", "webhook", "--help")])
def test_help_is_printed_where_it_is_looked_for(shopbus: Shopbus, arguments: tuple[str, ...]) -> None:
    result = shopbus(*arguments)
    assert result.exit_code == 0
    assert "Usage: " in result.stdout


def test_an_unknown_service_is_refused(shopbus: Shopbus) -> None:
    result = shopbus("serve", "everything")
    assert (result.exit_code, result.stderr) == (
        2,
        "shopbus: no service is called 'everything': there are auth, webhooks, ingest, worker\n",
    )


def test_migrate_needs_a_database(shopbus: Shopbus) -> None:
    result = shopbus("migrate")
    assert result.exit_code == 2
    assert "DATABASE_URL is not set" in result.stderr
