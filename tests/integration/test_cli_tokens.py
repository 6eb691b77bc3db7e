"""`shopbus keys` and `shopbus tokens` as an operator types them."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.auth_kit import OTHER_SHOP, SHOP, TOKEN_KEY, Running, running
from tests.integration.auth_processes import environment
from tests.integration.test_auth_upkeep import NEW_KEY, TABLE, old_app
from tests.waiting import poll


@pytest.fixture
async def auth(database: str) -> AsyncIterator[Running]:
    async with running(database) as one:
        await one.install()
        yield one


async def shopbus(auth: Running, *arguments: str, **changes: str) -> tuple[int, str, str]:
    """The exit code, what was printed, and what was complained of."""
    assert auth.settings.database_url is not None
    url = auth.settings.database_url.get_secret_value()
    answer = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "services.cli", *arguments], capture_output=True, text=True,
        env=environment(url, auth.shopify, 0) | changes, cwd=Path.cwd(), timeout=60, check=False,
    )  # fmt: skip
    return answer.returncode, answer.stdout, answer.stderr


async def test_a_key_is_replaced_step_by_step(auth: Running) -> None:
    both = f"{NEW_KEY},{TOKEN_KEY}"
    code, printed, _ = await shopbus(auth, "keys", "show", TOKEN_KEYS=both)
    assert (code, [line.split("\t")[2] for line in printed.splitlines()]) == (0, ["0 sessions", "1 sessions"])
    assert await shopbus(auth, "keys", "rotate", TOKEN_KEYS=both) == (0, "1 sessions sealed anew\n", "")
    assert await shopbus(auth, "keys", "rotate", TOKEN_KEYS=both) == (0, "0 sessions sealed anew\n", "")
    assert (await shopbus(auth, "keys", "show", TOKEN_KEYS=NEW_KEY))[0] == 0


async def test_a_key_that_is_missing_is_said(auth: Running) -> None:
    code, printed, complaint = await shopbus(auth, "keys", "rotate", TOKEN_KEYS=NEW_KEY)
    assert (code, printed, len(complaint.splitlines())) == (1, "0 sessions sealed anew\n", 1)
    assert "TOKEN_KEYS" in complaint
    code, printed, _ = await shopbus(auth, "keys", "show", TOKEN_KEYS=NEW_KEY)
    assert (code, printed.splitlines()[-1].split("\t")[0]) == (1, "missing")


async def test_tokens_of_an_older_app_are_taken_in_and_then_expire(auth: Running) -> None:
    await old_app(auth, (OTHER_SHOP, False, "shpat_plain", None), (SHOP, False, "shpat_known", None))
    table = ("tokens", "import", TABLE)
    assert (await shopbus(auth, *table, "--dry-run"))[1] == f"2 offline tokens in {TABLE}\n"
    assert (await shopbus(auth, *table))[1].startswith("1 taken in; 1 shops were known already.")

    found = "1 shops have a token without expiry\n"
    assert await shopbus(auth, "tokens", "migrate", "--dry-run") == (0, found, "")
    code, _, complaint = await shopbus(auth, "tokens", "migrate")
    assert (code, len(complaint.splitlines())) == (2, 1)
    auth.shopify.installed.add(OTHER_SHOP)
    code, printed, complaint = await shopbus(auth, "tokens", "migrate", "--yes")
    assert (code, printed, complaint) == (0, f"{found}1 have an expiring token now\n", "")
    assert (await auth.token(OTHER_SHOP))[1]["access_token"] == auth.shopify.shops[OTHER_SHOP].access


async def test_a_token_that_shopify_does_not_take_is_told_with_its_shop(auth: Running) -> None:
    await old_app(auth, (OTHER_SHOP, False, "shpat_plain", None))
    await shopbus(auth, "tokens", "import", TABLE)
    code, _, complaint = await shopbus(auth, "tokens", "migrate", "--yes")
    assert code == 1
    assert complaint.splitlines()[-1].startswith(f"{OTHER_SHOP}: Shopify refuses it")
    assert "shpat_plain" not in complaint


async def test_a_table_that_is_not_there_is_one_line(auth: Running) -> None:
    code, printed, complaint = await shopbus(auth, "tokens", "import", "nothing")
    assert (code, printed, len(complaint.splitlines())) == (1, "", 1)


async def test_without_a_database_it_is_said_what_is_missing(auth: Running) -> None:
    code, _, complaint = await shopbus(auth, "keys", "show", DATABASE_URL="")
    assert (code, len(complaint.splitlines())) == (2, 1)
    assert "DATABASE_URL" in complaint


async def test_what_the_commands_change_reaches_the_service_at_once(auth: Running) -> None:
    await old_app(auth, (OTHER_SHOP, False, "shpat_plain", None))
    assert (await auth.token(OTHER_SHOP))[0] == 404
    await shopbus(auth, "tokens", "import", TABLE)
    await poll(lambda: installed(auth))


async def installed(auth: Running) -> bool:
    return (await auth.token(OTHER_SHOP))[0] == 200
