"""What the edge reads of the memory: the same integers, predicted cycles, and nothing of a bad memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from engines import streamed_build, streamed_flow, streamed_verilog, tiny_table
from scenarios import answered
from shapes import TOKENS, random_images

from bivit.cosim.memory import BenchMemory, Fault
from bivit.cosim.run import READ_AHEAD, Case
from bivit.cosim.scenario import Cycles, Load, Outcome, Run, Step, play, weights_at
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.registers import ErrorCode
from bivit.sim.flow.edge_lines import EdgeLinesUnit, Line
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.weight_stream import SILENCE_CYCLES
from bivit.sim.mapping.program import compile_network
from bivit.sim.mapping.weight_image import weight_image
from bivit.sim.network.random import random_network

pytestmark = pytest.mark.slow

EDGE = {"edge_weights": "streamed", "patch_weights": "streamed", "dense_patches": 4}
FLOW = streamed_flow(**EDGE)
NETWORK = random_network(TOKENS, seed=5)
PROGRAM = compile_network(NETWORK, FLOW, tiny_table(TOKENS))
IMAGES = random_images(TOKENS, 5, seed=7)
PATIENT = 2 * SILENCE_CYCLES + 50_000


def case(latency: tuple[int, int]) -> Case:
    table = tiny_table(TOKENS)
    return Case(NETWORK, FLOW, IMAGES, verilog=streamed_verilog(**EDGE), table=table, memory_latency=latency)


def test_words_in_time_keep_the_predicted_cycles() -> None:
    one = case((1, 1))
    result = one.run(stall=0.0)
    assert result.agrees, (result.first_mismatch, result.registers, result.violations)
    assert (result.stalls["memory"], result.stall_edge) == (0, 0)
    assert result.cycles == one.estimate.cycles


@pytest.mark.parametrize(("latency", "stall"), [((5, 40), 0.3), ((300, 900), 0.0)])
def test_a_late_memory_costs_cycles_and_nothing_else(latency: tuple[int, int], stall: float) -> None:
    one = case(latency)
    result = one.run(stall=stall, seed=3)
    assert result.agrees, (result.first_mismatch, result.registers, result.violations)
    assert latency[0] < 100 or result.stalls["memory"] + result.stall_edge > 0


def test_a_run_that_begins_with_its_reads_waits_and_counts_it(tmp_path: Path) -> None:
    """The first image needs positions at once."""
    memory = BenchMemory(weight_image(PROGRAM), FLOW.memory_bits, 200, 200, edge=True)
    load, run = Load(build_stream(FlowMachine(FLOW), PROGRAM.words)), Run([one.tobytes() for one in IMAGES], PATIENT)
    outcome = play(streamed_build(memory.words, **EDGE), [load, *weights_at(), run], tmp_path, memory=memory)[-1]
    assert answered(outcome, case((1, 1)).reference.logits) == len(IMAGES)
    assert 100 < outcome.registers["STALL_EDGE"] < outcome.registers["CYCLES"]


def simulate(tmp_path: Path, fault: Fault | None, image: bytes) -> list[Outcome]:
    """Load, and run twice."""
    memory = BenchMemory(image, FLOW.memory_bits, 3, 30, seed=1, fault=fault, edge=True)
    run = Run([one.tobytes() for one in IMAGES], PATIENT)
    load = Load(build_stream(FlowMachine(FLOW), PROGRAM.words))
    steps: Sequence[Step] = [load, *weights_at(), Cycles(READ_AHEAD), run, run]
    return play(streamed_build(memory.words, **EDGE), steps, tmp_path, memory=memory)[-2:]


@pytest.mark.parametrize("beat", [7, 150, 900])
@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("error", [ErrorCode.MEMORY_READ]),
        ("short", [ErrorCode.MEMORY_READ]),
        ("flip", [ErrorCode.MEMORY_CRC]),
        ("silence", [ErrorCode.MEMORY_TIMEOUT]),
    ],
)
def test_a_bad_memory_ends_the_run_and_the_next_one_is_right(
    tmp_path: Path, kind: str, codes: list[ErrorCode], beat: int
) -> None:
    """Beats of positions, classifier, a pass and parts; a beat that is wrong and not needed ends no run."""
    fault = Fault(kind, beat, bit=beat % 128, beats=SILENCE_CYCLES + 5000 if kind == "silence" else 2)
    first, second = simulate(tmp_path, fault, weight_image(PROGRAM))
    assert first.finished
    assert answered(first, case((1, 1)).reference.logits) == first.registers["DONE"]
    if first.registers["DONE"] < len(IMAGES):
        assert ErrorCode(first.registers["ERROR"]) in codes
    assert second.finished
    assert second.registers["ERROR"] == ErrorCode.NONE
    assert second.registers["DONE"] == len(IMAGES)


@pytest.mark.parametrize("line", Line)
def test_a_word_that_is_another_one_gives_no_wrong_logit(tmp_path: Path, line: Line) -> None:
    """A bit of the memory image, in the last burst of a line."""
    unit, image = EdgeLinesUnit(FLOW), bytearray(weight_image(PROGRAM))
    last = unit.places(TOKENS)[line] + unit.bursts(line, TOKENS) - 1
    image[last * unit.burst_bytes + 3] ^= 4
    first, _ = simulate(tmp_path, None, bytes(image))
    assert ErrorCode(first.registers["ERROR"]) is ErrorCode.MEMORY_CRC
    assert first.registers["DONE"] == answered(first, case((1, 1)).reference.logits) == 0
    assert not any(last for _, _, last in first.logits)
