"""Running `shopbus` in a test, against a scripted job API."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from typer.testing import CliRunner, Result

from services.cli.main import app

OPS_TOKEN = "ops-token-of-the-tests"
SECRET = "webhook-secret-of-the-tests, long enough"
ENV = {
    "OPS_TOKEN": OPS_TOKEN,
    "SHOPIFY_API_KEY": "key-of-the-tests",
    "SHOPIFY_API_SECRET": SECRET,
    "SERVICE_KEY": "service-key-of-the-tests, long enough",
    "TOKEN_KEYS": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}


class Shopbus:
    """The command line, in the test's own empty folder; the suite has forgotten the developer's environment."""

    def __call__(self, *arguments: str, typed: str | None = None, **env: str | None) -> Result:
        return CliRunner(env={**ENV, **env}).invoke(app, arguments, input=typed, prog_name="shopbus")

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """The command as a process of its own; killed if it outlives the test."""
        command = [sys.executable, "-m", "services.cli", *arguments]
        env = {**os.environ, "PYTHONPATH": str(_ROOT), **ENV}
        with subprocess.Popen(command, env=env, stdout=PIPE, stderr=PIPE) as process:
            try:
                yield process
            finally:
                process.kill()


_ROOT = Path(__file__).parents[2]


@dataclass
class Call:
    """One request to the job API."""

    method: str
    path: str
    query: dict[str, str]
    authorization: str | None
    body: bytes


@dataclass
class JobApi:
    """A job API whose answers are set by the test."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    answer: Callable[[Call], tuple[int, Any]] = lambda _: (404, {"detail": "nothing here"})


@contextmanager
def job_api() -> Iterator[JobApi]:
    api = JobApi()

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            call = Call(
                self.command, parts.path, dict(parse_qsl(parts.query)), self.headers["Authorization"], body
            )
            api.calls.append(call)
            status, body = api.answer(call)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = reply  # noqa: N815 - the names that BaseHTTPRequestHandler looks for

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
