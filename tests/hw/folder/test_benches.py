"""The benches of a generated folder: they pass, and a wrong bit anywhere makes them fail and say where."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from benches import alone, flip, run_bench
from block_proofs import CELLS, model_text
from engines import streamed_flow, tiny_flow
from shapes import TINY
from simulators import FASTEST_BUILD, NEEDS_ICARUS

from bivit.hw.folder.generate import generate
from bivit.sim.mapping.program import compile_network
from bivit.sim.network.random import random_network

NETWORK = random_network(TINY, seed=4)
IMAGES = np.random.default_rng(5).integers(0, 256, (1, 4, 4, 1), dtype=np.uint8)
SIMULATORS = ["verilator", pytest.param("icarus", marks=NEEDS_ICARUS)]
CYCLES = str(compile_network(NETWORK, tiny_flow()).cycles(1).total)
PASSED = f"PASS: 1 images, 3 logits, {CYCLES} cycles"


@pytest.mark.slow
@pytest.mark.parametrize("simulator", SIMULATORS)
def test_a_bench_passes_and_finds_every_wrong_bit(simulator: str, tmp_path: Path) -> None:
    generate(tiny_flow(), NETWORK, tmp_path / "made", images=IMAGES)
    folder = alone(tmp_path / "made", tmp_path / "alone")
    assert run_bench(folder, simulator) == (0, PASSED)
    cycles = (folder / "golden" / "expected.txt").read_bytes().index(CYCLES.encode())
    faults = [
        ("golden/logits.bin", 4, "FAIL: image 0, class 1: the logit is"),
        ("network.bin", 1000, "FAIL: network.bin is refused, ERROR is 6"),
        ("golden/pixels.bin", 3, "FAIL: image 0, class"),
        ("golden/expected.txt", cycles + 3, "FAIL: CYCLES is"),
    ]
    for path, byte, message in faults[: 2 if simulator == "icarus" else 4]:  # a simulation takes Icarus seconds
        before = (folder / path).read_bytes()
        flip(folder / path, byte)
        code, verdict = run_bench(folder, simulator)
        assert code
        assert verdict.startswith(message), (path, verdict)
        (folder / path).write_bytes(before)
    (folder / "network.bin").unlink()
    code, verdict = run_bench(folder, simulator)
    assert code
    assert verdict.startswith("FAIL: cannot read ../../network.bin")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("simulator", "bits"), [("verilator", 64), ("verilator", 128), pytest.param("icarus", 64, marks=NEEDS_ICARUS)]
)
def test_a_bench_has_a_memory_for_streamed_weights(simulator: str, bits: int, tmp_path: Path) -> None:
    """It answers as the engine's own would, and a wrong bit in it is refused."""
    generate(streamed_flow(memory_bits=bits), NETWORK, tmp_path / "made", images=IMAGES)
    folder = alone(tmp_path / "made", tmp_path / "alone")
    assert run_bench(folder, simulator) == (0, PASSED)
    flip(folder / "weights.bin", 9)
    code, verdict = run_bench(folder, simulator)
    assert code
    assert verdict.startswith("FAIL: ERROR is 13")


@pytest.mark.slow
def test_an_embedded_network_needs_no_load_stream(tmp_path: Path) -> None:
    """Behind the other top module, with which the bench is written for `aclk` and `aresetn`."""
    generate(tiny_flow(), NETWORK, tmp_path / "made", images=IMAGES, embed=True, aresetn=True)
    folder = alone(tmp_path / "made", tmp_path / "alone")
    (folder / "network.bin").unlink()
    assert run_bench(folder, FASTEST_BUILD) == (0, PASSED)


@pytest.mark.slow
@pytest.mark.parametrize("family", CELLS)
def test_blocks_of_amd_stand_in_for_the_multipliers(family: str, tmp_path: Path) -> None:
    cell = CELLS[family][0]
    generate(tiny_flow(), NETWORK, tmp_path / "made", images=IMAGES)
    folder = alone(tmp_path / "made", tmp_path / "alone")
    verilog, blocks = folder / "bivit_engine.v", (folder / "amd" / f"{cell.lower()}.v").read_text()
    assert blocks.count(f"  {cell} #(") == blocks.count("endmodule") > 1
    text = f"`define BIVIT_{cell}\n{verilog.read_text()}{blocks}"
    verilog.write_text(text)
    code, said = run_bench(folder, "verilator")
    assert code
    assert re.search(rf"module.* '{cell}'", said)  # which Verilator does not know
    verilog.write_text(text + model_text(family))
    assert run_bench(folder, "verilator") == (0, PASSED)
