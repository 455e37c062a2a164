"""Multiplier blocks against the components that they stand for: a proof, and runs with random operands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib.wiring import In

from bivit.cosim.runner import build, simulate
from bivit.hw.convert import rtlil_text, verilog_text
from bivit.hw.multiplier_blocks import multiplier_blocks
from bivit.hw.parts.multiply_add import MultiplyAdd, MultiplyPlus
from bivit.hw.synthesis.tools import find_tool

#: Cells of the families that are proven: name, width of the wider operand at the multiplier, bits of OPMODE.
CELLS = {"xc7": ("DSP48E1", 25, 7), "xcup": ("DSP48E2", 27, 9)}
#: Cycles of a random run.
CYCLES = 5000
#: Seconds for one proof.
_TIMEOUT_S = 120
_READ = "read_rtlil unit.il; {model}; read_verilog blocks.v; read_verilog -formal bench.v; hierarchy -check -top bench"
#: Registers of one bit that both have are joined, then multiplications, so that nothing is to be proven of these.
_PROVE = (
    "proc; flatten; opt_expr; opt_clean; simplemap t:$dff; opt_merge -share_all; opt_clean; wreduce; "
    "opt_merge -share_all; opt_clean; chformal -lower; sat -verify -tempinduct -prove-asserts -maxsteps 8 bench"
)
#: Yosys' commands that read the project's own model of a block, and the one of the DSP48E1 that Yosys brings.
OURS, YOSYS = "read_verilog -defer model.v", "read_verilog -defer +/xilinx/cells_sim.v"


@dataclass(frozen=True)
class Pair:
    """A component and Verilog of the block in its place, for a family."""

    component: MultiplyAdd | MultiplyPlus
    family: str
    block: str

    @classmethod
    def of(cls, component: MultiplyAdd | MultiplyPlus, family: str) -> Pair:
        """Return a component and the block that synthesis puts in its place."""
        text = multiplier_blocks(f"module {component.module_name}", CELLS[family][0])
        return cls(component, family, text)

    def broken(self, right: str, wrong: str) -> Pair:
        """Return the pair with something else in its block."""
        assert right in self.block
        return Pair(self.component, self.family, self.block.replace(right, wrong))

    @property
    def inputs(self) -> dict[str, int]:
        """Widths of the inputs."""
        members = self.component.signature.members.items()
        return {name: len(getattr(self.component, name)) for name, member in members if member.flow is In}

    def wired(self, number: int) -> list[str]:
        """Verilog of both side by side, and whether they agree: of the chain in the bits modulo which it is."""
        name, bits = self.component.module_name, self.component.sum_bits
        outputs = {
            one: 48 if one == "chain" else bits for one in ("sum", "chain") if one in self.component.signature.members
        }
        lines = []
        for side, kind in (("ours", f"component_{name}"), ("block", f"{name}_{number}")):
            wires = [f"{side}_{one}_{number}" for one in outputs]
            lines += [f"  wire [{width - 1}:0] {wire};" for wire, width in zip(wires, outputs.values(), strict=True)]
            ports = [*(f".{one}({one}_{number})" for one in self.inputs)]
            ports += [f".{one}({wire})" for one, wire in zip(outputs, wires, strict=True)]
            lines.append(f"  {kind} {side}_{number}(.clk(clk), {', '.join(ports)});")
        same = [f"ours_{one}_{number}[{bits - 1}:0] == block_{one}_{number}[{bits - 1}:0]" for one in outputs]
        return [*lines, f"  wire same_{number} = {' && '.join(same)};"]

    def renamed(self, number: int) -> str:
        """The block's Verilog, its module named as in `wired`."""
        name = self.component.module_name
        return self.block.replace(f"module {name}(", f"module {name}_{number}(")


def model_text(family: str) -> str:
    """The model of a family's block."""
    text = Path(__file__).with_name("dsp48.v").read_text(encoding="utf-8")
    for macro, value in zip(("`CELL", "`WIDE", "`MODES"), CELLS[family], strict=True):
        text = text.replace(macro, str(value))
    return text


