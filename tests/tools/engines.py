"""The Verilog of the small engine that tests of whole networks share, so that it is written and built once."""

import functools

from shapes import tiny_engine

from bivit.cosim.monitor import BENCH_TOP, bench_top, ports_of
from bivit.cosim.runner import Build, build
from bivit.hw.emit import engine_verilog
from bivit.hw.probes import probes
from bivit.hw.verilog_top import ENGINE_TOP
from bivit.sim.engine.loadstream import build_stream
from bivit.sim.network.network import IntNetwork
from bivit.sim.program.compiler import compile_network
from bivit.sim.program.load_words import load_words


@functools.cache
def tiny_verilog() -> str:
    """Verilog of `shapes.tiny_engine`."""
    return engine_verilog(tiny_engine())


def tiny_build() -> Build:
    """Its simulation under Verilator."""
    text = tiny_verilog()
    sources = {f"{BENCH_TOP}.sv": bench_top(ENGINE_TOP, ports_of(text, ENGINE_TOP), probes(tiny_engine()))}
    return build(sources | {f"{ENGINE_TOP}.v": text}, BENCH_TOP, simulator="verilator")


def stream_of(network: IntNetwork) -> bytes:
    """The load stream of a network for `shapes.tiny_engine`."""
    engine = tiny_engine()
    return build_stream(engine, load_words(network, compile_network(network, engine)))
