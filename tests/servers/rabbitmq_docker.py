"""RabbitMQ from a container, where the computer has Docker but no `rabbitmq-server`."""

import os
import secrets
import shutil
import subprocess

from tests.servers.machine import output_of, start_keeper
from tests.servers.ports import free_port

_LAST_WILL = """
docker rm --force --volumes "$1"
"""


def docker_answers() -> bool:
    """Whether there is a Docker that may be used."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def pull_image() -> None:
    """Fetches the image, unless it is there."""
    if (
        subprocess.run(["docker", "image", "inspect", _image()], capture_output=True, check=False).returncode
        != 0
    ):
        output_of(["docker", "pull", _image()], within=900)


def _image() -> str:
    return os.environ.get("TEST_RABBITMQ_IMAGE", "rabbitmq:4")


class DockerMachine:
    """A container of the official image; `TEST_RABBITMQ_IMAGE` names another version."""

    def __init__(self) -> None:
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self._name = f"shopbus-test-{secrets.token_hex(4)}"
        self._created = False
        self._keeper = start_keeper(_LAST_WILL, self._name)

    @property
    def running(self) -> bool:
        """Whether the node's process is there."""
        state = "{{.State.Running}}"
        return (
            self._created
            and output_of(["docker", "inspect", "--format", state, self._name]).strip() == "true"
        )

    def launch(self) -> None:
        """Starts the container, with the data of its last life."""
        if self._created:
            output_of(["docker", "start", self._name])
            return
        account = ("--env", "RABBITMQ_DEFAULT_USER=tests", "--env", f"RABBITMQ_DEFAULT_PASS={self.password}")
        place = ("--name", self._name, "--hostname", self._name, "--publish", f"127.0.0.1:{self.port}:5672")
        output_of(["docker", "run", "--detach", *place, *account, _image()])
        self._created = True

    def stop(self) -> None:
        """Ends the node in order."""
        output_of(["docker", "stop", "--time", "50", self._name])

    def kill(self) -> None:
        """Ends the container with SIGKILL, if it runs."""
        if self.running:
            output_of(["docker", "kill", self._name])

    def freeze(self) -> None:
        """Stops the node's clock."""
        output_of(["docker", "pause", self._name])

    def thaw(self) -> None:
        """Lets it go on."""
        output_of(["docker", "unpause", self._name])

    def erase(self) -> None:
        """Removes the data of a node that does not run."""
        output_of(["docker", "rm", "--force", "--volumes", self._name])
        self._created = False

    def evaluate(self, expression: str) -> str:
        """What an Erlang expression gives inside the node; raises `RuntimeError` where it fails."""
        command = ["docker", "exec", self._name, "rabbitmqctl", "--quiet", "eval", f"{expression}."]
        return output_of(command).strip()

    def said(self) -> str:
        """What it printed at its start."""
        return output_of(["docker", "logs", "--tail", "50", self._name])

    def close(self) -> None:
        """Ends the node and removes everything."""
        if self._created:
            self.erase()
        self._keeper.kill()
        self._keeper.communicate()
