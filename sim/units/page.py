"""The page of units and commands, docs/units.md: what each says of itself, as two tables."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from ..engine.commands import COMMANDS, OPCODES, PROCESSES, Command
from .machine import Machine
from .unit import Unit


def render_units(machine: Machine) -> str:
    """Return every unit of an engine as a table in Markdown; sizes are those of this engine.

    Parameters
    ----------
    machine : Machine
        Units of one engine.
    """
    headings = ("unit", "what it is", "commands", "memories, bits x words", "loaded, bits x words", "probes")
    return _table(headings, map(_unit_row, machine.units.values()))


def render_commands(machine: Machine) -> str:
    """Return every command as a table in Markdown: who gives it, who takes it, and its fields.

    Parameters
    ----------
    machine : Machine
        Units of one engine.
    """
    headings = ("opcode", "command", "what it does", "processes", "unit", "fields, bits")
    return _table(headings, (_command_row(machine, command) for command in COMMANDS))


def _unit_row(unit: Unit) -> tuple[str, ...]:
    memories, loaded = (
        ", ".join(f"{name} {memory.width:,} x {memory.depth:,}" for name, memory in held.items())
        for held in (unit.memories, unit.load_memories)
    )
    commands, probes = (command.name for command in unit.commands), (probe.name for probe in unit.probes())
    return f"`{unit.name}`", _summary(type(unit)), ", ".join(commands), memories, loaded, ", ".join(probes)


def _command_row(machine: Machine, command: type[Command]) -> tuple[str, ...]:
    processes = [process.name for process in PROCESSES if command in (*process.issued, *process.own)]
    unit = machine.takers.get(command)
    fields = (f"{name} {'±' if bits.signed else ''}{bits.width}" for name, bits in command.layout().items())
    taker = f"`{unit.name}`" if unit else "its sequencer"
    return str(OPCODES[command]), command.name, _summary(command), ", ".join(processes), taker, ", ".join(fields)


def _summary(described: type) -> str:
    return (inspect.getdoc(described) or "").split("\n\n")[0].replace("\n", " ")


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
