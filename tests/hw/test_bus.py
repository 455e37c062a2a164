"""The bus rules in Amaranth's simulator: each is broken once by a unit made for it, and found where it is."""

from collections.abc import Mapping
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out
from bus import BusRuleBroken, ports_of, watched_simulator

from bivit.cosim.protocol import PATIENCE_CYCLES, Violation
from bivit.hw.parts.stream import beat_layout

STREAM = {"m_axis_logits_tvalid": 1, "m_axis_logits_tready": 1, "m_axis_logits_tdata": 8, "m_axis_logits_tlast": 1}
STREAM |= {"m_axis_logits_tuser": 8}
#: The same stream as one member.
MEMBER = {"m_axis_logits": stream.Signature(beat_layout(8, 8))}
LITE = {"s_axil_awvalid": 1, "s_axil_awready": 1, "s_axil_awaddr": 8, "s_axil_wvalid": 1, "s_axil_wready": 1}
LITE |= {"s_axil_wdata": 32, "s_axil_wstrb": 4, "s_axil_bvalid": 1, "s_axil_bready": 1, "s_axil_bresp": 2}
LITE |= {"s_axil_arvalid": 1, "s_axil_arready": 1, "s_axil_araddr": 8, "s_axil_rvalid": 1, "s_axil_rready": 1}
LITE |= {"s_axil_rdata": 32, "s_axil_rresp": 2, "irq": 1}

Script = Mapping[int, str]


class Scripted(wiring.Component):
    """Signals that take values by a script: cycle to words ``name=value``, a name without its port's prefix."""

    def __init__(self, ports: Mapping[str, Any], script: Script):
        self.script = script
        super().__init__({name: Out(bits) for name, bits in ports.items()})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cycle = Signal(16)
        m.d.sync += cycle.eq(cycle + 1)
        signals = {name.rpartition("_")[2]: signal for name, signal in ports_of(self).items()}
        for at, words in self.script.items():
            # A value that is seen in cycle n is put into its register by the clock edge before.
            with m.If(cycle == at - 1):
                for word in words.split():
                    name, value = word.split("=")
                    m.d.sync += signals[name].eq(int(value))
        return m


def run(ports: Mapping[str, Any], script: Script, cycles: int = 40, **options: Any) -> None:
    simulator = watched_simulator(Scripted(ports, script), **options)

    async def wait(ctx: Any) -> None:
        for _ in range(cycles):
            await ctx.tick()

    simulator.add_testbench(wait)
    simulator.run()


@pytest.mark.parametrize("ports", [STREAM, MEMBER], ids=["flat", "member"])
@pytest.mark.parametrize(
    ("script", "port", "rule", "cycle"),
    [
        ({3: "tvalid=1", 6: "tvalid=0"}, "m_axis_logits_t", "WITHDRAWN", 6),
        ({3: "tvalid=1 tdata=5", 5: "tdata=7"}, "m_axis_logits_t", "CHANGED", 5),
        ({3: "tvalid=1 tlast=1", 7: "tready=1 tlast=0"}, "m_axis_logits_t", "CHANGED", 7),
        ({3: "tvalid=1", 4: "tuser=1"}, "m_axis_logits_t", "CHANGED", 4),
        ({3: "tvalid=1 tready=1", 4: "tlast=1"}, "m_axis_logits_t", "LAST", 4),
        ({3: "tvalid=1 tready=1"}, "m_axis_logits_t", "LAST", 5),
        ({3: "tvalid=1 tready=1", 4: "tuser=1"}, "m_axis_logits_t", "TAG", 4),
    ],
)
def test_rules_of_a_stream(ports: Mapping[str, Any], script: Script, port: str, rule: str, cycle: int) -> None:
    with pytest.raises(BusRuleBroken, match=rule) as found:
        run(ports, script, classes=3)
    assert found.value.violation == Violation(port, rule, cycle)


WRITTEN = {3: "awvalid=1 awready=1", 4: "awvalid=0 wvalid=1 wready=1", 5: "wvalid=0"}


@pytest.mark.parametrize(
    ("script", "port", "rule", "cycle"),
    [
        ({3: "awvalid=1", 4: "awaddr=4"}, "s_axil_aw", "CHANGED", 4),
        ({3: "wvalid=1", 4: "wstrb=4"}, "s_axil_w", "CHANGED", 4),
        ({3: "arvalid=1", 4: "arvalid=0"}, "s_axil_ar", "WITHDRAWN", 4),
        ({3: "arvalid=1 arready=1", 4: "arvalid=0 rvalid=1", 5: "rdata=1"}, "s_axil_r", "CHANGED", 5),
        ({3: "rvalid=1"}, "s_axil_r", "UNASKED", 3),
        ({3: "arvalid=1 arready=1", 4: "arvalid=0 rvalid=1 rready=1"}, "s_axil_r", "UNASKED", 5),
        ({3: "awvalid=1 awready=1", 4: "awvalid=0 bvalid=1"}, "s_axil_b", "UNASKED", 4),
        ({**WRITTEN, 6: "bvalid=1 bready=1"}, "s_axil_b", "UNASKED", 7),
        ({**WRITTEN, 6: "bvalid=1 bresp=1"}, "s_axil_b", "RESPONSE", 6),
        (WRITTEN, "s_axil_b", "SILENT", 5 + PATIENCE_CYCLES),
        ({3: "irq=1", 5: "irq=0"}, "irq", "LEVEL", 5),
    ],
)
def test_rules_of_registers(script: Script, port: str, rule: str, cycle: int) -> None:
    with pytest.raises(BusRuleBroken, match=rule) as found:
        run(LITE, script, cycles=PATIENCE_CYCLES + 20)
    assert found.value.violation == Violation(port, rule, cycle)


def test_what_is_allowed() -> None:
    """Back-to-back packets with pauses, a write and a read with late answers, an interrupt that a write clears."""
    beats = {3: "tvalid=1 tready=1 tdata=1", 4: "tready=0 tdata=2 tlast=1", 6: "tready=1", 7: "tuser=1 tlast=0"}
    for ports in (STREAM, MEMBER):
        run(ports, {**beats, 8: "tlast=1", 9: "tvalid=0 tuser=0"}, classes=2)
    answered = {**WRITTEN, 4: f"{WRITTEN[4]} irq=1", 6: "bvalid=1 irq=0", 9: "bready=1", 10: "bvalid=0 rready=1"}
    run(LITE, {**answered, 12: "arvalid=1 arready=1", 13: "arvalid=0", 20: "rvalid=1 rresp=2", 21: "rvalid=0"})
