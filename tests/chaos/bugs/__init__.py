"""Known ways to get the protocol wrong: a test build puts one of them into a process, and the checker has to see it."""

from tests.chaos.bugs.bug import Bug
from tests.chaos.bugs.consuming import CONSUMING
from tests.chaos.bugs.ending import ENDING
from tests.chaos.bugs.producing import PRODUCING

BUGS: dict[str, Bug] = {bug.name: bug for bug in (*PRODUCING, *CONSUMING, *ENDING)}
