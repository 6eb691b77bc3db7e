"""The rules of the house that no linter knows, each as a function from a tree of files to what breaks it there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

_LONGEST_FILE = 300
_NOT_OURS = {".git", ".venv", ".shopbus", ".hypothesis", "__pycache__", "node_modules"}
_METRIC_KINDS = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}

_SQL = re.compile(
    r"\s*(--[^\n]*\n\s*)*"
    r"(SELECT|INSERT INTO|UPDATE \w|DELETE FROM|WITH \w+ AS|CREATE|ALTER|DROP|TRUNCATE|LISTEN|NOTIFY|LOCK|SET) "
)
_LIVENESS = "SELECT 1"

# Where SQL stands beside the one thing that it is for. Everything else belongs in a store.
_HOMES_OF_SQL = re.compile(
    r"(^|/)(\w+_)?store\.py$"
    r"|^libs/common/(migrate|embedded)\.py$"
    r"|^libs/common/runtime/(slots|schedules)\.py$"
    r"|^services/cli/doctor_(database|pooler)\.py$"
    r"|^services/worker/handlers/"  # written as users of shopbus write theirs
)

_REGISTRY = re.compile(
    "|".join(
        (
            r"pypi\." + "org",
            "python" + "hosted",
            r"npmjs\." + "org",
            r"yarnpkg\." + "com",
            r"docker\." + "io",
            r"ghcr\." + "io",
            r"quay\." + "io",
            "--(extra-)?" + "index-url",
            "--find" + "-links",
            "file" + "://",
        )
    )
)


def sources(root: Path) -> Iterator[Path]:
    """The Python files of libs and services."""
    for package in ("libs", "services"):
        yield from sorted((root / package).rglob("*.py"))


def too_long(root: Path) -> list[str]:
    """Files that nobody reads to their end."""
    lengths = {path: len(path.read_text().splitlines()) for path in sources(root)}
    return [_at(root, path, length) for path, length in lengths.items() if length > _LONGEST_FILE]


def undescribed_services(root: Path) -> list[str]:
    """Services whose `__init__.py` does not say what they are for."""
    packages = sorted((root / "services").glob("*/__init__.py"))
    return [_at(root, path, 1) for path in packages if not ast.get_docstring(ast.parse(path.read_text()))]


def homeless_sql(root: Path) -> list[str]:
    """Statements outside the files where one looks for them."""
    return [
        _at(root, path, node.lineno)
        for path in sources(root)
        if not _HOMES_OF_SQL.search(path.relative_to(root).as_posix())
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and _is_sql(node) and node.value != _LIVENESS
    ]


def assembled_sql(root: Path) -> list[str]:
    """Statements put together from text, where a value could slip in."""
    return [
        _at(root, path, node.lineno)
        for path in sources(root)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.expr) and _assembles_sql(node)
    ]


def scattered_metrics(root: Path) -> list[str]:
    """Metrics that are made anywhere but in a `metrics.py`."""
    return [
        _at(root, path, call.lineno)
        for path in sources(root)
        if path.name != "metrics.py"
        for call in _metrics_made(ast.parse(path.read_text()))
    ]


def named_registries(root: Path) -> list[str]:
    """Files that name where packages or images come from: that is each machine's own affair."""
    return [
        _at(root, path, number)
        for path in _committed(root)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if _REGISTRY.search(line)
    ]


def _committed(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if path.is_file() and not any(part in _NOT_OURS or part.endswith("_cache") for part in parts):
            yield path


def _is_sql(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(_SQL.match(node.value))


def _assembles_sql(node: ast.expr) -> bool:
    match node:
        case ast.JoinedStr(values=[first, *_]):
            return _is_sql(first)
        case ast.BinOp(left=left, op=ast.Add() | ast.Mod()):
            return _is_sql(left) or _assembles_sql(left)
        case ast.Call(func=ast.Attribute(value=text, attr="format" | "join" | "replace")):
            return _is_sql(text)
    return False


def _metrics_made(tree: ast.Module) -> Iterator[ast.Call]:
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {
        alias.asname or alias.name
        for node in imports
        if node.module == "prometheus_client"
        for alias in node.names
        if alias.name in _METRIC_KINDS
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node


def _at(root: Path, path: Path, line: int) -> str:
    return f"{path.relative_to(root).as_posix()}:{line}"
