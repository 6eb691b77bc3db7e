"""`.env.example` names settings that exist, and keeps no secret."""

import re
from importlib import import_module

from libs.common.settings import CommonSettings
from tests.architecture.rules import REPOSITORY

ASSIGNMENT = re.compile(r"^(#?)([A-Z_]+)=(.*)$", re.MULTILINE)


def known_settings() -> set[str]:
    for path in sorted((REPOSITORY / "services").glob("*/config.py")):
        import_module(f"services.{path.parent.name}.config")
    kinds = [CommonSettings]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return {name.upper() for kind in kinds for name in kind.model_fields}


def test_every_name_is_a_setting() -> None:
    named = {name for _, name, _ in ASSIGNMENT.findall((REPOSITORY / ".env.example").read_text())}
    assert {"DATABASE_URL", "SHOPIFY_API_SECRET"} <= named
    assert named <= known_settings()


def test_what_is_not_commented_out_is_empty() -> None:
    lines = ASSIGNMENT.findall((REPOSITORY / ".env.example").read_text())
    assert [name for commented, name, value in lines if not commented and value] == []
