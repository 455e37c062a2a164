"""AMD's multiplier blocks in place of `hw.parts.multiply_add.MultiplyAdd`, whose registers and sum they have.

Yosys finds multiplications for such blocks, but not, on UltraScale+, sums and chains of sums.
"""

from __future__ import annotations

import re

from ..parts.multiply_add import CHAIN_BITS

#: A module of `MultiplyAdd` in RTLIL or Verilog: widths of its operands and of its sum.
_MODULE = re.compile(r"^module \\?(multiply_add_(\d+)x(\d+)_(\d+))\b", re.M)
#: Blocks by what a synthesis script says of the family; signed width of the wider operand, bits of OPMODE.
_BLOCKS = {"-family xcup": ("DSP48E2", 27, 9), "-family xc7": ("DSP48E1", 25, 7)}
#: Bits of the block's operands, and of the narrower one in the multiplier.
_A_BITS, _B_BITS = 30, 18
#: Both blocks: registers of both operands, of the product, of the sum, and of what chooses the sum.
_PARAMETERS = {
    **dict.fromkeys(("ACASCREG", "AREG", "BCASCREG", "BREG", "MREG", "OPMODEREG", "PREG"), 1),
    **dict.fromkeys(("ADREG", "ALUMODEREG", "CARRYINREG", "CARRYINSELREG", "CREG", "DREG", "INMODEREG"), 0),
}
#: Inputs that are what they are when unused; enables of registers that never stop.
_IDLE = {
    **dict.fromkeys(("CARRYIN", "CARRYCASCIN", "MULTSIGNIN", "CEA1", "CEB1", "CEC", "CED", "CEAD"), "1'b0"),
    **dict.fromkeys(("CEALUMODE", "CECARRYIN", "CEINMODE", "RSTA", "RSTALLCARRYIN", "RSTALUMODE", "RSTB"), "1'b0"),
    **dict.fromkeys(("RSTC", "RSTCTRL", "RSTD", "RSTINMODE", "RSTM", "RSTP"), "1'b0"),
    **dict.fromkeys(("CEA2", "CEB2", "CECTRL", "CEM"), "1'b1"),
    **{"ALUMODE": "4'b0000", "CARRYINSEL": "3'b000", "INMODE": "5'b00000", "ACIN": "30'b0", "BCIN": "18'b0"},
    "C": "48'b0",
}


def multiplier_blocks(text: str, script: str) -> str:
    """Return the modules of `MultiplyAdd` in a design as blocks of the family that it is synthesised for.

    Parameters
    ----------
    text : str
        The design, in RTLIL or Verilog.
    script : str
        Synthesis command of Yosys, which names the family.

    Returns
    -------
    str
        Verilog; nothing where the family has no such block.
    """
    found = next((block for name, block in _BLOCKS.items() if name in script), None)
    if found is None:
        return ""
    return "".join(_module(*found, name, *map(int, widths)) for name, *widths in _MODULE.findall(text))


def _module(block: str, most: int, mode_bits: int, name: str, a_bits: int, b_bits: int, sum_bits: int) -> str:
    """One module; what is too wide for a block stays as it is."""
    if a_bits > most or b_bits > _B_BITS:
        return ""
    wide = "2'b00, " if mode_bits == 9 else ""  # W, which DSP48E1 has not
    ports = ["input clk", "input rst", f"input signed [{a_bits - 1}:0] a", f"input signed [{b_bits - 1}:0] b"]
    ports += [f"input {one}" for one in ("enable", "first", "shift")]
    ports += [f"input [{CHAIN_BITS - 1}:0] chain_in", f"output [{CHAIN_BITS - 1}:0] chain"]
    ports += [f"output [{sum_bits - 1}:0] sum"]
    pins = {
        **{"CLK": "clk", "A": _extended("a", a_bits, _A_BITS), "B": _extended("b", b_bits, _B_BITS)},
        **{"CEP": "enable", "OPMODE": "mode", "PCIN": "chain_in", "PCOUT": "chain", "P": "p"},
        **_IDLE,
        "D": f"{27 if block == 'DSP48E2' else 25}'b0",
    }
    # OPMODE: Z is 0, P or PCIN; Y and X are the product, or 0.
    mode = f"{{{wide}shift ? 7'b0010000 : first ? 7'b0000101 : 7'b0100101}}"
    parameters = {**_PARAMETERS, "USE_MULT": '"MULTIPLY"'}
    lines = [
        f"module {name}({', '.join(ports)});",
        f"  wire [{CHAIN_BITS - 1}:0] p;",
        f"  wire [{mode_bits - 1}:0] mode = {mode};",
        f"  {block} #({', '.join(f'.{key}({value})' for key, value in parameters.items())}) block (",
        ",\n".join(f"    .{pin}({value})" for pin, value in pins.items()),
        "  );",
        f"  assign sum = p[{sum_bits - 1}:0];",
        "endmodule\n",
    ]
    return "\n".join(lines)


def _extended(name: str, bits: int, to: int) -> str:
    """A signed operand, as wide as the block's."""
    return f"{{{{{to - bits}{{{name}[{bits - 1}]}}}}, {name}}}" if to > bits else name
