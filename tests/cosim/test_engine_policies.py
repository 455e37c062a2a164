"""Another order of operations on the same Verilog: other cycles, the same numbers, and a prediction as exact."""

import functools

import pytest
from engines import tiny_verilog
from shapes import MODES, random_images, tiny_engine

from bivit.cosim import run
from bivit.sim.network.random import random_network
from bivit.sim.program.compiler import compile_network
from bivit.sim.program.cycles import estimate_cycles
from bivit.sim.program.schedule import EarliestFirst

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("mode", "stall", "fill_gaps"),
    [("odd", 0.0, False), ("all_cheap", 0.5, False), ("tokens", 0.0, True), ("tokens", 0.5, True)],
)
def test_another_policy_writes_the_same_and_takes_the_cycles_that_it_says(mode, stall, fill_gaps, monkeypatch):
    """With stalls, too, where gaps of ports are filled: the streams stall the edge only, and nothing in the core."""
    network = random_network(MODES[mode], seed=5)
    compile_so = functools.partial(compile_network, policy=EarliestFirst(), fill_gaps=fill_gaps)
    monkeypatch.setattr(run, "compile_network", compile_so)
    images = random_images(network.config, 2)
    found = run.run_cosim(network, tiny_engine(), images, verilog=tiny_verilog(), stall=stall)
    assert (found.mismatches, found.first_mismatch) == (0, None)
    estimate = estimate_cycles(compile_so(network, tiny_engine()), 2)
    in_order = estimate_cycles(compile_network(network, tiny_engine()), 2)
    assert found.cycles - found.stall_pixels == estimate.cycles - estimate.stall_pixels
    assert estimate.cycles < in_order.cycles
    assert estimate.array_busy == in_order.array_busy
