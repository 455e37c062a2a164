"""Makes Verilog text smaller and plainer without changing what it says.

Each module once, with a plain name; memories that begin as zeroes in a loop; cases that leave nothing open.
"""

from __future__ import annotations

import re
from itertools import count

_MODULE = re.compile(r"^module (\\\S+|\w+) ?(.*?)^endmodule$", re.M | re.S)
_CONTENTS = re.compile(r"  initial begin\n((?:    \S+\[\d+\] = \d+'[hd]\w+;\n)+)  end\n")
_SERIAL = re.compile(r"\\\$auto\$verilog_backend\.cc:\d+:dump_module\$\d+ ")
_WORD = re.compile(r"    (\S+)\[(\d+)\] = \d+'[hd](\w+);\n")
#: What a register takes at the next clock edge, where the writer gives that no name; and any such name.
_NEXT = re.compile(r"^  always @\(posedge clk\)\n    (\w+) <= (\\\$\d+ );$", re.M)
_NUMBERED = re.compile(r"\\\$\d+ ")
#: Where a module is instantiated: its name stands before that of the instance and an opening parenthesis.
_INSTANCE = re.compile(r"^(  )(\S+)(?= +\S+ +\($)", re.M)


def compact(text: str) -> str:
    """Return equivalent Verilog with modules of the same text merged, plain names, and initial zeroes as loops.

    The Verilog writer gives every instance a module of its own; an array of equal units is then as many equal modules,
    which a simulator compiles one by one. It names them by their path, with dots, which some tools do not take.
    """
    text = _MODULE.sub(_with_named_registers, _MODULE.sub(_without_serials, _CONTENTS.sub(_loop, text)))
    return _plain_names(_merge_modules(_with_defaults(text)))


def _without_serials(match: re.Match[str]) -> str:
    """Number the writer's own helper signals within a module instead of within the file."""
    names = {name: f"\\$dump_module${k} " for k, name in enumerate(dict.fromkeys(_SERIAL.findall(match[0])))}
    return _SERIAL.sub(lambda found: names[found[0]], match[0])


def _with_named_registers(match: re.Match[str]) -> str:
    """Name what a register takes next after the register instead of by a number."""
    names = {number: f"{name}_next " for name, number in _NEXT.findall(match[0])}
    taken = set(re.findall(r"\w+", match[0]))
    free = {number: name for number, name in names.items() if name.strip() not in taken}
    return _NUMBERED.sub(lambda found: free.get(found[0], found[0]), match[0])


def _with_defaults(text: str) -> str:
    """Say of each case that other values change nothing, where it says nothing of them."""
    lines, open_cases = list[str](), list[bool]()  # of the cases that a line is in, whether they say it
    for line in text.splitlines(True):
        word = line.lstrip().partition(" ")[0].rstrip()
        if word in ("case", "casez"):
            open_cases.append(False)
        elif word == "default:":
            open_cases[-1] = True
        elif word == "endcase" and not open_cases.pop():
            lines.append(f"{line[: line.index(word)]}  default: ;\n")
        lines.append(line)
    return "".join(lines)


def _loop(match: re.Match[str]) -> str:
    """Write a memory's initial zeroes as a loop before its other words; as they were where they are not 0, 1, 2 ..."""
    words = _WORD.findall(match[1])
    name = words[0][0]
    if [(name, str(k)) for k in range(len(words))] != [word[:2] for word in words]:
        return match[0]
    others = [line for line, word in zip(match[1].splitlines(True), words, strict=True) if word[2].strip("0")]
    return zeroes(name, len(words), "".join(others))


def zeroes(name: str, words: int, others: str = "") -> str:
    """Return statements by which a memory begins as zeroes, and then those that set other words."""
    k = re.sub(r"\W", "_", name) + "_word"
    loop = f"for ({k} = 0; {k} < {words}; {k} = {k} + 1) {name}[{k}] = 0;\n"
    body = f"begin\n    {loop}{others}  end\n" if others else loop
    return f"  integer {k};\n  initial {body}"


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
    return _INSTANCE.sub(lambda match: match[1] + merged.get(match[2], match[2]), kept)


def _plain_names(text: str) -> str:
    """Name modules with letters, digits and underscores only, no two alike; names that are so stay."""
    plain: dict[str, str] = {}
    for name in sorted(module_names(text), key=lambda name: name.startswith("\\")):
        base = re.sub(r"\W", "_", name.removeprefix("\\"))
        taken = set(plain.values())
        plain[name] = next(one for k in count() if (one := f"{base}_{k}" if k else base) not in taken)
    text = _MODULE.sub(lambda match: f"module {plain[match[1]]}{text[match.end(1) : match.end()]}", text)
    return _INSTANCE.sub(lambda match: match[1] + plain.get(match[2], match[2]), text)


def module_names(text: str) -> list[str]:
    """Return the names of all modules, in order."""
    return [name for name, _ in _MODULE.findall(text)]
