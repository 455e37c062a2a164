"""The engine's ports as whoever integrates it sees them: which bus a port belongs to, what it does there, its order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from amaranth.hdl import Shape
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..sim.engine.target import Target
from ..sim.flow.edge_lines import ID_BITS
from ..sim.flow.weight_stream import RUN_BITS
from .edge.logits_queue import LOGIT_BEAT
from .fetch.axi import read_master
from .parts.stream import LOAD_BEAT, axis_ports, beat_layout
from .registers import AXI_LITE

Role = Literal["sink", "slave", "source", "master"]
#: What the names of the ports begin with by which streamed weights are read.
WEIGHTS_PORT = "m_axi_weights"


def engine_ports(engine: Target) -> dict[str, wiring.Member]:
    """Return the top-level ports of an engine, by name; the clock and reset come on top.

    Parameters
    ----------
    engine : Target
    """
    return {
        **{f"s_axil_{name}": port for name, port in AXI_LITE.items()},
        **axis_ports("s_axis_pixels", In, beat_layout(8 * engine.pixel_bytes)),
        **axis_ports("s_axis_load", In, LOAD_BEAT),
        **axis_ports("m_axis_logits", Out, LOGIT_BEAT),
        **{
            f"{WEIGHTS_PORT}_{name}": port
            for name, port in read_master(engine.memory_bits, ID_BITS if engine.edge_streamed else RUN_BITS).items()
            if engine.memory_bits
        },
        "irq": Out(1),
    }


@dataclass(frozen=True)
class Port:
    """A port of the top module.

    Parameters
    ----------
    name : str
        In the Verilog.
    direction : {"input", "output"}
    bits : int
    signal : str
        Its name in the protocol, as TDATA.
    """

    name: str
    direction: str
    bits: int
    signal: str


@dataclass(frozen=True)
class Interface:
    """Ports that belong together.

    Parameters
    ----------
    name : str
        What the names of its ports begin with.
    protocol : str
        ``clock``, ``reset``, ``interrupt``, or the name of the bus.
    role : {"sink", "slave", "source", "master"}
        Of the engine: a sink takes, a source gives, a slave answers, a master asks.
    text : str
        What goes over it.
    ports : tuple[Port, ...]
    polarity : str or None
        Level at which a single signal acts; None for a bus.
    """

    name: str
    protocol: str
    role: Role
    text: str
    ports: tuple[Port, ...]
    polarity: str | None = None


#: Buses: prefix of their ports, protocol, role and meaning, in the order in which ports are listed.
_BUSES: tuple[tuple[str, str, Role, str], ...] = (
    ("s_axil", "AXI4-Lite", "slave", "control and status registers, 32 bits"),
    ("s_axis_pixels", "AXI4-Stream", "sink", "images; bits 7:0 are the first byte, TLAST at an image's last beat"),
    ("s_axis_load", "AXI4-Stream", "sink", "the network; bits 7:0 are the first byte, TLAST at the last beat"),
    (
        "m_axis_logits",
        "AXI4-Stream",
        "source",
        "int32; TUSER is the image's number in its run, TLAST at its last class",
    ),
    (WEIGHTS_PORT, "AXI4", "master", "reads the memory image of the weights, in bursts of up to 64 beats"),
)


def interfaces(engine: Target, *, aresetn: bool = False) -> list[Interface]:
    """Return all ports of an engine in the order in which they are listed, bus by bus.

    Parameters
    ----------
    engine : Target
        The engine.
    aresetn : bool
        With the names that AMD gives clock and reset, the reset active low.
    """
    flat = [
        Port(name, "input" if port.flow is In else "output", Shape.cast(port.shape).width, _signal(name))
        for name, port in engine_ports(engine).items()
    ]
    clock, reset, level = ("aclk", "aresetn", "low") if aresetn else ("clk", "rst", "high")
    buses = [
        Interface(name, protocol, role, text, tuple(port for port in flat if port.name.startswith(f"{name}_")))
        for name, protocol, role, text in _BUSES
        if engine.memory_bits or name != WEIGHTS_PORT
    ]
    return [
        _single(clock, "clock", "sink", "the one clock; all other ports belong to it", "input", "rising edge"),
        _single(reset, "reset", "sink", "synchronous to the clock, at least one cycle", "input", f"active {level}"),
        *buses,
        _single("irq", "interrupt", "source", "a level, see STATUS.irq", "output", "active high"),
    ]


def _signal(name: str) -> str:
    return name.rpartition("_")[2].upper()


def _single(name: str, protocol: str, role: Role, text: str, direction: str, polarity: str) -> Interface:
    """Return an interface of one port."""
    return Interface(name, protocol, role, text, (Port(name, direction, 1, _signal(name)),), polarity)
