"""Imports point one way: the contracts in pyproject.toml hold, and each notices when it is broken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.rules import REPOSITORY

SKELETON = (
    "libs/__init__.py",
    "libs/common/__init__.py",
    "libs/common/clock.py",
    "services/__init__.py",
    *(f"services/{name}/__init__.py" for name in ("auth", "cli", "ingest", "sandbox", "webhooks", "worker")),
    *(
        f"services/{name}/{part}.py"
        for name in ("auth", "ingest", "webhooks", "worker")
        for part in ("app", "routes", "service", "store")
    ),
)

BREACHES = {
    "libs knows a service": ("libs/common/clock.py", "import services.webhooks.service"),
    "a service knows another": ("services/webhooks/service.py", "import services.worker.store"),
    "the sandbox knows a service": ("services/sandbox/__init__.py", "import services.webhooks.store"),
    "a service knows the command line": ("services/worker/app.py", "import services.cli"),
    "the store knows the service": ("services/worker/store.py", "import services.worker.service"),
    "the service knows the routes": ("services/webhooks/service.py", "import services.webhooks.routes"),
    "the service speaks HTTP": ("services/webhooks/service.py", "import aiohttp"),
}


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as run; run()",
        "--no-cache",
    ]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONSAFEPATH": "1"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_no_contract_is_broken() -> None:
    checked = lint_imports(REPOSITORY)
    assert checked.returncode == 0, checked.stdout


@pytest.fixture
def skeleton(tmp_path: Path) -> Path:
    """A repository with the same contracts and next to nothing in it."""
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    for name in SKELETON:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_repository_without_breaches_passes(skeleton: Path) -> None:
    (skeleton / "services/worker/app.py").write_text("import services.worker.service, libs.common.clock\n")
    (skeleton / "services/cli/__init__.py").write_text("import services.worker.app, services.webhooks.app\n")
    checked = lint_imports(skeleton)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(("path", "line"), BREACHES.values(), ids=BREACHES)
def test_a_breach_is_found(skeleton: Path, path: str, line: str) -> None:
    (skeleton / path).write_text(line + "\n")
    checked = lint_imports(skeleton)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    assert "1 broken" in checked.stdout
