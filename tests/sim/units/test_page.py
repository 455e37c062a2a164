"""The page of the units: written by `python tests/sim/units/test_page.py`, and what the descriptions say."""

from pathlib import Path

from bivit.sim.engine.commands import COMMANDS
from bivit.sim.engine.presets import ENGINES
from bivit.sim.units.machine import UNITS, Machine
from bivit.sim.units.page import render_commands, render_units

PAGE = Path(__file__).resolve().parents[3] / "docs" / "units.md"


def rendered() -> str:
    machine = Machine(ENGINES["digits"])
    return f"""# Units and commands

What the hardware units say of themselves (`sim/units/`), and the commands that they carry out (`sim/engine/commands.py`). Written by `python tests/sim/units/test_page.py`: do not edit. How they are wired and scheduled: [accelerator.md](accelerator.md).

## Units

Sizes are those of the engine `digits`. A loaded memory has two banks of these words.

{render_units(machine)}
## Commands

The *edge* is the process that streams can make wait, the *core* everything else. In front of the fields of an instruction are its opcode, 4 bits, and the delay to the next issue, 24 bits; ± marks two's complement.

{render_commands(machine)}"""  # noqa: E501


def test_the_page_in_the_docs_is_what_the_units_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == rendered()


def test_every_unit_and_command_has_a_row() -> None:
    text = rendered()
    assert all(f"\n| `{name}` | " in text for name in UNITS)
    assert all(f" | {command.name} | " in text for command in COMMANDS)


if __name__ == "__main__":
    PAGE.write_text(rendered(), encoding="utf-8")
