"""Makes Verilog text smaller without changing what it says: each module once, zeroed memories in a loop."""

from __future__ import annotations

import re

_MODULE = re.compile(r"^module (\\\S+|\w+) ?(.*?)^endmodule$", re.M | re.S)
_ZEROES = re.compile(r"  initial begin\n((?:    \S+\[\d+\] = \d+'h0+;\n)+)  end\n")
_SERIAL = re.compile(r"\\\$auto\$verilog_backend\.cc:\d+:dump_module\$\d+ ")
_ZERO = re.compile(r"    (\S+)\[(\d+)\] = ")


def compact(text: str) -> str:
    """Return equivalent Verilog with modules of the same text merged, and initial zeroes of memories written as loops.

    The Verilog writer gives every instance a module of its own; an array of equal units is then as many equal modules,
    which a simulator compiles one by one.
    """
    return _merge_modules(_MODULE.sub(_without_serials, _ZEROES.sub(_loop, text)))


def _without_serials(match: re.Match[str]) -> str:
    """Number the writer's own helper signals within a module instead of within the file."""
    names = {name: f"\\$dump_module${k} " for k, name in enumerate(dict.fromkeys(_SERIAL.findall(match[0])))}
    return _SERIAL.sub(lambda found: names[found[0]], match[0])


def _loop(match: re.Match[str]) -> str:
    """Write a memory's initial zeroes as a loop; as they were when the words are not 0, 1, 2 ... of one memory."""
    words = _ZERO.findall(match[1])
    name = words[0][0]
    if [(name, str(k)) for k in range(len(words))] != words:
        return match[0]
    k = re.sub(r"\W", "_", name) + "_word"
    return f"  integer {k};\n  initial for ({k} = 0; {k} < {len(words)}; {k} = {k} + 1) {name}[{k}] = 0;\n"


def _merge_modules(text: str) -> str:
    """Merge modules whose text is the same but for their name, leaves first, until nothing changes."""
    merged = _equal_modules(text)
    while merged:
        text = _replace_modules(text, merged)
        merged = _equal_modules(text)
    return text


def _equal_modules(text: str) -> dict[str, str]:
    """Return modules that repeat an earlier one, and which."""
    first: dict[str, str] = {}
    return {name: first[body] for name, body in _MODULE.findall(text) if first.setdefault(body, name) != name}


def _replace_modules(text: str, merged: dict[str, str]) -> str:
    """Drop modules and instantiate others in their place."""
    kept = _MODULE.sub(lambda match: "" if match[1] in merged else match[0], text)
    # An instance is its module's name, its own name and an opening parenthesis.
    return re.sub(
        r"^(  )(\S+)(?= +\S+ +\($)", lambda match: match[1] + merged.get(match[2], match[2]), kept, flags=re.M
    )


def module_names(text: str) -> list[str]:
    """Return the names of all modules, in order."""
    return [name for name, _ in _MODULE.findall(text)]
