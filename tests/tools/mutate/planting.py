"""Writes many faults into one text of Verilog, of which the plusarg `mutant` chooses one when a simulation begins.

So one build serves hundreds of mutants. The writer's Verilog is so regular, a statement a line and an operator a
statement, that it is read line by line; and what is written back is checked by Verilator, which knows all of Verilog.
A value is chosen between two signals of the width that the right one has, so that neither changes the other's width or
sign.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bivit.cosim import scenario
from bivit.hw.verilog_top import ENGINE_TOP

from .faults import tokens
from .sites import Mutant, Unit, units

#: Holds the number of the mutant; 0 is none.
_PACKAGE = "package mutants;\n  integer number = 0;\nendpackage\n"
_READ = '  initial if (!$value$plusargs("mutant=%d", mutants::number)) mutants::number = 0;\n'

#: Time on this machine, in outcomes.
_SECONDS = re.compile(r'"seconds": [^,}]*')

#: A mutant with its number, from 1 on.
Numbered = tuple[int, Mutant]


def planted_text(verilog: str, mutants: Sequence[Mutant]) -> str:
    """The Verilog with all of the mutants in it, which have the numbers 1, 2 ... in their order."""
    by_line = defaultdict[tuple[str, int], list[Numbered]](list)
    for number, mutant in enumerate(mutants, 1):
        by_line[mutant.unit, mutant.place.number].append((number, mutant))
    for unit in units(verilog):
        here = {line: some for (name, line), some in by_line.items() if name == unit.name}
        if here or unit.name == ENGINE_TOP:
            verilog = verilog.replace("\n".join(unit.lines), _planted_unit(unit, here), 1)
    return _PACKAGE + verilog


def _planted_unit(unit: Unit, here: dict[int, list[Numbered]]) -> str:
    lines = list(unit.lines)
    for number, some in here.items():
        lines[number] = _planted_line(unit, lines[number], some)
        if any(mutant.text == "late" for _, mutant in some):
            lines[number - 1] = "\n".join(late_register(unit, some[0][1])[:3])
    if unit.name == ENGINE_TOP:
        lines[-1] = _READ + lines[-1]
    return "\n".join(lines)


def _planted_line(unit: Unit, line: str, some: list[Numbered]) -> str:
    """A line that is as before unless one of its mutants is chosen."""
    place, parts = some[0][1].place, some[0][1].place.parts
    if place.form == "condition":
        return f"{parts[0]}{parts[1]} ({_chosen(some, parts[2])}){parts[3]}"
    if place.form == "port":
        return f"    .{parts[0]}({_chosen(some, parts[1])}){parts[2]}"
    if place.form == "assign":
        return _planted_assign(unit, some)
    lines = [f"{parts[0]}{_if(number)} {parts[1]} {parts[2]} {_value(mutant)}; else" for number, mutant in some]
    return "\n".join([*lines, line])


def _if(number: int) -> str:
    return f"if (mutants::number == {number})"


def _chosen(some: list[Numbered], right: str) -> str:
    """An expression of one width that is another one where a mutant is chosen."""
    wrong = "".join(f"mutants::number == {number} ? ({mutant.text}) : " for number, mutant in some)
    return f"{wrong}({right})"


def _value(mutant: Mutant) -> str:
    return _late_name(mutant) if mutant.text == "late" else mutant.text


def late_register(unit: Unit, mutant: Mutant) -> list[str]:
    """Lines of a register that takes its value a cycle later, in place of its two."""
    indent, target, _, source = mutant.place.parts
    width, name = unit.widths[target.strip()], _late_name(mutant)
    added = [f"  reg [{width - 1}:0] {name};", f"  always @(posedge clk) {name} <= {source};"]
    return [*added, "  always @(posedge clk)", f"{indent}{target} <= {name};"]


def _late_name(mutant: Mutant) -> str:
    return f"mutants_late_{mutant.place.number}"


def _planted_assign(unit: Unit, some: list[Numbered]) -> str:
    """Wires of the target's width for the right value and each wrong one, and the choice."""
    target, right = some[0][1].place.parts
    width = width_of(target, unit.widths)
    values = {f"mutants_right_{some[0][1].place.number}": right}
    values |= {f"mutants_wrong_{number}": mutant.text for number, mutant in some}
    lines = [f"  wire [{width - 1}:0] {name} = {text};" for name, text in values.items()]
    chosen = "".join(f"mutants::number == {number} ? mutants_wrong_{number} : " for number, _ in some)
    return "\n".join([*lines, f"  assign {target} = {chosen}{next(iter(values))};"])


def width_of(target: str, widths: dict[str, int]) -> int:
    """Bits of what an assignment sets."""
    if target.startswith("{"):
        return sum(width_of(part, widths) for part in re.split(r", +", target.strip("{} ")))
    name, *index = tokens(target)
    ends = [int(token.text) for token in index if token.kind == "number"]
    return widths[name.text.strip()] if not ends else ends[0] - ends[-1] + 1


@contextmanager
def chosen(number: int) -> Iterator[list[str]]:
    """Have every simulation run a mutant, 0 is the engine as it is; gives a hash of what each did, cycle by cycle."""
    before, did = scenario.simulate, list[str]()

    def simulate(build: Any, test_module: str, plusargs: Sequence[str], folder: Path) -> None:
        before(build, test_module, [*plusargs, f"+mutant={number}"], folder)
        did.append(_what_it_did(folder))

    scenario.simulate = simulate
    try:
        yield did
    finally:
        scenario.simulate = before


def _what_it_did(folder: Path) -> str:
    """Hash of all writes with their cycles, of all outcomes, and of all broken rules."""
    outcomes = (folder / "results.json").read_text(encoding="utf-8") if (folder / "results.json").is_file() else ""
    digest = hashlib.sha256(_SECONDS.sub("", outcomes).encode())
    for name in ("trace.txt", "violations.txt"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
