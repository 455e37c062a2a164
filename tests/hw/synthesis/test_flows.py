"""What Yosys is told of ECP5's block memories."""

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out

from bivit.hw.parts.component import Component
from bivit.hw.parts.memory import WordMemory
from bivit.hw.synthesis.flows import FLOWS
from bivit.hw.synthesis.netlist import Netlist
from bivit.hw.synthesis.synth import netlist_of, rtlil_text


class Deep(Component):
    """A memory of 1,500 words of 72 bits."""

    def __init__(self) -> None:
        super().__init__({"w_en": In(1), "addr": In(11), "w_data": In(72), "r_data": Out(72)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.words = words = WordMemory(72, 1500)
        m.d.comb += [words.w_en.eq(self.w_en), words.w_addr.eq(self.addr), words.w_data.eq(self.w_data)]
        m.d.comb += [words.r_addr[0].eq(self.addr), self.r_data.eq(words.r_data[0])]
        return m


def test_a_deep_memory_that_is_placed_has_no_choice_behind_it() -> None:
    flow, text = FLOWS["ecp5"], rtlil_text(Deep())
    counted, placed = (Netlist(netlist_of(text, script, 600)).cells for script in (flow.script, flow.placed_script))
    assert (counted["DP16KD"], placed["DP16KD"]) == (6, 8)
    assert counted["LUT4"] >= 72
    assert "LUT4" not in placed
