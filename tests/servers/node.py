"""Node, for the pixel's own tests: it is written in JavaScript."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.servers.apt import install, may_install

_OLDEST = 18


def installed_node() -> Path | None:
    """Node of this computer, if it is new enough."""
    found = next((path for name in ("node", "nodejs") if (path := shutil.which(name))), None)
    return Path(found) if found and _version(found) >= _OLDEST else None


def install_with_apt() -> None:
    """Installs Node from the distribution where we may."""
    if may_install():
        install("nodejs", there=lambda: shutil.which("node") is not None)


def _version(program: str) -> int:
    printed = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"v(\d+)\.", printed)
    return int(found[1]) if found else 0
