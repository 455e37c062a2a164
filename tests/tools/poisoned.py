"""Verilog in which a memory's word is wrong when it is read in the cycle in which it is written.

So block memories of some FPGAs are. What `hw.parts.memory.unmet` says of a memory, that such a word counts for nothing,
is true if the engine does the same with it.
"""

from __future__ import annotations

import re

_MODULE = re.compile(r"^module .*?^endmodule$", re.M | re.S)
_NAME = r"\\\S+ |[A-Za-z_]\w*"
_MEMORY = re.compile(
    rf"^(?:  \(\* no_rw_check = 32'd1 \*\)\n)(?:  \(\* .* \*\)\n)*  reg \[\d+:0\] ({_NAME}) ?\[\d+:0\];$", re.M
)


def poisoned(verilog: str, *, any_word: bool = False) -> tuple[str, int]:
    """Return the text with every bit of such words inverted, and how many reads that are.

    With `any_word` whatever is read while another word is written as well.
    """
    reads = 0

    def module(found: re.Match[str]) -> str:
        nonlocal reads
        text = found[0]
        for name in _MEMORY.findall(text):
            text, count = _inverted(text, name.strip(), any_word=any_word)
            reads += count
        return text

    return _MODULE.sub(module, verilog), reads


def _inverted(text: str, memory: str, *, any_word: bool) -> tuple[str, int]:
    """The text of a module whose reads of one memory are inverted while the word is written."""
    word = rf"{re.escape(memory)} ?\[(.+?)\]"
    writes = re.findall(rf"^ +(?:if \((.+)\)\n +)?{word}(?:\[\d+(?::\d+)?\])? <= ", text, re.M)
    met = [f"(({enable or '1'}) && (({addr}) == (%s) || {int(any_word)}))" for enable, addr in dict.fromkeys(writes)]

    def read(found: re.Match[str]) -> str:
        here = " || ".join(one % found[2] for one in met)
        return f"{found[1]}({here}) ? ~{memory}[{found[2]}] : {memory}[{found[2]}];"

    return re.subn(rf"^( +(?:assign .+? =|\S+ <=) ){word};$", read, text, flags=re.M) if met else (text, 0)
