"""Networks with windows on a small engine: every tensor, register, cycle and stall; and faults that are seen."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from flow_campaign import quick_builds
from shapes import random_images
from windowed import tiny_swin, windowed_for

from bivit.cosim.run import Case
from bivit.cosim.session import CosimResult
from bivit.hw.emit import engine_verilog
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.flow.settings import setting_bits
from bivit.sim.mapping.passes import passes_of
from bivit.sim.mapping.words import Words
from bivit.sim.network.config import ModelConfig, ViTConfig
from bivit.sim.network.formats import Formats
from bivit.sim.network.random import random_network
from bivit.sim.network.taps import taps_of

ONE = tiny_swin(img_size=8, embed_dim=16, depths=(2,), num_heads=(2,))
TWO = tiny_swin(depths=(1, 2), num_heads=(1, 2))
THREE = tiny_swin()
DEIT = ViTConfig(
    img_size=6, patch_size=2, in_chans=1, num_classes=3, embed_dim=16, depth=2, num_heads=2, class_token=True
)
MODES = {
    "threshold": {"qk_mode": "threshold"},
    "score": {"attn_mode": "score"},
    "mean": {"norm_mode": "mean", "qk_mode": "threshold"},
}
#: What is inside a unit, and comes out of it as something else.
INNER = (".s1", ".r", ".m", ".z", ".c", "mlp.fc1")
FLOW = windowed_for([ONE, TWO, THREE, DEIT], rows=2, columns=8, norm_lanes=4, together=2)


def modes(config: ModelConfig, mode: str) -> ModelConfig:
    return tiny_swin(**{**{name: getattr(config, name) for name in _OF_SWIN}, **MODES[mode]})


_OF_SWIN = ("img_size", "embed_dim", "depths", "num_heads", "window_size")


@functools.cache
def written() -> str:
    return engine_verilog(FLOW)


def case_of(config: ModelConfig, images: int = 3, stream: bytes | None = None) -> Case:
    network = random_network(config, seed=3)
    return Case(network, FLOW, random_images(config, images), verilog=written(), stream=stream)


def run(case: Case, stall: float = 0.0) -> CosimResult:
    with quick_builds():
        return case.run(stall=stall, seed=2)


def wrong(case: Case, result: CosimResult) -> list[object]:
    """All that is not as it must be."""
    found: list[object] = [result.first_mismatch] * bool(result.mismatches)
    found += [*result.registers, *result.violations]
    if not result.stall:
        expected = case.estimate
        found += [("cycles", result.cycles, expected.cycles)] * (result.cycles != expected.cycles)
        counted = {cause: result.counters[cause] for cause in expected.stalls}
        found += [(counted, expected.stalls)] * (counted != expected.stalls)
    return found


@pytest.mark.parametrize("images", [1, 2, 3, 5])
def test_the_stages_of_a_swin(images: int) -> None:
    """Groups of two images, and what is left of them."""
    case = case_of(THREE, images)
    result = run(case)
    assert wrong(case, result) == []
    compared = [tap for tap in taps_of(THREE) if tap.name.endswith(("mlp.fc2", "proj", "reduction", "downsample"))]
    assert compared
    assert result.values > sum(case.reference.taps[tap.name].size for tap in compared)


@pytest.mark.parametrize("config", [ONE, TWO], ids=["one", "two"])
def test_windows_that_are_shifted(config: ModelConfig) -> None:
    assert any(block.shift for block in config.blocks)
    case = case_of(config)
    assert wrong(case, run(case)) == []


@pytest.mark.parametrize("mode", MODES)
def test_modes(mode: str) -> None:
    case = case_of(modes(TWO, mode))
    assert wrong(case, run(case)) == []


def test_a_deit_on_the_same_engine() -> None:
    case = case_of(DEIT)
    assert wrong(case, run(case)) == []


@pytest.mark.parametrize("config", [THREE, ONE, DEIT], ids=["three", "one", "deit"])
def test_ports_that_stall(config: ModelConfig) -> None:
    case = case_of(config, 5)
    assert wrong(case, run(case, stall=0.4)) == []


def flip(memory: str, word: int, bit: int) -> Callable[[Words], None]:
    """A fault of the load stream: one bit."""

    def plant(words: Words) -> None:
        run_of = list(words[memory][0])
        run_of[word] ^= 1 << bit
        words[memory] = {**words[memory], 0: run_of}

    return plant


def setting(name: str, of_pass: int) -> int:
    """The word of a setting in the memory of those of all passes."""
    bits = list(setting_bits(FLOW))
    return of_pass * len(bits) + bits.index(name)


def base(config: ModelConfig, of_pass: int, name: str) -> int:
    """Where what a pass uses begins in a memory."""
    value: int = getattr(passes_of(config, Formats(), FLOW)[of_pass].bases, name)
    return value


#: Network, memory, word, bit, and the first tensor that is wrong.
FAULTS: dict[str, tuple[ModelConfig, str, int, int, str]] = {
    "bias": (TWO, "bias", 0, 4, "layers.0.blocks.0.attn.attn_sign"),
    "mask": (ONE, "masks", 0, 0, "layers.0.blocks.1.attn.attn_sign"),
    "place": (ONE, "places", 5, 2, "layers.0.blocks.0.norm1"),
    "place of a shifted window": (ONE, "places", 16 + 5, 2, "layers.0.blocks.1.norm1"),
    "setting": (TWO, "passes", setting("bias_step", 2), 0, "layers.1.blocks.1.attn.attn_sign"),
    "number of rounds": (TWO, "passes", setting("rounds_last", 2), 0, "layers.1.blocks.1"),
    "weight of a merging": (TWO, "weights", base(TWO, 1, "weights"), 3, "layers.1.downsample.reduction"),
    "parameter of a merging": (TWO, "residual", base(TWO, 1, "layer"), 3, "layers.1.downsample"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_load_stream_is_seen_and_named(fault: str) -> None:
    config, memory, word, bit, tensor = FAULTS[fault]
    whole = case_of(config, 1)
    words: Words = {name: dict(runs) for name, runs in whole.program.words.items()}
    flip(memory, word, bit)(words)
    result = run(case_of(config, 1, build_stream(whole.machine, words)))
    assert result.first_mismatch is not None
    assert result.first_mismatch.tensor.startswith(tensor), str(result.first_mismatch)
