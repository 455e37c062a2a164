"""The list of units: every command, loadable memory and probe belongs to one of them, and RTL is built for each."""

from collections import Counter

import pytest
from amaranth.hdl import Fragment
from amaranth.hdl import _ast as ast
from shapes import tiny_engine

from bivit.hw.datapath import COMPONENTS
from bivit.sim.engine.commands import ISSUED
from bivit.sim.engine.presets import ENGINES
from bivit.sim.units.machine import UNITS, Machine
from bivit.sim.units.norm import SignNormUnit
from bivit.sim.units.unit import Unit

ENGINE = tiny_engine()
MACHINE = Machine(ENGINE)


def test_every_command_has_one_unit() -> None:
    assert Counter(command for unit in MACHINE.units.values() for command in unit.commands) == Counter(ISSUED)


@pytest.mark.parametrize("kind", [kind for kind in UNITS.values() if kind(ENGINE).commands], ids=lambda kind: kind.name)
def test_a_unit_with_commands_says_what_they_do(kind: type[Unit]) -> None:
    assert {"uses", "reach", "writes"} <= {name for each in kind.__mro__[: -len(Unit.__mro__)] for name in vars(each)}


def test_every_loadable_memory_is_in_one_unit() -> None:
    assert Counter(name for unit in UNITS.values() for name in unit.loadable) == Counter(list(ENGINE.load_memories))


def test_probes_have_names_of_their_own() -> None:
    names = [probe.name for probe in MACHINE.probes]
    assert len(names) == len(set(names))


def test_every_unit_of_the_datapath_is_built() -> None:
    assert set(COMPONENTS) == {unit for unit in UNITS.values() if unit.parent == "datapath"}


def test_a_unit_is_found_by_its_class() -> None:
    assert MACHINE[SignNormUnit] == SignNormUnit(ENGINE)


def memories_of(fragment: Fragment, found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Width and depth of every memory below `fragment`."""
    for sub, *_ in fragment.subfragments:
        if hasattr(sub, "_data"):
            found.append((ast.Shape.cast(sub._data.shape).width, sub._data.depth))
        memories_of(sub, found)
    return found


@pytest.mark.parametrize("kind", COMPONENTS)
@pytest.mark.parametrize("engine", [ENGINE, ENGINES["digits"]])
def test_the_described_memories_are_those_of_the_rtl(kind: type, engine: object) -> None:
    """Words, and how many; delay lines and the copies of a table, one a lane, are the RTL's own."""
    unit = kind(engine)
    built = Counter(memories_of(Fragment.get(COMPONENTS[kind](unit), None), []))
    described = Counter((memory.width, memory.depth) for memory in unit.memories.values())
    for memory in unit.load_memories.values():
        described[64 * memory.beats, 2 << max(1, (memory.depth - 1).bit_length())] += 1
    assert not described - built
