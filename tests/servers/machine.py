"""What a private RabbitMQ node runs on, and the commands that both kinds need."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

# Waits beside a server, in a session of its own: `read` fails when our process is gone, however it went.
_KEEPER = """
while read -r line; do :; done
"""


class Machine(Protocol):
    """A place where a node can be started and mistreated."""

    port: int
    password: str

    @property
    def running(self) -> bool:
        """Whether the node's process is there."""

    def launch(self) -> None:
        """Starts the node's process."""

    def stop(self) -> None:
        """Ends it in order."""

    def kill(self) -> None:
        """Ends it with SIGKILL, if it runs."""

    def freeze(self) -> None:
        """Stops its clock."""

    def thaw(self) -> None:
        """Lets it go on."""

    def erase(self) -> None:
        """Removes the data of a node that does not run."""

    def evaluate(self, expression: str) -> str:
        """What an Erlang expression gives inside the node; raises `RuntimeError` where it fails."""

    def said(self) -> str:
        """What it printed at its start."""

    def close(self) -> None:
        """Ends the node and removes everything."""


def output_of(
    command: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    *,
    told: str = "",
    within: float = 60,
) -> str:
    """What a command prints when it is told this; raises with its complaint if it fails, or after `within` seconds."""
    done = subprocess.run(
        command,
        env=environment,
        input=told,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr or done.stdout}")
    return done.stdout


def start_keeper(last_will: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Runs a piece of shell when our process has ended, unless the keeper is killed before."""
    return subprocess.Popen(
        ["sh", "-c", _KEEPER + last_will, "keeper", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
