"""The state folder of `shopbus run`: secrets made once, and a lock that keeps a second run out."""

import fcntl
import os
import socket
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from secrets import token_bytes, token_hex

from services.cli.errors import BadInput, FolderTaken, PortTaken

_MADE: Mapping[str, Callable[[], str]] = {
    "SHOPIFY_API_KEY": lambda: token_hex(16),
    "SHOPIFY_API_SECRET": lambda: token_hex(32),
    "OPS_TOKEN": lambda: token_hex(24),
    "SERVICE_KEY": lambda: token_hex(32),
    "TOKEN_KEYS": lambda: urlsafe_b64encode(token_bytes(32)).decode(),
}
_HEADING = "# Made by `shopbus run` for this machine only. The environment and .env win over this file."


def secrets_file(folder: Path) -> Path:
    return folder / "secrets.env"


def open_folder(folder: Path) -> None:
    """Makes the folder, for its owner only; one that exists keeps its permissions."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"cannot make the folder {folder} ({error.strerror}): set STATE_DIR to another"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(f"{folder} belongs to somebody else: set STATE_DIR to another folder")


def make_secrets(folder: Path) -> list[str]:
    """Makes what is missing in the secrets file and leaves the rest alone; returns the names of the new."""
    path = secrets_file(folder)
    lines = path.read_text().splitlines() if path.exists() else [_HEADING]
    known = {name.strip() for name, _, value in (line.partition("=") for line in lines) if value.strip()}
    missing = [name for name in _MADE if name not in known]
    if missing:
        lines += [f"{name}={_MADE[name]()}" for name in missing]
        _write_private(path, "\n".join([*lines, ""]))
    return missing


def _write_private(path: Path, content: str) -> None:
    """Replaces a file at once, readable by its owner only from its first moment on."""
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)


def holder(folder: Path) -> str | None:
    """The process that runs shopbus on this folder, or None."""
    try:
        with (folder / "lock").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except PermissionError:
        return "of another user"
    except BlockingIOError:
        return (folder / "lock").read_text().strip() or "unknown"
    return None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder against a second run; the kernel lets go of the lock when this process dies."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
            raise FolderTaken(
                f"{folder} is in use by another `shopbus run` (process {owner}): "
                "stop it first, or set STATE_DIR to another folder"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def free_port(host: str, port: int) -> int:
    """The port if nobody listens on it, or any free one for 0; raises `PortTaken` otherwise."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise PortTaken(
                f"cannot listen on {host}:{port} ({error.strerror}): set PORT to a free one"
            ) from None
        return int(probe.getsockname()[1])
