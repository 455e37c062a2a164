"""The whole engine at the ends of its parameters' ranges, with ties, and in shapes that only larger engines have."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from engines import LARGEST, Apart, tiny_case, tiny_flow
from extremes import extreme_network, lonely_network, loud_network, tied_network
from flow_random import spread_table
from shapes import MODES, TINY, TOKENS, bright_images, random_images

from bivit.cosim.register_check import RegisterDifference, compare_registers, expected_registers
from bivit.cosim.run import run_cosim
from bivit.cosim.scenario import Outcome
from bivit.cosim.session import CosimResult
from bivit.hw.emit import engine_verilog
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.presets import engine_for
from bivit.sim.engine.registers import BY_NAME, COUNTERS, REGISTERS
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.streams import TileShape
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference

EXTREMES = [("softmax", "low"), ("all_cheap", "low"), ("softmax", "high"), ("all_cheap", "high")]
EXTREMES += [(mode, "mixed") for mode in ("softmax", "mean_norm", "tokens", "all_cheap", "score")]


def cosim(network: IntNetwork, *, count: int = 2, seed: int = 0) -> CosimResult:
    return tiny_case(network, random_images(network.config, count, seed)).run(stall=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "ends"), EXTREMES)
def test_the_ends_of_every_range(mode: str, ends: str) -> None:
    result = cosim(extreme_network(MODES[mode], ends, seed=3))
    assert result.first_mismatch is None
    assert (result.registers, result.violations) == ((), ())
    assert result.saturations > 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["softmax", "threshold_qk", "score", "tokens"])
def test_ties(mode: str) -> None:
    result = cosim(tied_network(random_network(MODES[mode], seed=1)))
    assert result.first_mismatch is None
    assert result.agrees


@pytest.mark.slow
@pytest.mark.parametrize("config", [TINY, LARGEST])
def test_the_largest_sums_of_patches(config: ViTConfig) -> None:
    """They go into x without a saturation, which would hide a wrong bit."""
    network = loud_network(random_network(config, seed=2))
    result = tiny_case(network, bright_images(network.config, 2)).run(stall=0.1)
    assert result.agrees
    x = run_reference(network, bright_images(network.config, 2), taps="all").taps["patch_embed"]
    end = 1 << network.formats.residual_bits - 1
    assert -end < x.min() < -0.9 * end
    assert 0.9 * end < x.max() < end - 1


@pytest.mark.slow
@pytest.mark.parametrize("config", [TINY, LARGEST])
def test_a_channel_as_far_from_the_mean_as_any_can_be(config: ViTConfig) -> None:
    network = lonely_network(random_network(config, seed=3))
    result = cosim(network, count=1)
    assert result.agrees
    x = run_reference(network, random_images(config, 1), taps="all").taps["patch_embed"].astype(int)
    far = np.abs(x * config.embed_dim - x.sum(axis=-1, keepdims=True)).max(axis=-1)
    assert far.min() > (2 * config.embed_dim - 3) * ((1 << network.formats.residual_bits - 1) - 1)


@pytest.mark.slow
@pytest.mark.parametrize("modes", [{}, {"qk_mode": "threshold", "attn_mode": "score"}])
def test_scores_of_a_single_tile_wait_for_its_queries(modes: dict[str, str]) -> None:
    """Of several tiles the queries are there before all keys; streams that begin further apart lock up."""
    network = random_network(replace(LARGEST, img_size=2, **modes), seed=1)
    shape = TileShape(network.config, tiny_flow().engine.rows, tiny_flow().engine.columns)
    assert shape.tiles == 1
    case = tiny_case(network, random_images(network.config, 3), table=spread_table(shape, Apart(3)))
    assert case.run(stall=0.0).agrees


#: Heads of 24 channels on 16 columns: groups of which half of the columns count. Rows of bits of 72, 144 and 65
#: elements are longer than a word; the last tile has fewer rows than the others.
WIDE = replace(TOKENS, img_size=16, in_chans=1, embed_dim=72, num_heads=3, depth=2, num_classes=19, dist_token=False)
WIDE_ENGINE = FlowConfig(
    engine=engine_for(WIDE, rows=2, columns=16, lanes=8, dense_lanes=16, program_words=4096, pixel_bytes=1),
    drain_rows=2,
    norm_lanes=8,
    head_norm_lanes=16,
    softmax_lanes=32,
    value_rows=2,
    dense_patches=3,
    products_per_dsp=2,
)


@functools.cache
def wide_verilog() -> str:
    return engine_verilog(WIDE_ENGINE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{}, {"attn_mode": "score", "qk_mode": "threshold"}, {"norm_mode": "mean", "class_token": False, "pool": "mean"}],
)
def test_chunks_words_and_part_groups(changes: dict[str, str]) -> None:
    """Shapes that the smallest engine does not have: half groups of columns, several words a product, 65 tokens."""
    network = random_network(replace(WIDE, **changes), seed=2)
    result = run_cosim(network, WIDE_ENGINE, random_images(network.config, 1), verilog=wide_verilog(), stall=0.1)
    assert result.first_mismatch is None
    assert result.agrees


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["low", "mixed"])
def test_two_channels_a_multiplier_at_the_ends_of_every_range(ends: str) -> None:
    """Two of the three patches of a pass on this engine."""
    network = extreme_network(replace(WIDE, img_size=6, depth=1), ends, seed=4)
    result = run_cosim(network, WIDE_ENGINE, random_images(network.config, 1), verilog=wide_verilog())
    assert result.agrees


@pytest.mark.slow
def test_an_odd_number_of_saturations_is_counted() -> None:
    """Every bit of the counter matters, the lowest too."""
    network = extreme_network(TINY, "mixed", seed=3)
    result = cosim(network, count=3)
    assert result.agrees
    assert result.saturations == run_reference(network, random_images(TINY, 3)).saturations == 399


@pytest.mark.slow
def test_another_network_in_the_engine_is_named_by_its_register() -> None:
    """A stream with the same numbers and another hash: no tensor differs, and only the register tells."""
    case = tiny_case(random_network(TINY, seed=5), random_images(TINY, 1))
    words = case.program.words
    right = words["settings"][0][-1]
    words["settings"][0][-1] ^= 1
    case.stream = build_stream(case.machine, words)
    result = case.run()
    assert (result.mismatches, result.registers) == (0, (RegisterDifference("NETWORK", right, right ^ 1),))
    assert not result.agrees


def outcome_of(registers: dict[str, int], irq: int = 1) -> Outcome:
    return Outcome(dict(registers), irq=irq)


def test_every_register_is_compared() -> None:
    network = random_network(TINY, seed=5)
    expected = expected_registers(FlowMachine(tiny_flow()), network, 3, 5)
    assert list(compare_registers(expected, outcome_of(expected))) == []
    for name, value in expected.items():
        for wrong in (value ^ 1, value ^ 1 << 31):
            found = list(compare_registers(expected, outcome_of(expected | {name: wrong})))
            assert RegisterDifference(name, value, wrong) in found
            assert f"register {name}: expected {int(value)} (" in str(found[0])
    halves = {f"{counter}_{half}" for counter in COUNTERS for half in ("LO", "HI")}
    assert set(expected) == {register.name for register in REGISTERS} - halves


@pytest.mark.parametrize(("name", "bit"), [("STATUS", "irq"), ("CONTROL", "irq_enable")])
def test_the_interrupt_pin_follows_its_registers(name: str, bit: str) -> None:
    expected = expected_registers(FlowMachine(tiny_flow()), random_network(TINY, seed=5), 1, 0)
    assert list(compare_registers(expected, outcome_of(expected, irq=0))) == [RegisterDifference("irq", 1, 0)]
    low = expected | {name: expected[name] & ~BY_NAME[name].field(bit).mask}
    assert list(compare_registers(low, outcome_of(low, irq=1))) == [RegisterDifference("irq", 0, 1)]
