"""The small engine that tests of whole networks share, so that it is written and built once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flow_random import spread_table
from shapes import TOKENS

from bivit.cosim.monitor import BENCH_TOP, bench_top
from bivit.cosim.run import Case
from bivit.cosim.runner import Build, build
from bivit.hw.emit import engine_verilog
from bivit.hw.probes import TURN_PROBE, probes, stalls_probe
from bivit.hw.verilog_ports import ports_of
from bivit.hw.verilog_top import ENGINE_TOP
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.engine.presets import engine_for
from bivit.sim.flow.config import FlowConfig
from bivit.sim.flow.machine import FlowMachine
from bivit.sim.flow.streams import TileShape
from bivit.sim.flow.table import SlotTable
from bivit.sim.mapping.program import FlowProgram, compile_network
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.network import IntNetwork

#: Holds every mode of `shapes`; heads, channels and tokens fill neither rows nor columns nor words.
LARGEST = replace(TOKENS, embed_dim=24, num_heads=3, depth=3)


@dataclass(frozen=True)
class Apart:
    """In place of chance, for tables that do not depend on it: how far apart streams begin, in tenths of a tile."""

    distance: int

    def choice(self, values: Sequence[int]) -> int:
        return self.distance


def tiny_flow(**more: Any) -> FlowConfig:
    """An engine that runs all of `shapes.MODES`, whose queue of logits is soon full."""
    array = engine_for(
        LARGEST, rows=3, columns=8, lanes=8, dense_lanes=8, program_words=64, pixel_bytes=1, queue_logits=128
    )
    widths = {"drain_rows": 2, "norm_lanes": 16, "head_norm_lanes": 8, "softmax_lanes": 16, "dense_patches": 2}
    return FlowConfig(**{"engine": array, **widths, **more})


@functools.cache
def tiny_table(config: ViTConfig) -> SlotTable:
    """A table of a network on it, found without a search."""
    engine = tiny_flow().engine
    return spread_table(TileShape(config, engine.rows, engine.columns), Apart(5))


@functools.cache
def tiny_verilog(banks: int = 1) -> str:
    """Its Verilog, with so many banks of loadable memories."""
    return engine_verilog(tiny_flow(load_banks=banks))


#: All that an engine can read of a memory.
ALL_STREAMED: dict[str, Any] = dict.fromkeys(("weights", "edge_weights", "patch_weights"), "streamed")


def streamed_flow(**more: Any) -> FlowConfig:
    """It with weights that are streamed."""
    return tiny_flow(**{"weights": "streamed", "memory_bits": 128, **more})


@functools.cache
def streamed_verilog(**more: Any) -> str:
    """Verilog of that."""
    return engine_verilog(streamed_flow(**more))


def streamed_build(words: int, **more: Any) -> Build:
    """Simulation of that, beside a memory of so many words."""
    text, flow = streamed_verilog(**more), streamed_flow(**more)
    seen = [*probes(flow), TURN_PROBE, stalls_probe(flow)]
    top = bench_top(ENGINE_TOP, ports_of(text, ENGINE_TOP), seen, memory_words=words)
    return build({f"{BENCH_TOP}.sv": top, f"{ENGINE_TOP}.v": text}, BENCH_TOP, simulator="verilator")


def tiny_build(banks: int = 1) -> Build:
    """Its simulation under Verilator, as co-simulation builds it."""
    text, flow = tiny_verilog(banks), tiny_flow(load_banks=banks)
    top = bench_top(ENGINE_TOP, ports_of(text, ENGINE_TOP), [*probes(flow), TURN_PROBE, stalls_probe(flow)])
    return build({f"{BENCH_TOP}.sv": top, f"{ENGINE_TOP}.v": text}, BENCH_TOP, simulator="verilator")


def tiny_case(network: IntNetwork, images: Any, **more: Any) -> Case:
    """A co-simulation of a network on it."""
    options = {"verilog": tiny_verilog(), "table": tiny_table(network.config)} | more
    return Case(network, tiny_flow(), images, **options)


def tiny_program(network: IntNetwork) -> FlowProgram:
    """What is loaded for a network."""
    return compile_network(network, tiny_flow(), tiny_table(network.config))


def stream_of(network: IntNetwork, banks: int = 1) -> bytes:
    """The load stream of a network."""
    return build_stream(FlowMachine(tiny_flow(load_banks=banks)), tiny_program(network).words)
