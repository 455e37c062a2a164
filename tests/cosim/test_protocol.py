"""The checkers of the bus rules in Verilog: a module breaks every rule, on every port, and each is named."""

import re
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import verilog
from simulators import FASTEST_BUILD, NEEDS_ICARUS
from tiny_engine import ENGINE, IMAGE_BEATS, TinyEngine
from tiny_engine import PORTS as ENGINE_PORTS

from bivit.cosim.monitor import BENCH_TOP, bench_top
from bivit.cosim.protocol import CHANNELS, MODULE, PATIENCE_CYCLES, RULES, Violation, read_violations, rules_module
from bivit.cosim.runner import build, simulate
from bivit.cosim.scenario import Load, Run, play
from bivit.cosim.session import Expected, Session
from bivit.hw.fetch.axi import read_master
from bivit.hw.ports import WEIGHTS_PORT
from bivit.hw.verilog_ports import ports_of
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.errors import BivitError

#: Ports of an engine, and those by which streamed weights are read.
WIDTHS = {name: member.shape for name, member in ENGINE_PORTS.items()}
WIDTHS |= {f"{WEIGHTS_PORT}_{name}": member.shape for name, member in read_master(64).items()}
PORTS = {"clk": ("input", 1), "rst": ("input", 1), **{name: ("output", bits) for name, bits in WIDTHS.items()}}
#: Cycles between two faults.
STEP = 12


def script() -> tuple[dict[int, str], list[Violation]]:
    """Assignments by the cycle in which they are first seen, and what must be reported for them.

    Every channel withdraws a beat and changes one; the others belong to one port. A response without a request goes
    with that, for these channels ask for nothing.
    """
    lines = {5: "irq <= 1;", 7: "irq <= 0;"}
    expected = [Violation("irq", "LEVEL", 7)]
    at = STEP
    for channel in sorted(CHANNELS, key=lambda channel: channel.name not in ("s_axil_b", "s_axil_r")):
        valid, ready, payload = channel.valid, channel.ready, channel.payload[0]
        lines |= {at: f"{valid} <= 1;", at + 3: f"{valid} <= 0;", at + 5: f"{valid} <= 1;"}
        lines |= {at + 7: f"{payload} <= 1;", at + 8: f"{ready} <= 1;", at + 9: f"{valid} <= 0; {ready} <= 0;"}
        if channel.name in ("s_axil_b", "s_axil_r"):
            expected.append(Violation(channel.name, "UNASKED", at))
        expected += [Violation(channel.name, "WITHDRAWN", at + 3), Violation(channel.name, "CHANGED", at + 7)]
        if channel.name == "s_axil_b":  # whose payload is the response, of which 1 is none
            expected.append(Violation(channel.name, "RESPONSE", at + 7))
        at += STEP
    burst = {"arvalid": 1, "arready": 1, "araddr": 4000, "arlen": 15, "arsize": 3}  # 128 bytes, 96 below the boundary
    lines[at] = " ".join(f"{WEIGHTS_PORT}_{name} <= {value};" for name, value in burst.items())
    lines[at + 1] = f"{WEIGHTS_PORT}_arvalid <= 0;"
    expected.append(Violation(f"{WEIGHTS_PORT}_ar", "BOUNDARY", at))
    at += STEP
    logits = "m_axis_logits_tvalid <= 1; m_axis_logits_tready <= 1;"
    # The loop took the first beat of a packet; these are the second and third of four.
    lines |= {at: logits, at + 1: "m_axis_logits_tlast <= 1; m_axis_logits_tuser <= 1;"}
    lines |= {at + 2: "m_axis_logits_tvalid <= 0;"}
    expected += [Violation("m_axis_logits", "LAST", at + 1), Violation("m_axis_logits", "TAG", at + 1)]
    return lines, expected


def violator(lines: dict[int, str]) -> str:
    """Verilog whose signals take these values, under the checkers; one stream is valid in reset."""
    start = dict.fromkeys(WIDTHS, 0) | {"s_axis_load_tvalid": 1}
    declared = "\n".join(f"  reg [{bits - 1}:0] {name} = {start[name]};" for name, bits in WIDTHS.items())
    connected = ", ".join(f".{name}({name})" for name in PORTS)
    cases = "\n".join(f"      {at - 1}: begin {line} end" for at, line in lines.items())
    return f"""module violator (
  input wire [0:0] clk,
  input wire [0:0] rst
);
{declared}
  reg [63:0] cycle = 0;
  {MODULE} rules ({connected}, .cycle(cycle));
  always @(posedge clk) begin
    cycle <= cycle + 1;
    if (cycle == 2) s_axis_load_tvalid <= 0;
    case (cycle)
{cases}
    endcase
  end
endmodule
"""


