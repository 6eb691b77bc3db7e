"""Jobs as the worker's API tells them, for tests of what the command line makes of them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.unit.shopbus_cli import Call

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
ID = "019aa3c0-7e55-7000-8000-0123456789ab"


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat()


def job(number: int = 0, **changes: Any) -> dict[str, Any]:
    attempt = {
        "started_at": at(0.1),
        "finished_at": at(0.35),
        "error": None,
        "route": "postgres",
        "outcome": "completed",
    }
    return {
        "id": ID[:-4] + f"{number:04x}",
        "type": "webhook.orders.create",
        "shop": "sandbox-001.myshopify.com",
        "status": "completed",
        "attempts": [attempt],
        "created_at": at(0),
        "finished_at": at(0.4),
        "lane": "default",
        "outcome": "completed",
        "handler": "keep_order",
        "tries": 1,
        "reason": None,
        "next_attempt_at": None,
        "source": "webhooks",
        "correlation_id": "event-1",
        **changes,
    }


def pages(jobs: list[dict[str, Any]], size: int) -> Callable[[Call], tuple[int, Any]]:
    """Answers like the server: at most `size` a page, and the cursor of the next."""

    def answer(call: Call) -> tuple[int, Any]:
        start = int(call.query.get("cursor", 0))
        end = start + min(size, int(call.query["limit"]))
        return 200, {"jobs": jobs[start:end], "next": str(end) if end < len(jobs) else None}

    return answer
