"""Operations made up for tests of the scheduler and its check."""

from bivit.sim.engine.commands import Table
from bivit.sim.engine.timing import Activity
from bivit.sim.program.graph import Task, Value, Where
from bivit.sim.program.place import Access, Op, Slot
from bivit.sim.units.uses import Uses


def op(unit, window, *, reads=(), writes=(), busy=4, port=None):
    """An operation with one window, that reads and writes values ``slot:name`` or, for short, ``slot``."""

    def accesses(values):
        pairs = (value.partition(":") for value in values)
        return {"w": tuple(Access(Slot(slot, 0), Value(name)) for slot, _, name in pairs)} if values else {}

    return Op(
        task=Task(command=Table, where=Where(unit)),
        command=Table(param_addr=0),
        uses=Uses(unit, Activity(busy, {"w": window}), {"w": port} if port else {}),
        reads=accesses(reads),
        writes=accesses(writes),
    )
