"""`shopbus privacy` against a scripted API, and its judgement of receipts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from libs.common.privacy.keys import PrivacyKeys
from tests.unit.shopbus_cli import ENV, JobApi, Shopbus, job_api

ID = "01a21f90-4a2a-7000-99af-6a745c6779ff"
KEYS = PrivacyKeys(SecretStr(ENV["SERVICE_KEY"]))
FACTS = {
    "case": ID, "kind": "customer_redact", "outcome": "erased", "finished_at": "2026-11-28T00:31:22Z",
    "shop": KEYS.shop("a.myshopify.com").hex(), "subject": KEYS.customer("a.myshopify.com", "customer", "7").hex(),
}  # fmt: skip
CASE: dict[str, Any] = {
    "id": ID, "kind": "customer_redact", "status": "open", "shop": "a.myshopify.com", "request_id": None,
    "requested_at": "2026-11-28T00:31:19Z", "opened_at": "2026-11-28T00:31:19Z", "due_at": "2099-12-28T00:31:19Z",
    "ready_at": None, "ended_at": None, "reason": None, "repeats": None, "receipt": None,
    "steps": [
        {"service": "auth", "asked_at": "x", "answered_at": "x", "rows": {"auth.messages": 1200}},
        {"service": "webhooks", "asked_at": "x", "answered_at": None, "rows": None},
        {"service": "worker", "asked_at": None, "answered_at": None, "rows": None},
    ],
}  # fmt: skip


@pytest.fixture
def shopbus() -> Shopbus:
    return Shopbus()


@pytest.fixture
def api() -> Iterator[JobApi]:
    with job_api() as served:
        yield served


def receipt(tmp_path: Path, **changes: object) -> str:
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps({**KEYS.sign(FACTS), **changes}))
    return str(file)


def test_ls_prints_a_line_a_case_with_the_time_that_is_left(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = lambda _: (200, {"cases": [CASE, {**CASE, "shop": None, "ended_at": "x"}], "next": None})
    result = shopbus("privacy", "ls", "--status", "open", "--url", api.url)
    _, first, second = (line.split("\t") for line in result.stdout.splitlines())
    assert first[:4] == [ID, "customer_redact", "a", "open"]
    assert first[5].endswith("days left")
    assert (second[2], second[5]) == ("(erased)", "-")
    assert api.calls[0].query["status"] == "open"


def test_show_says_which_service_has_not_answered(shopbus: Shopbus, api: JobApi) -> None:
    api.answer = lambda _: (200, CASE)
    lines = shopbus("privacy", "show", ID, "--url", api.url).stdout.splitlines()
    assert lines[-3:] == ["auth\tanswered\tauth.messages 1,200", "webhooks\tasked\t-", "worker\twaits\t-"]


def test_export_writes_a_file_for_the_owner_alone_and_never_over_another(
    shopbus: Shopbus, api: JobApi, elsewhere: Path
) -> None:
    api.answer = lambda _: (200, b"a zip")
    assert shopbus("privacy", "export", ID, "--url", api.url).exit_code == 0
    file = elsewhere / f"{ID}.zip"
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"a zip", 0o600)
    assert shopbus("privacy", "export", ID, "--url", api.url).exit_code == 2


def test_export_says_why_there_is_no_file(shopbus: Shopbus, api: JobApi, elsewhere: Path) -> None:
    api.answer = lambda _: (409, {"detail": "the case has no file"})
    result = shopbus("privacy", "export", ID, "--url", api.url)
    assert (result.exit_code, result.stderr) == (1, "shopbus: the case has no file\n")
    assert not (elsewhere / f"{ID}.zip").exists()


def test_a_genuine_receipt_is_told_with_what_it_is_about(shopbus: Shopbus, tmp_path: Path) -> None:
    file = receipt(tmp_path)
    about = ("--shop", "a.myshopify.com", "--customer", "7")
    for arguments in ((file,), (file, *about), (file, "--key", KEYS.public)):
        result = shopbus("privacy", "verify", *arguments)
        assert (result.exit_code, result.stdout[:8]) == (0, "genuine:")


def test_a_receipt_that_was_changed_or_is_about_others_is_not(shopbus: Shopbus, tmp_path: Path) -> None:
    assert shopbus("privacy", "verify", receipt(tmp_path, outcome="superseded")).exit_code == 1
    file = receipt(tmp_path)
    for about in (("--shop", "b.myshopify.com"), ("--shop", "a.myshopify.com", "--customer", "8")):
        assert shopbus("privacy", "verify", file, *about).exit_code == 1
    assert shopbus("privacy", "verify", file, "--customer", "7").exit_code == 2


def test_the_public_key_can_be_shown_without_a_server(shopbus: Shopbus) -> None:
    assert shopbus("privacy", "key").stdout.strip() == KEYS.public
