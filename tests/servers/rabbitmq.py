"""A private RabbitMQ node that tests may kill, freeze, starve and wipe."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self

import aio_pika

from tests.servers import erlang
from tests.servers.apt import may_install
from tests.servers.machine import Machine
from tests.servers.ports import accepts
from tests.servers.rabbitmq_docker import DockerMachine, docker_answers, pull_image
from tests.servers.rabbitmq_local import LocalMachine, install_with_apt, installed_scripts

_START_SECONDS = 180  # ten on a machine that has nothing else to do
_VHOSTS_AT_ONCE = 4  # with rabbitmqctl alone a question takes a second, whether it makes one or many
_NOT_ENOUGH_DISK = "900000000000000"


class RabbitNode:
    """One node with ports, data and a cookie of its own, on 127.0.0.1 only, gone when the tests are.

    The methods block; an async test that must go on meanwhile calls them through `asyncio.to_thread`.
    """

    def __init__(self, machine: Machine | None = None, *, parent: Path | None = None) -> None:
        """Without a machine, on what this computer offers; its data lies inside `parent`, or among temporary files."""
        self._machine = machine or machine_maker(parent)()
        self._fresh_vhosts: list[str] = []
        self._used_vhosts: list[str] = []
        self._taken_vhosts: set[str] = set()
        self._forbidden_vhosts: set[str] = set()
        self._frozen = False
        self._starved = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The default vhost."""
        return self.vhost_url("%2F")

    def vhost_url(self, vhost: str) -> str:
        """One vhost, as the node's only user."""
        return f"amqp://tests:{self._machine.password}@127.0.0.1:{self.port}/{vhost}"

    @property
    def port(self) -> int:
        """Where it listens for AMQP, over all restarts."""
        return self._machine.port

    @property
    def running(self) -> bool:
        """Whether the node's process is there, frozen or not."""
        return self._machine.running

    def start(self) -> None:
        """Starts the node and returns when it takes connections and makes quorum queues."""
        self._machine.launch()
        deadline = time.monotonic() + _START_SECONDS
        while not accepts(self.port):
            if not self.running or time.monotonic() > deadline:
                raise RuntimeError(f"RabbitMQ did not start:\n{self._machine.said()}")
            time.sleep(0.05)
        with ThreadPoolExecutor(1) as thread:  # the caller's own thread may be running an event loop
            thread.submit(asyncio.run, self._probe(deadline)).result()

    def stop(self) -> None:
        """Stops the node in order; its data stays."""
        self._machine.stop()

    def kill(self) -> None:
        """Ends the node with SIGKILL; its data stays as a power cut would leave it."""
        self._machine.kill()
        self._frozen = self._starved = False
        while accepts(self.port):
            time.sleep(0.01)

    def wipe(self) -> None:
        """Kills the node and removes its disk: the next start knows no queue, no message and no vhost."""
        self.kill()
        self._machine.erase()
        self._fresh_vhosts, self._used_vhosts, self._taken_vhosts = [], [], set()
        self._forbidden_vhosts = set()

    def freeze(self) -> None:
        """Stops the node's clock: connections stay open and nothing answers."""
        self._machine.freeze()
        self._frozen = True

    def thaw(self) -> None:
        """Lets a frozen node go on."""
        self._machine.thaw()
        self._frozen = False

    def version(self) -> str:
        """RabbitMQ's own."""
        (version,) = self._words(erlang.VERSION)
        return version

    def vhosts(self) -> set[str]:
        """The names of all there are."""
        return set(self._words(erlang.VHOSTS))

    def queues(self, vhost: str = "/") -> set[str]:
        """The names of a vhost's queues."""
        return set(self._words(erlang.QUEUES.format(vhost=vhost)))

    def queue(self, name: str, vhost: str = "/") -> str:
        """A queue's type and arguments, as Erlang writes them."""
        said = self._machine.evaluate(erlang.QUEUE.format(vhost=vhost, name=name))
        return said.replace('\\"', '"')

    def messages(self, vhost: str = "/") -> int:
        """How many messages a vhost's queues hold, with consumers or not; RabbitMQ counts them now and then."""
        return int(self._machine.evaluate(erlang.MESSAGES.format(vhost=vhost)))

    def connections(self) -> int:
        """How many clients' connections there are."""
        return int(self._machine.evaluate(erlang.CONNECTIONS))

    def raise_memory_alarm(self) -> None:
        """Blocks all publishers, until `clear_alarms`."""
        self._starved = True
        self._alarm("vm_memory_monitor:set_vm_memory_high_watermark(0.0000001)")

    def raise_disk_alarm(self) -> None:
        """Blocks all publishers, until `clear_alarms`."""
        self._starved = True
        self._alarm(f"rabbit_disk_monitor:set_disk_free_limit({_NOT_ENOUGH_DISK})")

    def _alarm(self, change: str) -> None:
        """The question after a change is answered once every connection has been told of it."""
        self._machine.evaluate(f"{change}, rabbit_alarm:get_alarms()")

    def clear_alarms(self) -> None:
        """Ends both alarms."""
        self._alarm(erlang.CLEAR_ALARMS)
        self._starved = False

    def delete_queue(self, name: str, vhost: str = "/") -> None:
        """Removes a queue with all that is in it."""
        self._machine.evaluate(erlang.DELETE_QUEUE.format(vhost=vhost, name=name))

    def delete_queues(self, vhost: str = "/") -> None:
        """Removes every queue of a vhost, with all that is in them."""
        self._machine.evaluate(erlang.DELETE_QUEUES.format(vhost=vhost))

    def suspend_queue(self, name: str, vhost: str = "/") -> None:
        """Lets a quorum queue answer nobody, as if it had no leader."""
        self._machine.evaluate(erlang.SUSPEND_QUEUE.format(vhost=vhost, name=name))

    def forbid(self, vhost: str = "/") -> None:
        """Takes every permission from the node's user; connections that are there feel it as they go on."""
        self._forbidden_vhosts.add(vhost)
        self._permit(vhost, configure="^$", write="^$", read="^$")

    def shut_out(self, vhost: str = "/") -> None:
        """Takes the vhost from the node's user: connections are closed, new ones refused, until `permit`."""
        self._forbidden_vhosts.add(vhost)
        self._machine.evaluate(erlang.SHUT_OUT.format(vhost=vhost))
        self.close_connections()

    def forbid_writing(self, vhost: str = "/") -> None:
        """Takes the permission to publish from the node's user."""
        self._forbidden_vhosts.add(vhost)
        self._permit(vhost, write="^$")

    def permit(self, vhost: str = "/") -> None:
        """Gives the user back what was taken."""
        self._permit(vhost)
        self._forbidden_vhosts.discard(vhost)

    def _permit(self, vhost: str, *, configure: str = ".*", write: str = ".*", read: str = ".*") -> None:
        permissions = {"configure": configure, "write": write, "read": read}
        self._machine.evaluate(erlang.PERMIT.format(vhost=vhost, **permissions))

    def close_connections(self) -> None:
        """Closes every client's connection, as an operator does before maintenance."""
        self._machine.evaluate(erlang.CLOSE_CONNECTIONS)

    def flush(self) -> None:
        """Makes a queue that was just declared survive a kill.

        RabbitMQ 3 answers up to three seconds before a new queue is on its disk; killed within them, it forgets the
        queue with the messages that it confirmed in it.
        """
        self._machine.evaluate(erlang.FLUSH)

    def take_vhost(self) -> str:
        """The name of a vhost that nobody has used."""
        if not self._fresh_vhosts:
            self._replace_vhosts()
        name = self._fresh_vhosts.pop()
        self._taken_vhosts.add(name)
        return name

    def make_vhost(self, name: str) -> None:
        """Makes a vhost again that a wipe took away."""
        self._machine.evaluate(erlang.REPLACE_VHOSTS.format(used="", fresh=_binaries([name])))

    def give_back_vhost(self, name: str) -> None:
        """Ends a vhost's use; it is deleted together with others, unless the node was wiped since."""
        if name in self._taken_vhosts:
            self._taken_vhosts.remove(name)
            self._used_vhosts.append(name)

    def heal(self) -> None:
        """Undoes what a test did: the node runs, answers and takes messages. Queues and vhosts stay gone."""
        if self._frozen:
            self.thaw()
        if not self.running:
            self.start()
        if self._starved:
            self.clear_alarms()
        for vhost in tuple(self._forbidden_vhosts):
            self.permit(vhost)

    def close(self) -> None:
        """Ends the node and removes all it left."""
        self._machine.close()

    def _replace_vhosts(self) -> None:
        fresh = [f"t{secrets.token_hex(4)}" for _ in range(_VHOSTS_AT_ONCE)]
        replace = erlang.REPLACE_VHOSTS.format(used=_binaries(self._used_vhosts), fresh=_binaries(fresh))
        self._machine.evaluate(f"{replace}, {erlang.FLUSH}")
        self._fresh_vhosts, self._used_vhosts = fresh, []

    def _words(self, expression: str) -> list[str]:
        return re.findall(r"[\w./-]+", self._machine.evaluate(expression))

    async def _probe(self, deadline: float) -> None:
        while True:
            try:
                await _declare_quorum_queue(self.url)
            except (OSError, TimeoutError, aio_pika.exceptions.AMQPError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)
            else:
                return


async def _declare_quorum_queue(url: str) -> None:
    async with asyncio.timeout(10), await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("probe", durable=True, arguments={"x-queue-type": "quorum"})
        await queue.delete(if_unused=False, if_empty=False)


def _binaries(names: list[str]) -> str:
    return ", ".join(f'<<"{name}">>' for name in names)


def machine_maker(parent: Path | None = None) -> Callable[[], Machine]:
    """What this computer offers, the quickest first; as root on Debian or Ubuntu it is installed."""
    scripts, problem = installed_scripts(), ""
    if scripts is None and may_install():
        try:
            scripts = install_with_apt()
        except RuntimeError as error:
            problem = f" Installing it failed: {error}"
    if scripts:
        return partial(LocalMachine, scripts, parent)
    if docker_answers():
        pull_image()
        return DockerMachine
    raise RuntimeError(
        "The tests need RabbitMQ: install rabbitmq-server, or start Docker, or run them as root on Debian or Ubuntu, "
        f"or set RABBITMQ_URL to a server that they may use.{problem}"
    )
