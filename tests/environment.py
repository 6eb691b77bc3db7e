"""Keeps the developer's environment out of the tests."""

import os
from typing import Protocol, TypeVar

from libs.common.settings import CommonSettings

S = TypeVar("S", bound=CommonSettings)

# What programs need to run at all. Everything else is forgotten: whatever a setting is called, a test that wants it
# sets it itself.
_KEPT = {
    "CHAOS_REPORT",
    "CI",
    "COLUMNS",
    "DOCKER_HOST",
    "FORCE_COLOR",
    "HOME",
    "LANG",
    "LOGNAME",
    "NO_COLOR",
    "PATH",
    "SEED",
    "SHELL",
    "SSL_CERT_FILE",
    "TERM",
    "TMPDIR",
    "TZ",
    "USER",
    "VIRTUAL_ENV",
    "http_proxy",
    "https_proxy",
    "no_proxy",
}
_KEPT_FAMILIES = ("COVERAGE", "HYPOTHESIS", "LC_", "PLAYWRIGHT_", "PYTEST", "PYTHON", "TEST_")


def forget_environment() -> str | None:
    """Empties the environment of this process; returns the one thing the suite accepts from it, `RABBITMQ_URL`."""
    broker = os.environ.get("RABBITMQ_URL")
    for name in list(os.environ):
        if name not in _KEPT and not name.startswith(_KEPT_FAMILIES):
            del os.environ[name]
    return broker or None


class MakeSettings(Protocol):
    """What the fixture `settings` gives: `settings(Settings, database_url=database)`."""

    def __call__(self, kind: type[S], **overrides: object) -> S:
        """Settings of this kind."""
