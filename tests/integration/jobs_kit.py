"""The job API, asked over HTTP as people ask it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import asyncpg
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from libs.common.clock import Clock, SystemClock
from libs.common.service import Service, build_app
from libs.common.web import require_ops
from services.worker.routes import routes
from services.worker.service import Books

TOKEN = "ops token of a test"
Json = dict[str, Any]


class JobsApi:
    """The API, asked with the right token."""

    def __init__(self, client: "TestClient[Any, Any]") -> None:
        self._client = client

    async def get(self, path: str, answers: int = 200, /, **query: str | int) -> Json:
        return await self._ask("GET", f"{path}?{urlencode(query)}" if query else path, answers)

    async def post(self, path: str, answers: int = 202, /, body: object = None) -> Json:
        return await self._ask("POST", path, answers, json=body)

    async def job(self, message_id: UUID) -> Json:
        return await self.get(f"/api/jobs/{message_id}")

    async def ids(self, **query: str | int) -> list[UUID]:
        """The ids of one page."""
        return [UUID(job["id"]) for job in (await self.get("/api/jobs", **query))["jobs"]]

    async def all_ids(self, **query: str | int) -> list[UUID]:
        """The ids of all pages, each asked for with the cursor of the one before."""
        found: list[UUID] = []
        while True:
            page = await self.get("/api/jobs", **query)
            found += [UUID(job["id"]) for job in page["jobs"]]
            if page["next"] is None:
                return found
            query["cursor"] = page["next"]

    async def status(self, method: str, path: str, token: str = TOKEN) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self._client.request(method, path, headers=headers) as response:
            return response.status

    async def _ask(self, method: str, path: str, answers: int, **options: Any) -> Json:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self._client.request(method, path, headers=headers, **options) as response:
            answer: Json = await response.json(content_type=None)
            assert response.status == answers, answer
            problem = "application/problem+json" if answers >= 400 else "application/json"
            assert response.content_type == problem
            return answer


@asynccontextmanager
async def open_jobs_api(
    pool: asyncpg.Pool, clock: Clock | None = None, timeout: float = 10.0
) -> AsyncIterator[JobsApi]:
    books = Books(pool, clock or SystemClock(), timeout=timeout)
    app = build_app([Service("worker", routes(books, require_ops(SecretStr(TOKEN))))])
    async with TestClient(TestServer(app)) as client:
        yield JobsApi(client)
