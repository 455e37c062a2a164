"""Whether a mutant changes nothing: Yosys proves that its module computes the same, whatever is around it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from bivit.hw.synthesis.tools import ToolFailed, ToolTimeout, find_tool

from .planting import late_register
from .sites import Mutant, Unit, units

#: Seconds for one proof; a unit that takes longer is left to a person.
_PATIENCE_S = 12
#: Says that a case names all values, from which Yosys would conclude too much.
_FULL_CASE = re.compile(r"^ *\(\* full_case = 32'd1 \*\)\n", re.M)
_PORT = re.compile(r"^ +(?:input|output) .*;\n", re.M)
#: Modules around the one in question are boxes that get and give signals; registers are equal in the beginning.
_SCRIPT = """
read_verilog -sv boxes.v right.v wrong.v
hierarchy -check
proc right wrong; memory_map right wrong; opt_clean right wrong
expose -evert right/c:* wrong/c:*
equiv_make -blacklist inner.txt right wrong both
hierarchy -top both
equiv_simple -undef; equiv_induct -undef
equiv_status -assert
"""


def is_equal(verilog: str, mutant: Mutant) -> bool:
    """Whether the module of a mutant is proved to do what it did.

    Parameters
    ----------
    verilog : str
        Of the engine, without mutants.
    mutant : Mutant
        One of `sites.Unit.mutants` of it.
    """
    found = {unit.name: unit for unit in units(verilog)}
    unit = found.pop(mutant.unit)
    right, wrong = list(unit.lines), list(unit.lines)
    line = wrong[mutant.place.number]
    wrong[mutant.place.number] = line[: len(line) - len(line.lstrip())] + mutant.after
    if mutant.text == "late":
        wrong[mutant.place.number - 1 : mutant.place.number + 1] = late_register(unit, mutant)
    texts = {"right": right, "wrong": wrong}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        used = {one for one in found if any(text.startswith(f"  {one} ") for text in unit.lines)}
        boxes = "".join(_box(found[one].lines) for one in sorted(used))
        (folder / "boxes.v").write_text(boxes, encoding="utf-8")
        for side, lines in texts.items():
            text = _FULL_CASE.sub("", "\n".join(lines) + "\n").replace(f"module {unit.name} ", f"module {side} ", 1)
            (folder / f"{side}.v").write_text(text, encoding="utf-8")
        (folder / "inner.txt").write_text("\n".join(_inner(unit)), encoding="utf-8")
        (folder / "script.ys").write_text(_SCRIPT, encoding="utf-8")
        try:
            find_tool("yosys").run(["-q", "script.ys"], folder, _PATIENCE_S)
        except (ToolFailed, ToolTimeout):
            return False
    return True


def _box(lines: list[str]) -> str:
    """A module without what is in it."""
    text = "\n".join(lines) + "\n"
    return f"(* blackbox *)\n{lines[0]}\n{''.join(_PORT.findall(text))}endmodule\n"


def _inner(unit: Unit) -> list[str]:
    """Signals that may differ, as Yosys names them: all but ports and registers."""
    kept = {place.parts[1].strip() for place in unit.places if place.form == "register"} | unit.ports
    return [name if name.startswith("\\") else f"\\{name}" for name in unit.widths if name not in kept]
