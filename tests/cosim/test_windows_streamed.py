"""Streamed weights with windows: the integers and cycles of resident ones; late, bad and exchanged weights."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from flow_campaign import quick_builds
from scenarios import answered
from shapes import random_images
from windowed import tiny_swin, windowed_for

from bivit.cosim.memory import BenchMemory, Fault, FaultKind
from bivit.cosim.monitor import BENCH_TOP, bench_top
from bivit.cosim.run import Case
from bivit.cosim.runner import build
from bivit.cosim.scenario import Load, Outcome, Run, Step, play, weights_at
from bivit.cosim.session import CosimResult
from bivit.hw.emit import engine_verilog
from bivit.hw.verilog_ports import ports_of
from bivit.hw.verilog_top import ENGINE_TOP
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.registers import ErrorCode
from bivit.sim.flow.weight_stream import MERGING, SILENCE_CYCLES, WeightStreamUnit
from bivit.sim.mapping.compiled import Program
from bivit.sim.mapping.cycles import estimate_cycles
from bivit.sim.mapping.pass_program import compile_passes
from bivit.sim.mapping.weight_image import weight_image
from bivit.sim.mapping.words import Words
from bivit.sim.network.config import ModelConfig, ViTConfig
from bivit.sim.network.random import random_network

pytestmark = pytest.mark.slow

#: Stages of two blocks, of one, and of two that a window goes through at once; an odd number of all.
SWIN = tiny_swin(depths=(2, 1, 2))
ONE = tiny_swin(img_size=8, embed_dim=16, depths=(3,), num_heads=(2,))
DEIT = ViTConfig(
    img_size=6, patch_size=2, in_chans=1, num_classes=3, embed_dim=16, depth=3, num_heads=2, class_token=True
)
RESIDENT = windowed_for([SWIN, ONE, DEIT], rows=2, columns=8, norm_lanes=4, together=2)
FLOW = replace(RESIDENT, weights="streamed", memory_bits=64)
UNIT = WeightStreamUnit(FLOW)
IMAGES = 5
#: Cycles in which a run is through, or has lost patience.
PATIENT = 3 * SILENCE_CYCLES + 100_000


@functools.cache
def written() -> str:
    return engine_verilog(FLOW)


@functools.cache
def case_of(config: ModelConfig, latency: tuple[int, int] = (1, 1)) -> Case:
    network = random_network(config, seed=3)
    return Case(network, FLOW, random_images(config, IMAGES), verilog=written(), memory_latency=latency)


def run(case: Case, stall: float = 0.0) -> CosimResult:
    with quick_builds():
        return case.run(stall=stall, seed=2)


@pytest.mark.parametrize("config", [SWIN, ONE, DEIT], ids=["three", "one", "deit"])
def test_weights_in_time_change_no_integer_and_no_cycle(config: ModelConfig) -> None:
    case = case_of(config)
    result = run(case)
    assert result.agrees, (result.first_mismatch, result.registers, result.violations)
    assert result.stalls["memory"] == 0
    resident = estimate_cycles(compile_passes(case.network, RESIDENT), IMAGES)
    assert result.cycles == case.estimate.cycles == resident.cycles
    counted = {cause: count for cause, count in result.stalls.items() if cause in resident.stalls}
    assert counted == resident.stalls


@pytest.mark.parametrize(("latency", "stall"), [((5, 40), 0.3), ((1000, 3000), 0.0)])
@pytest.mark.parametrize("config", [SWIN, DEIT], ids=["swin", "deit"])
def test_a_late_memory_costs_cycles_and_nothing_else(
    config: ModelConfig, latency: tuple[int, int], stall: float
) -> None:
    case = case_of(config, latency)
    result = run(case, stall)
    assert result.agrees, (result.first_mismatch, result.registers, result.violations)
    if latency[0] > 100:
        assert result.stalls["memory"] > 0
        assert result.cycles > case.estimate.cycles


def simulate(tmp_path: Path, steps: Sequence[Step], image: bytes, fault: Fault | None = None) -> list[Outcome]:
    memory = BenchMemory(image, FLOW.memory_bits, 3, 30, seed=1, fault=fault)
    top = bench_top(ENGINE_TOP, ports_of(written(), ENGINE_TOP), [], memory_words=memory.words)
    with quick_builds():
        built = build({f"{BENCH_TOP}.sv": top, f"{ENGINE_TOP}.v": written()}, BENCH_TOP)
    return play(built, steps, tmp_path, memory=memory)


def steps_of(case: Case, stream: bytes | None = None, runs: int = 1) -> list[Step]:
    whole = Run([image.tobytes() for image in case.images], PATIENT)
    return [Load(stream or case.stream), *weights_at(), *[whole] * runs]


def beat_of(number: int) -> int:
    """The first beat of a part, among those that are read."""
    parts = UNIT.parts(SWIN)
    return sum(part.beats for part in parts) * (number // len(parts)) + sum(
        part.beats for part in parts[: number % len(parts)]
    )


MERGE = next(number for number, part in enumerate(UNIT.parts(SWIN)) if part.kind == MERGING)
PARTS = len(UNIT.parts(SWIN))


@pytest.mark.parametrize("number", [0, MERGE, PARTS - 1, PARTS, PARTS + MERGE])
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("error", ErrorCode.MEMORY_READ),
        ("short", ErrorCode.MEMORY_READ),
        ("flip", ErrorCode.MEMORY_CRC),
        ("silence", ErrorCode.MEMORY_TIMEOUT),
    ],
)
def test_a_bad_memory_ends_the_run_and_the_next_one_is_right(
    tmp_path: Path, kind: FaultKind, code: ErrorCode, number: int
) -> None:
    """In the first part, a merging's and the last one, of the first group and the second: an error, no logit."""
    fault = Fault(kind, beat_of(number) + 1, bit=5, beats=SILENCE_CYCLES + 40_000 if kind == "silence" else 2)
    case = case_of(SWIN)
    first, second = simulate(tmp_path, steps_of(case, runs=2), weight_image(case.program), fault)[-2:]
    assert first.finished
    assert ErrorCode(first.registers["ERROR"]) is code
    assert answered(first, case_of(SWIN).reference.logits) == first.registers["DONE"] <= (0 if number < PARTS else 2)
    # Images that were in the engine when the run ended are lost, those behind them are still with the sender.
    assert second.finished
    assert second.registers["ERROR"] == ErrorCode.NONE
    assert second.registers["DONE"] == IMAGES