def found(lines: dict[int, str], simulator: str, folder: Path, cycles: int) -> list[Violation]:
    """Simulate; return the first report of each rule on each port."""
    text = {"violator.v": violator(lines), "rules.v": rules_module(PORTS)}
    built = build(text, "violator", simulator=simulator, cache_dir=folder / "cache")
    arguments = [f"+cycles={cycles}", f"+violations_file={folder / 'violations.txt'}", "+classes=4"]
    simulate(built, "free_run", arguments, folder)
    first: dict[tuple[str, str], Violation] = {}
    for violation in read_violations(folder / "violations.txt"):
        first.setdefault((violation.port, violation.rule), violation)
    return sorted(first.values(), key=lambda violation: violation.cycle)


@pytest.mark.slow
def test_every_rule_is_broken_and_named(tmp_path: Path) -> None:
    lines, expected = script()
    got = found(lines, FASTEST_BUILD, tmp_path, max(lines) + PATIENCE_CYCLES + STEP)
    reset, *got = got
    assert (reset.port, reset.rule) == ("s_axis_load", "IN_RESET")
    silent = [violation for violation in got if violation.rule == "SILENT"]
    # The requests of the loop were taken, and nothing answers them.
    assert [violation.port for violation in silent] == ["s_axil_b", "s_axil_r"]
    assert all(violation.cycle > PATIENCE_CYCLES for violation in silent)
    assert [violation for violation in got if violation.rule != "SILENT"] == expected


@pytest.mark.slow
@NEEDS_ICARUS
def test_unknown_values_are_reported(tmp_path: Path) -> None:
    lines = {
        12: "s_axis_load_tvalid <= 1; s_axis_load_tdata <= 64'bx;",
        14: "irq <= 1'bx;",
        16: "s_axil_rready <= 1'bx;",
    }
    _, *got = found(lines, "icarus", tmp_path, 20)
    ports = {"s_axis_load": 12, "irq": 14, "s_axil_r": 16}
    assert got == [Violation(port, "UNKNOWN", cycle) for port, cycle in ports.items()]


def glitching() -> str:
    """The tiny engine with a VALID of the logits that is low in every other cycle."""
    text = verilog.convert(TinyEngine(), name="tiny", emit_src=False)
    line = re.search(r"^  assign m_axis_logits_tvalid = (.*);$", text, re.MULTILINE)
    assert line is not None
    glitch = "  reg glitch = 0;\n  always @(posedge clk) glitch <= ~glitch;\n"
    return text.replace(line[0], f"{glitch}  assign m_axis_logits_tvalid = ({line[1]}) & glitch;")


@pytest.mark.slow
def test_a_broken_rule_fails_a_scenario_and_a_verification(tmp_path: Path) -> None:
    text = glitching()
    sources = {"bench_top.sv": bench_top("tiny", ports_of(text, "tiny"), []), "tiny.v": text}
    stream = build_stream(ENGINE, {"tables": {0: [1, 2, 3]}})
    steps = [Load(stream), Run([bytes(8 * IMAGE_BEATS)] * 3, 3000)]
    how = {"simulator": FASTEST_BUILD, "cache_dir": tmp_path / "cache"}
    with pytest.raises(BivitError, match=r"^port m_axis_logits breaks the bus rule WITHDRAWN in cycle \d+: VALID must"):
        play(build(sources, BENCH_TOP, **how), steps, tmp_path, stall=0.5, seed=1)
    session = Session(sources, [], steps, **how, stall=0.5, seed=1)
    result = session.verify(Expected(lambda traces: [], np.array([[1, 2, 3]] * 3), {"ERROR": 0, "DONE": 2}))
    assert result.violations[0].port == "m_axis_logits"
    assert result.violations[0].rule == "WITHDRAWN"
    assert [difference.name for difference in result.registers] == ["DONE"]
    assert not result.agrees


def test_a_message_names_port_rule_and_cycle() -> None:
    for rule, text in RULES.items():
        assert (
            str(Violation("s_axis_load", rule, 7)) == f"port s_axis_load breaks the bus rule {rule} in cycle 7: {text}"
        )
