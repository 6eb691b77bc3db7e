"""Programs that tests need, from the distribution, where we may install them."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.machine import output_of

# Keeps a package's own server from starting when it is installed, and is removed again.
_POLICY = Path("/usr/sbin/policy-rc.d")
_LOCK = Path(tempfile.gettempdir()) / "shopbus-test-apt.lock"


def may_install() -> bool:
    """Whether we are root on Debian or Ubuntu."""
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(package: str, *, there: Callable[[], bool]) -> None:
    """Installs a package without starting its services, unless another test process has meanwhile.

    Raises `RuntimeError` with what apt says where that fails.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _alone(), _no_services():
        for step in (["update"], ["install", "--yes", "--no-install-recommends", package]):
            if not there():
                output_of(["apt-get", "-o", "DPkg::Lock::Timeout=300", *step], environment, within=900)


@contextmanager
def _alone() -> Iterator[None]:
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _no_services() -> Iterator[None]:
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
