"""The multiplier blocks that synthesis puts in the place of components are equal to them, by a model of the blocks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from block_proofs import CELLS, YOSYS, Pair, prove, run

from bivit.hw.multiplier_blocks import multiplier_blocks, with_guards
from bivit.hw.parts.multiply_add import MultiplyAdd, MultiplyPlus
from bivit.hw.synthesis.tools import ToolFailed

#: Small ones, those of engines, and the widest that there can be; the one of 27 bits is none of 7-series.
COMPONENTS = (
    *(MultiplyAdd(4, 3, 10), MultiplyPlus(4, 3, 9), MultiplyPlus(4, 3, 9, minus=True)),
    *(MultiplyAdd(16, 8, 27), MultiplyAdd(25, 9, 43), MultiplyAdd(25, 18, 48), MultiplyPlus(25, 18, 48)),
    *(MultiplyPlus(27, 18, 45), MultiplyPlus(24, 16, 40, minus=True), MultiplyPlus(18, 18, 20, minus=True)),
)
PAIRS = {
    f"{component.module_name}, {cell}": Pair.of(component, family)
    for component in COMPONENTS
    for family, (cell, wide, _) in CELLS.items()
    if component.a_bits <= wide
}
ADD, MINUS = MultiplyAdd(16, 8, 27), MultiplyPlus(24, 16, 40, minus=True)
#: What may be wrong with the block of a sum of products, and with that of a sum with a product.
FAULTS = {
    ADD: {
        "every sum begins anew": (": 7'b0100101;", ": 7'b0000101;"),
        "no sum begins anew": ("first ? 7'b0000101", "first ? 7'b0100101"),
        "the chain stands still": ("shift ? 7'b0010000", "shift ? 7'b0100000"),
        "the product goes into the chain": ("shift ? 7'b0010000", "shift ? 7'b0010101"),
        "first before shift": ("shift ? 7'b0010000 : first ? 7'b0000101", "first ? 7'b0000101 : shift ? 7'b0010000"),
        "the product is taken away": (".ALUMODE(4'b0000)", ".ALUMODE(4'b0011)"),
        "no register of a": (".ACASCREG(1), .AREG(1)", ".ACASCREG(0), .AREG(0)"),
        "no register of b": (".BCASCREG(1), .BREG(1)", ".BCASCREG(0), .BREG(0)"),
        "no register of the product": (".MREG(1)", ".MREG(0)"),
        "no register of the mode": (".OPMODEREG(1)", ".OPMODEREG(0)"),
        "a sum is always taken": (".CEP(enable)", ".CEP(1'b1)"),
        "b is never taken": (".CEB2(1'b1)", ".CEB2(1'b0)"),
        "a reset of the product": (".RSTM(1'b0)", ".RSTM(1'b1)"),
        "a without a sign": ("a[15]}}, a}", "1'b0}}, a}"),
        "another input mode": (".INMODE(5'b0)", ".INMODE(5'b10)"),
        "a sum beside the chain": (".PCIN(chain_in)", ".PCIN(48'b0)"),
    },
    MINUS: {
        "the product is added": (".ALUMODE(4'b0011)", ".ALUMODE(4'b0000)"),
        "less what was there": ("7'b0110101", "7'b0100101"),
        "no product": ("7'b0110101", "7'b0110000"),
        "no register of the sum": (".PREG(1)", ".PREG(0)"),
        "a mode that begins as nothing": (".OPMODEREG(0)", ".OPMODEREG(1)"),
        "a carry": (".CARRYIN(1'b0)", ".CARRYIN(1'b1)"),
    },
}
BROKEN = {
    f"{fault}, {CELLS[family][0]}": Pair.of(component, family).broken(*change)
    for component, faults in FAULTS.items()
    for fault, change in faults.items()
    for family in CELLS
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_a_block_is_proven_equal_to_its_component(name: str, tmp_path: Path) -> None:
    prove(PAIRS[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("component", [ADD, MINUS, MultiplyPlus(25, 18, 43)], ids=lambda one: one.module_name)
def test_another_model_of_the_block_says_the_same(component: MultiplyAdd | MultiplyPlus, tmp_path: Path) -> None:
    """That of the DSP48E1 which Yosys brings."""
    prove(Pair.of(component, "xc7"), tmp_path, YOSYS)


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_no_wrong_block_is_proven(name: str, tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="proof did fail"):
        prove(BROKEN[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (".CREG(0)", ".CREG(1)"),
        (".ALUMODEREG(0)", ".ALUMODEREG(1)"),
        (".ADREG(0)", ".ADREG(1)"),
        (" .AREG(1)", " .AREG(2)"),
        ('"MULTIPLY"', '"DYNAMIC"'),
        (".CREG(0), ", ""),
    ],
)
def test_what_is_beyond_the_model_is_refused(right: str, wrong: str, tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match="beyond_the_subset"):
        prove(Pair.of(ADD, "xcup").broken(right, wrong), tmp_path)


@pytest.mark.slow
def test_blocks_agree_with_their_components_on_random_operands_and_wrong_ones_do_not(tmp_path: Path) -> None:
    differing = run(PAIRS | BROKEN, tmp_path)
    assert {name: differing[name] for name in PAIRS} == dict.fromkeys(PAIRS, 0)
    # A mode that begins as nothing gives one wrong sum, in the cycle behind the start.
    assert [name for name in BROKEN if not differing[name]] == []


def test_what_is_too_wide_for_a_block_has_none() -> None:
    for module, there in (
        ("multiply_add_27x18_48", ["DSP48E2"]),
        ("multiply_plus_25x18_48", ["DSP48E1", "DSP48E2"]),
        ("multiply_minus_28x18_48", []),
        ("multiply_minus_25x19_48", []),
        ("multiply_plus_25x18_49", []),
        ("multiply_times_25x18_48", []),
    ):
        found = {cell: multiplier_blocks(f"module {module}", cell) for cell, _, _ in CELLS.values()}
        assert [cell for cell, text in found.items() if f"module {module}(" in text] == there
        # What there is a block of can be left out of the Verilog, and nothing else can.
        text = with_guards(f"module one ();\nendmodule\nmodule {module} ();\nendmodule\nmodule two ();\nendmodule\n")
        assert re.findall(r"^`ifndef BIVIT_(\w+)\n", text, re.M) == there[::-1]
        assert text.count("`endif\n") == len(there)
        assert re.search(rf"^module one \(\);\nendmodule\n(`ifndef.*\n)*module {module} ", text, re.M)
