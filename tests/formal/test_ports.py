"""No output of the engine follows an input within a cycle: no READY waits for a VALID, and no VALID for a READY.

It is read off the netlist: of the logic in front of all outputs, up to registers, no input is a part. So it holds for
every engine of this structure whatever its inputs do, and needs no solver.
"""

from pathlib import Path

import pytest
from flow_edge import flow_of, tiny
from proving import Fault

from bivit.hw.convert import rtlil_text
from bivit.hw.edge import logits_queue
from bivit.hw.edge.logits_queue import LogitsQueue
from bivit.hw.engine import Engine
from bivit.hw.parts.component import Component
from bivit.hw.synthesis.tools import find_tool

#: Seconds, at most, in which Yosys reads a small engine.
TIMEOUT_S = 300


def inputs_that_outputs_follow(component: Component, folder: Path) -> set[str]:
    """Inputs, but for the clock, on which an output depends within a cycle."""
    (folder / "design.il").write_text(rtlil_text(component, "top"))
    steps = [
        *("read_rtlil design.il", "hierarchy -top top", "proc", "flatten"),
        # The register of a memory's read port becomes one of the netlist.
        *("memory_nordff", "opt_clean", "cd top"),
        *("select -set found o:* %ci*:-$dff,$dffe,$sdff,$sdffe,$sdffce i:* %i", "tee -o found.txt select -list @found"),
    ]
    find_tool("yosys").run(["-q", "-p", "; ".join(steps)], folder, TIMEOUT_S)
    return {line.partition("/")[2] for line in (folder / "found.txt").read_text().split()} - {"clk"}


@pytest.mark.slow
def test_no_output_of_the_engine_follows_an_input(tmp_path: Path) -> None:
    assert inputs_that_outputs_follow(Engine(flow_of(tiny())), tmp_path) == set()


@pytest.mark.slow
def test_a_valid_that_waits_for_ready_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "self.logits.valid.eq(fifo.r_rdy & self.logits.ready)"
    Fault("", logits_queue, "connect(self.logits.valid, fifo.r_rdy)", wrong, "").plant(monkeypatch)
    assert inputs_that_outputs_follow(LogitsQueue(flow_of(tiny()).engine), tmp_path) == {"logits__ready"}
