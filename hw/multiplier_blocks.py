"""AMD's multiplier blocks in place of the components of `hw.parts.multiply_add`, whose registers and sums they have.

Yosys finds multiplications for such blocks, but not, on UltraScale+, what follows them. That a block is equal to its
component is proven in tests/hw/synthesis/test_multiplier_blocks.py; of a chain in the bits of the sum.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from operator import le

from .parts.multiply_add import CHAIN_BITS

#: Begins the name of the macro by which an engine's Verilog leaves out what a file of blocks has; the cell follows.
MACRO = "BIVIT_"
#: A module of `hw.parts.multiply_add` in RTLIL or Verilog: its kind, widths of its operands and of its sum.
_MODULE = re.compile(r"^module \\?(multiply_(add|plus|minus)_(\d+)x(\d+)_(\d+))\b", re.M)
_WHOLE = re.compile(rf"{_MODULE.pattern}.*?^endmodule\n", re.M | re.S)
#: Bits of a block's operands at its ports, and signed width of the narrower one at its multiplier.
_A_BITS, _B_BITS = 30, 18
#: Registers of both blocks: of operands, product and sum. OPMODE has one where it changes; as it begins as 0, a sum of
#: nothing, one that is always the same has none. All others are left out.
_REGISTERS = {
    **dict.fromkeys(("ACASCREG", "AREG", "BCASCREG", "BREG", "MREG", "PREG"), 1),
    **dict.fromkeys(("ADREG", "ALUMODEREG", "CARRYINREG", "CARRYINSELREG", "CREG", "DREG", "INMODEREG"), 0),
}
#: Inputs that are 0, and enables of registers that never stop.
_LOW = (
    *("CARRYIN", "CARRYCASCIN", "MULTSIGNIN", "CEA1", "CEB1", "CEC", "CED", "CEAD", "CEALUMODE", "CECARRYIN"),
    *("CEINMODE", "RSTA", "RSTALLCARRYIN", "RSTALUMODE", "RSTB", "RSTC", "RSTCTRL", "RSTD", "RSTINMODE", "RSTM"),
    "RSTP",
)
_HIGH = ("CEA2", "CEB2", "CECTRL", "CEM")
#: OPMODE: Z is 0, P, PCIN or C; Y and X are the product, or 0. ALUMODE: Z plus or minus that.
_FIRST, _MORE, _SHIFT, _PLUS = "7'b0000101", "7'b0100101", "7'b0010000", "7'b0110101"
_ALU = {"add": "4'b0000", "plus": "4'b0000", "minus": "4'b0011"}


@dataclass(frozen=True)
class _Block:
    """A family's block: signed width of the wider operand at its multiplier, and bits of OPMODE."""

    a_bits: int
    mode_bits: int

    def holds(self, *bits: int) -> bool:
        """Whether operands and sum of so many bits, in the order of a module's name, are not too wide for it."""
        return all(map(le, bits, (self.a_bits, _B_BITS, CHAIN_BITS)))


#: Blocks by their cells: of 7-series, and of UltraScale+.
_BLOCKS = {"DSP48E1": _Block(25, 7), "DSP48E2": _Block(27, 9)}
#: Cells of blocks, as those who name one may.
BLOCK_CELLS = tuple(_BLOCKS)


def multiplier_blocks(text: str, cell: str) -> str:
    """Return modules with a block in each for those of a design that are what a block is.

    Parameters
    ----------
    text : str
        The design, in RTLIL or Verilog.
    cell : {"DSP48E1", "DSP48E2"}
        The block, of 7-series or of UltraScale+.

    Returns
    -------
    str
        Verilog. What is too wide for a block is left out.
    """
    found = [(name, kind, *map(int, widths)) for name, kind, *widths in _MODULE.findall(text)]
    return "".join(_module(cell, *one) for one in found if _BLOCKS[cell].holds(*one[2:]))


def with_guards(text: str) -> str:
    """Return Verilog in which a macro for each cell, `MACRO` and its name, leaves out what `multiplier_blocks` gives.

    Parameters
    ----------
    text : str
        Verilog.
    """
    return _WHOLE.sub(lambda found: _guarded(found[0], *map(int, found.groups()[2:])), text)


def _guarded(module: str, *bits: int) -> str:
    for cell, block in _BLOCKS.items():
        if block.holds(*bits):
            module = f"`ifndef {MACRO}{cell}\n{module}`endif\n"
    return module


def _module(cell: str, name: str, kind: str, a_bits: int, b_bits: int, sum_bits: int) -> str:
    """One module."""
    block, chain = _BLOCKS[cell], kind == "add"
    ports = ["input clk", "input rst", f"input [{a_bits - 1}:0] a", f"input [{b_bits - 1}:0] b"]
    ports += [f"input {one}" for one in ("enable", "first", "shift")] if chain else [f"input [{sum_bits - 1}:0] c"]
    wide = f"[{CHAIN_BITS - 1}:0]"
    ports += [f"input {wide} chain_in", f"output {wide} chain"] if chain else []
    ports += [f"output [{sum_bits - 1}:0] sum"]
    mode = f"shift ? {_SHIFT} : first ? {_FIRST} : {_MORE}" if chain else _PLUS
    pins = {
        **dict.fromkeys(_LOW, "1'b0"),
        **dict.fromkeys(_HIGH, "1'b1"),
        **{"CLK": "clk", "A": _extended("a", a_bits, _A_BITS), "B": _extended("b", b_bits, _B_BITS)},
        **{"ACIN": f"{_A_BITS}'b0", "BCIN": f"{_B_BITS}'b0", "D": f"{block.a_bits}'b0"},
        **{"OPMODE": "mode", "ALUMODE": _ALU[kind], "INMODE": "5'b0", "CARRYINSEL": "3'b0", "P": "p"},
        "CEP": "enable" if chain else "1'b1",
        "C": f"{CHAIN_BITS}'b0" if chain else _extended("c", sum_bits, CHAIN_BITS),
        "PCIN": "chain_in" if chain else f"{CHAIN_BITS}'b0",
        **({"PCOUT": "chain"} if chain else {}),
    }
    parameters = {**_REGISTERS, "OPMODEREG": int(chain), "USE_MULT": '"MULTIPLY"'}
    lines = [
        f"module {name}({', '.join(ports)});",
        f"  wire {wide} p;",
        f"  wire [{block.mode_bits - 1}:0] mode = {mode};",  # W, the top bits of a DSP48E2's, is 0
        f"  {cell} #({', '.join(f'.{key}({value})' for key, value in parameters.items())}) block (",
        ",\n".join(f"    .{pin}({value})" for pin, value in pins.items()),
        "  );",
        f"  assign sum = p[{sum_bits - 1}:0];",
        "endmodule\n",
    ]
    return "\n".join(lines)


def _extended(name: str, bits: int, to: int) -> str:
    """A signed operand, as wide as the block's."""
    return f"{{{{{to - bits}{{{name}[{bits - 1}]}}}}, {name}}}" if to > bits else name
