"""A worker that is killed while it cancels what waits for a dead install; another one finishes that."""

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from services.worker import sweep
from tests.integration.auth_kit import running
from tests.integration.sweeping_worker import NEEDING
from tests.integration.test_auth_uninstall import grow_old, now
from tests.integration.test_uninstall_cancels import SWEPT, outcomes, send, shopify, uninstall, working
from tests.waiting import poll

ROOT = Path(__file__).parents[2]
CANCELLED = "SELECT count(*) FROM worker.history WHERE outcome = 'cancelled'"
PUT_ASIDE = """
WITH gone AS (DELETE FROM webhooks.outbox WHERE destination = 'worker' RETURNING id, lane)
INSERT INTO worker.scheduled (source, message_id, lane, due_at, reason)
SELECT 'webhooks', id, lane, now() + interval '1 day', 'later' FROM gone
"""


async def die_sweeping(database: str) -> int:
    """Runs a worker until it is killed at the point "some cancelled, not all"."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.sweeping_worker",
        env={"TEST_DATABASE": database, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        return await asyncio.wait_for(process.wait(), 60)
    finally:
        if process.returncode is None:
            process.kill()


async def test_a_sweep_that_was_cut_short_is_made_anew(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_AGAIN_SECONDS", 0.5)
    async with running(database) as auth, shopify(auth) as webhooks:
        await auth.install()
        await grow_old(auth, minutes=5)
        await send(webhooks, NEEDING, now() - timedelta(minutes=1), times=25)
        await auth.pool.execute(PUT_ASIDE)
        await uninstall(auth, webhooks, now())
        assert await die_sweeping(database) == -signal.SIGKILL
        assert 0 < await auth.pool.fetchval(CANCELLED) < 25
        async with working(auth):
            assert await poll(lambda: auth.pool.fetchval(SWEPT), within=30) == "completed"
        assert len(await outcomes(auth)) == await auth.pool.fetchval(CANCELLED) == 25
