"""Streamed weights: the same integers and cycles as resident ones, a late memory costs time, a bad one is reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from engines import streamed_build, streamed_flow, streamed_verilog, tiny_flow, tiny_table
from scenarios import answered
from shapes import TOKENS, random_images

from bivit.cosim.memory import BenchMemory, Fault
from bivit.cosim.run import Case
from bivit.cosim.scenario import Load, Outcome, Run, Step, play, weights_at
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.registers import ErrorCode
from bivit.sim.errors import BivitError
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.weight_stream import SILENCE_CYCLES, WeightStreamUnit
from bivit.sim.mapping.program import compile_network, flow_cycles
from bivit.sim.mapping.weight_image import weight_image
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference

pytestmark = pytest.mark.slow

NETWORK, OTHER = (random_network(TOKENS, seed=seed) for seed in (5, 6))
PROGRAM = compile_network(NETWORK, streamed_flow(), tiny_table(TOKENS))
IMAGES = random_images(TOKENS, 5, seed=7)
#: Cycles in which a run is through, or has lost patience.
PATIENT = 2 * SILENCE_CYCLES + 50_000


def case(latency: tuple[int, int]) -> Case:
    verilog, table = streamed_verilog(), tiny_table(TOKENS)
    return Case(NETWORK, streamed_flow(), IMAGES, verilog=verilog, table=table, memory_latency=latency)


def test_weights_in_time_change_no_integer_and_no_cycle():
    """All tensors, and the cycles of an engine that holds its weights, whose lanes begin together here."""
    one = case((1, 1))
    result = one.run(stall=0.0)
    assert result.agrees, (result.first_mismatch, result.registers, result.violations)
    assert result.stalls["memory"] == 0
    resident = flow_cycles(TOKENS, tiny_flow(), tiny_table(TOKENS), len(IMAGES))
    assert result.cycles == one.estimate.cycles == resident.total


@pytest.mark.parametrize(("latency", "stall"), [((5, 40), 0.3), ((300, 900), 0.0)])
def test_a_late_memory_costs_cycles_and_nothing_else(latency, stall):
    """Random latency and refreshes; every tensor is as it must be."""
    one = case(latency)
    result = one.run(stall=stall, seed=3)
    assert result.agrees, (result.first_mismatch, result.registers, result.violations)
    assert result.before >= 0
    if latency[0] > 100:
        assert 0 < result.stalls["memory"] <= result.cycles - one.estimate.cycles


def simulate(tmp_path, fault: Fault | None, steps: Sequence[Step], image: bytes) -> list[Outcome]:
    memory = BenchMemory(image, streamed_flow().memory_bits, 3, 30, seed=1, fault=fault)
    return play(streamed_build(memory.words), steps, tmp_path, memory=memory)


def run_of_all() -> Run:
    return Run([image.tobytes() for image in IMAGES], PATIENT)


def loaded() -> list[Step]:
    return [Load(build_stream(FlowMachine(streamed_flow()), PROGRAM.words)), *weights_at()]


def whole_pass() -> int:
    return sum(part.beats for part in WeightStreamUnit(streamed_flow()).parts(TOKENS))


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("error", ErrorCode.MEMORY_READ),
        ("short", ErrorCode.MEMORY_READ),
        ("flip", ErrorCode.MEMORY_CRC),
        ("silence", ErrorCode.MEMORY_TIMEOUT),
    ],
)
def test_a_bad_memory_ends_the_run_and_the_next_one_is_right(tmp_path, kind, code, place):
    """In the first pass, at its end and in the second one: an error, no wrong logit; then a run as always."""
    beat = (7, whole_pass() - 1, whole_pass() + 11)[place]
    fault = Fault(kind, beat, bit=37 * place, beats=SILENCE_CYCLES + 5000 if kind == "silence" else 2)
    steps = [*loaded(), run_of_all(), run_of_all()]
    first, second = simulate(tmp_path, fault, steps, weight_image(PROGRAM))[-2:]
    assert first.finished
    assert ErrorCode(first.registers["ERROR"]) is code
    assert answered(first, case((1, 1)).reference.logits) == first.registers["DONE"] < len(IMAGES)
    # Images that were in the engine when the run ended are lost, those behind them are still with the sender.
    assert second.finished
    assert second.registers["ERROR"] == ErrorCode.NONE
    assert second.registers["DONE"] == len(IMAGES)


def test_an_answer_that_has_begun_is_whole(tmp_path):
    """The array finds a part of the second pass wrong while an image of the first one is classified."""
    config = replace(TOKENS, num_classes=300)
    engine = replace(streamed_flow().engine, max_classes=config.num_classes, queue_logits=4 * config.num_classes)
    network = random_network(config, seed=5)
    program = compile_network(network, streamed_flow(engine=engine), tiny_table(TOKENS))
    fault = Fault("flip", whole_pass() + 40, bit=3)
    memory = BenchMemory(weight_image(program), streamed_flow().memory_bits, 1, 3, seed=1, fault=fault)
    steps = [Load(build_stream(FlowMachine(program.flow), program.words)), *weights_at(), run_of_all()]
    outcome = play(streamed_build(memory.words, engine=engine), steps, tmp_path, memory=memory)[-1]
    assert ErrorCode(outcome.registers["ERROR"]) is ErrorCode.MEMORY_CRC
    assert [value for value, _, _ in outcome.logits] == run_reference(network, IMAGES).logits[0].tolist()
    assert [last for _, _, last in outcome.logits] == [0] * 299 + [1]
    assert outcome.registers["DONE"] == 1


def test_weights_of_another_network_are_refused(tmp_path):
    """Its memory image is whole, and not of the network that was loaded."""
    image = weight_image(compile_network(OTHER, streamed_flow(), tiny_table(TOKENS)))
    outcome = simulate(tmp_path, None, [*loaded(), run_of_all()], image)[-1]
    assert ErrorCode(outcome.registers["ERROR"]) is ErrorCode.MEMORY_CRC
    assert outcome.logits == ()


def test_a_part_that_was_exchanged_is_refused(tmp_path):
    """Every part is whole, but two of them are where the other one must be."""
    image, unit = bytearray(weight_image(PROGRAM)), WeightStreamUnit(streamed_flow())
    one, other = (unit.parts(TOKENS)[number] for number in (0, 4))
    size, at = one.beats * unit.beat_bytes, other.byte
    image[:size], image[at : at + size] = image[at : at + size], image[:size]
    outcome = simulate(tmp_path, None, [*loaded(), run_of_all()], bytes(image))[-1]
    assert ErrorCode(outcome.registers["ERROR"]) is ErrorCode.MEMORY_CRC
    assert outcome.logits == ()


@pytest.mark.parametrize("latency", [(0, 1), (7, 3), (1, 9999)])
def test_a_latency_out_of_range_is_refused(latency):
    """Least first, and 1 to 5,000 cycles."""
    with pytest.raises(BivitError, match="latency of the memory must be 1 to 5000 cycles, the least one first, got"):
        BenchMemory(bytes(16), 128, *latency)
