"""Everything that a chaos run can do to the world."""

from tests.chaos.faults.broker import BROKER
from tests.chaos.faults.fault import Fault
from tests.chaos.faults.handlers import HANDLERS
from tests.chaos.faults.postgres import POSTGRES
from tests.chaos.faults.processes import PROCESSES
from tests.chaos.faults.steps import STEPS
from tests.chaos.faults.wires import WIRES

FAULTS: dict[str, Fault] = {
    fault.name: fault for fault in (*BROKER, *WIRES, *POSTGRES, *PROCESSES, *STEPS, *HANDLERS)
}
