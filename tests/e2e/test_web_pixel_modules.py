"""The pixel's modules by their own tests, and what Shopify asks of an extension."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

EXTENSION = Path(__file__).parents[2] / "extensions" / "web-pixel"
MODULES = sorted((EXTENSION / "src").glob("*.js"))
BUNDLE_LIMIT = 128_000  # bytes, of what Shopify takes


def test_the_tests_of_its_modules_pass(node_program: Path) -> None:
    ran = subprocess.run(
        [node_program, "--test"], cwd=EXTENSION, capture_output=True, text=True, check=False, timeout=100
    )
    assert ran.returncode == 0, ran.stdout
    passed = re.search(r"^\S+ pass (\d+)$", ran.stdout, re.MULTILINE)
    assert passed is not None
    assert int(passed[1]) >= 79


def test_it_is_described_as_shopify_wants_it() -> None:
    described = tomllib.loads((EXTENSION / "shopify.extension.toml").read_text())
    assert (described["type"], described["runtime_context"]) == ("web_pixel_extension", "strict")
    assert described["customer_privacy"] == {
        "analytics": True,
        "marketing": False,
        "preferences": False,
        "sale_of_data": "disabled",
    }
    assert set(described["settings"]["fields"]) == {"accountID", "endpoint"}
    assert {field["type"] for field in described["settings"]["fields"].values()} == {"single_line_text_field"}


def test_its_only_dependency_is_pinned_and_it_fits_a_bundle() -> None:
    manifest = json.loads((EXTENSION / "package.json").read_text())
    assert list(manifest["dependencies"]) == ["@shopify/web-pixels-extension"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in manifest["dependencies"].values())
    assert (EXTENSION / manifest["main"]).is_file()
    assert sum(module.stat().st_size for module in MODULES) < BUNDLE_LIMIT


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_a_module_uses_nothing_that_a_worker_of_shopify_lacks(module: Path) -> None:
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", module.read_text(), flags=re.DOTALL)
    assert not re.search(r"\b(window|document|XMLHttpRequest|importScripts|eval|localStorage\[)\b", text)