def prove(pair: Pair, folder: Path, model: str = OURS) -> None:
    """Prove that a block gives the sums of its component, from the start on and for ever, whatever comes.

    Raises
    ------
    ToolFailed
        When it does not, or when the block is beyond the model.
    """
    ports = "".join(f", input [{width - 1}:0] {name}_0" for name, width in pair.inputs.items())
    bench = [f"module bench(input clk{ports});", *pair.wired(0), "  always @* assert(same_0);", "endmodule", ""]
    (folder / "unit.il").write_text(
        rtlil_text(pair.component, f"component_{pair.component.module_name}"), encoding="utf-8"
    )
    (folder / "blocks.v").write_text(pair.renamed(0), encoding="utf-8")
    (folder / "model.v").write_text(model_text(pair.family), encoding="utf-8")
    (folder / "bench.v").write_text("\n".join(bench), encoding="utf-8")
    find_tool("yosys").run(["-q", "-p", f"{_READ.format(model=model)}; {_PROVE}"], folder, _TIMEOUT_S)


def run(pairs: Mapping[str, Pair], folder: Path) -> dict[str, int]:
    """Give pairs random and extreme operands for `CYCLES`; return in how many cycles each disagrees.

    Parameters
    ----------
    pairs : mapping of str to Pair
    folder : Path
        Of the simulation.
    """
    numbered = list(enumerate(pairs.values()))
    lines = ["module bench (\n  input wire [0:0] clk,\n  input wire [0:0] rst\n);", *_STATE]
    for number, pair in numbered:
        lines += [*_drawn(pair, number), *pair.wired(number), f"  integer differ_{number} = 0;"]
        lines.append(f"  always @(posedge clk) if (!same_{number}) differ_{number} <= differ_{number} + 1;")
        lines.append(f'  always @(posedge clk) if (cycle == {CYCLES}) $display("pair {number}: %0d", differ_{number});')
    sources = {f"{family}.v": model_text(family) for family in {pair.family for pair in pairs.values()}}
    sources["bench.v"] = "\n".join([*lines, "endmodule", ""])
    sources["blocks.v"] = "".join(pair.renamed(number) for number, pair in numbered)
    components = {pair.component.module_name: pair.component for pair in pairs.values()}
    sources["components.v"] = "".join(verilog_text(one, f"component_{name}") for name, one in components.items())
    built = build(sources, "bench")
    simulate(built, "free_run", [f"+cycles={CYCLES + 10}"], folder)
    log = (folder / "simulation.log").read_text(encoding="utf-8")
    found = {int(number): int(cycles) for number, cycles in re.findall(r"pair (\d+): (\d+)", log)}
    return {name: found[number] for number, name in enumerate(pairs)}


#: A shift register with feedback, and the number of the cycle.
_STATE = (
    "  reg [255:0] state = 256'h9e3779b97f4a7c15f39cc0605cedc8341082276bf3a27251f86c6a11d0c18e95;",
    "  wire [255:0] step_1 = state ^ (state << 7), step_2 = step_1 ^ (step_1 >> 9);",
    "  always @(posedge clk) state <= step_2 ^ (step_2 << 23) ^ (step_2 >> 101);",
    "  integer cycle = 0;",
    "  always @(posedge clk) cycle <= cycle + 1;",
)


def _drawn(pair: Pair, number: int) -> list[str]:
    """Inputs of a pair from `state`; a number is at times the least or the most that it can be."""
    lines, at = [], 0
    for name, width in pair.inputs.items():
        drawn = f"state[{at + width - 1}:{at}]"
        if width > 1:
            extreme = f"{{state[{at}], {{{width - 1}{{!state[{at}]}}}}}}"
            drawn = f"state[{at + width}] && state[{at + width + 1}] ? {extreme} : {drawn}"
        lines.append(f"  wire [{width - 1}:0] {name}_{number} = {drawn};")
        at += width + 2
    return lines