def swapped(image: bytes, one: int, other: int) -> bytes:
    """The image with two parts of one size exchanged, both whole with what checks them."""
    parts = UNIT.parts(SWIN)
    assert parts[one].beats == parts[other].beats
    size, found = parts[one].beats * UNIT.beat_bytes, bytearray(image)
    for part, source in ((parts[one], parts[other]), (parts[other], parts[one])):
        found[part.byte : part.byte + size] = image[source.byte : source.byte + size]
    return bytes(found)


def of_another_network(image: bytes) -> bytes:
    other = random_network(SWIN, seed=4)
    return weight_image(compile_passes(other, FLOW))


@pytest.mark.parametrize("change", [lambda image: swapped(image, 0, 4), of_another_network], ids=["parts", "network"])
def test_weights_that_are_not_these_are_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    case = case_of(SWIN)
    outcome = simulate(tmp_path, steps_of(case), change(weight_image(case.program)))[-1]
    assert ErrorCode(outcome.registers["ERROR"]) is ErrorCode.MEMORY_CRC
    assert outcome.logits == ()


def listed(program: Program, number: int, **changes: int) -> Words:
    """What is loaded, with other fields of a part in the list."""
    words: Words = {name: dict(runs) for name, runs in program.words.items()}
    parts, at = list(words["parts"][0]), 0
    for name, bits in UNIT.fields.items():
        if name in changes:
            parts[number] = parts[number] & ~((1 << bits) - 1 << at) | changes[name] << at
        at += bits
    return words | {"parts": {0: parts}}


def test_a_merging_that_is_listed_as_a_block_never_comes(tmp_path: Path) -> None:
    """The array waits for it."""
    case = case_of(SWIN)
    stream = build_stream(case.machine, listed(case.program, MERGE, kind=0))
    outcome = simulate(tmp_path, steps_of(case, stream), weight_image(case.program))[-1]
    assert ErrorCode(outcome.registers["ERROR"]) is ErrorCode.MEMORY_TIMEOUT
    assert outcome.logits == ()
