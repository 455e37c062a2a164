"""Where a fault can be in a module of generated Verilog, and what is planted there."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from .faults import Fault, faults, names, tokens

_MODULE = re.compile(r"^module (\w+) ?\(.*?^endmodule$", re.M | re.S)
_NAME = r"(?:\\\S+ |[A-Za-z_][\w$]*)"
_DECLARED = re.compile(rf"^ +(?:input|output|wire|reg)(?: wire| reg)? (?:\[(\d+):0\] )?({_NAME}) ?(?: = [^;,]*)?[;,]?$")
_OUTPUT = re.compile(rf"^ +output (?:wire |reg )?(?:\[\d+:0\] )?({_NAME})")
_INPUT = re.compile(rf"^ +input (?:wire |reg )?(?:\[\d+:0\] )?({_NAME})")
_ASSIGN = re.compile(r"^  assign (.+?) = (.+);$")
_STATEMENT = re.compile(r"^( +)(.+?) (<?=) (.+);$")
_CONDITION = re.compile(r"^( +)(if|casez|case) \((.*)\)( begin)?$")
_INSTANCE = re.compile(rf"^  (\w+) +({_NAME}) ?\($")
_PORT = re.compile(rf"^    \.({_NAME})\((.*)\)(,?)$")
#: A condition that is there to say something about time, and nothing else.
_NO_CONDITION = "dump_module$"
_CLOCKED, _ALWAYS, _END = "  always @(posedge clk)", "  always @", "  end"


@dataclass(frozen=True)
class Place:
    """A line of a module that faults can be planted in.

    Parameters
    ----------
    form : str
        ``assign``, ``set`` (in an always block), ``register``, ``condition``, ``port``.
    number : int
        Of the line in the module.
    parts : tuple of str
        What the pattern of the form found in it.
    """

    form: str
    number: int
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Mutant:
    """A fault at one place.

    Parameters
    ----------
    unit : str
        The module.
    signal : str
        What the line sets or decides about; the instance whose port it is.
    place : Place
        Where.
    what : str
        What is wrong.
    before, after : str
        The line as it is and as it would be.
    nth : int
        Of all faults of the module that read the same, which.
    text : str
        The wrong expression, or what `plant` makes of a fault that is none.
    """

    unit: str
    signal: str
    place: Place
    what: str
    before: str
    after: str
    nth: int
    text: str

    @property
    def key(self) -> str:
        """What it is known by as long as its module does not change."""
        return "|".join((self.unit, self.before, self.what, str(self.nth)))


class Unit:
    """A module: its lines, the width of its signals, and the places that anything depends on."""

    def __init__(self, name: str, text: str, inputs: dict[str, set[str]]):
        self.name, self.lines, self.inputs = name, text.splitlines(), inputs
        found = [match for line in self.lines if (match := _DECLARED.match(line))]
        self.widths = {match[2].strip(): int(match[1] or 0) + 1 for match in found}

    @property
    def ports(self) -> set[str]:
        """Names of inputs and outputs."""
        return {match[1].strip() for line in self.lines if (match := _INPUT.match(line) or _OUTPUT.match(line))}

    @cached_property
    def places(self) -> list[Place]:
        """Places of which an output, an instance or a memory may depend."""
        return [place for place in self._all_places() if self._targets(place) & self.alive]

    def _all_places(self) -> Iterator[Place]:
        """Lines of a known form. A loop that sets a memory to zeroes is none."""
        instance: str | None = None
        for number, line in enumerate(self.lines):
            if match := _INSTANCE.match(line):
                instance = match[1]
            elif instance and (match := _PORT.match(line)):
                if match[1].strip() in self.inputs.get(instance, ()) and match[1] not in ("clk",):
                    yield Place("port", number, (match[1], match[2], match[3]))
            elif line == "  );":
                instance = None
            elif match := _ASSIGN.match(line):
                yield Place("assign", number, (match[1], match[2]))
            elif match := _CONDITION.match(line):
                if _NO_CONDITION not in line:
                    yield Place("condition", number, (match[1], match[2], match[3], match[4] or ""))
            elif (match := _STATEMENT.match(line)) and not _DECLARED.match(line) and self._in_block(number):
                form = "register" if self.lines[number - 1] == _CLOCKED else "set"
                yield Place(form, number, (match[1], match[2], match[3], match[4]))

    def _in_block(self, number: int) -> bool:
        """Whether a line is in an always block, not in an initial one."""
        return self.blocks.get(number, "").startswith(_ALWAYS)

    @cached_property
    def blocks(self) -> dict[int, str]:
        """First line of the block that a line is in, by number."""
        found, opened = dict[int, str](), ""
        for number, line in enumerate(self.lines):
            if line.startswith(("  always", "  initial")):
                opened = line
            elif opened:
                found[number] = opened
            if opened and (line == _END or (not opened.endswith("begin") and not line.startswith(_ALWAYS))):
                opened = ""
        return found

    @cached_property
    def _block_of(self) -> dict[int, int]:
        """A number for each block, by line."""
        found, current = dict[int, int](), 0
        for number, line in enumerate(self.lines):
            current += line.startswith("  always")
            if number in self.blocks:
                found[number] = current
        return found

    def _targets(self, place: Place) -> set[str]:
        """What a place sets: signals, or all that its block sets; instances count as a signal that is alive."""
        if place.form == "port":
            return {"instances"}
        if place.form == "condition":
            return self._set_in[self._block_of.get(place.number, 0)]
        return _set_by(place.parts[0] if place.form == "assign" else place.parts[1])

    @cached_property
    def _set_in(self) -> dict[int, set[str]]:
        """What each block sets."""
        found = defaultdict[int, set[str]](set)
        for place in self._all_places():
            if place.form in ("set", "register"):
                found[self._block_of[place.number]] |= _set_by(place.parts[1])
        return found

    @cached_property
    def alive(self) -> set[str]:
        """Signals on which an output or an instance depends."""
        reads = defaultdict[str, set[str]](set)
        for place in self._all_places():
            for target in self._targets(place):
                reads[target] |= _read_by(place)
        left = [match[1].strip() for line in self.lines if (match := _OUTPUT.match(line))] + ["instances"]
        found = set(left)
        while left:
            more = reads[left.pop()] - found
            found |= more
            left += more
        return found

    def mutants(self) -> list[Mutant]:
        """All faults of the module."""
        counts, found = Counter[tuple[str, str]](), []
        for place in self.places:
            before = self.lines[place.number].strip()
            for fault in _faults_of(place, self.widths):
                nth = counts[before, fault.what]
                counts[before, fault.what] += 1
                after = _line(place, fault)
                signal = self._signal_of(place)
                found.append(Mutant(self.name, signal, place, fault.what, before, after, nth, fault.text))
        return found

    def _signal_of(self, place: Place) -> str:
        """What a person looks for to understand a place."""
        if place.form == "port":
            instance = next(line for line in reversed(self.lines[: place.number]) if _INSTANCE.match(line))
            return instance.split()[1]
        return ", ".join(sorted(self._targets(place)))


def _set_by(target: str) -> set[str]:
    """Signals that an assignment to `target` sets, without those in its indices."""
    return names(target) if target.startswith("{") else {tokens(target)[0].text.strip()}


def _read_by(place: Place) -> set[str]:
    """Signals that a place reads, those in the indices of what it sets among them."""
    if place.form == "condition":
        return names(place.parts[2])
    if place.form == "port":
        return names(place.parts[1])
    target = place.parts[0 if place.form == "assign" else 1]
    return names(place.parts[-1]) | names(target) - _set_by(target)


def _faults_of(place: Place, widths: dict[str, int]) -> Iterator[Fault]:
    """What is planted at a place, by its form."""
    if place.form == "condition":
        condition, is_case = place.parts[2], place.parts[1] != "if"
        if is_case:
            yield Fault("selector with its lowest bit flipped", f"({condition}) ^ 1'h1")
        else:
            yield Fault("condition stuck at 0", "1'h0")
            if condition != "rst":
                yield from (Fault("condition stuck at 1", "1'h1"), Fault("condition negated", f"!({condition})"))
        yield from faults(condition, widths)
    elif place.form == "port":
        if place.parts[0] == "rst":
            yield Fault("reset lost", "1'h0")
        elif place.parts[1]:
            yield Fault("tied to 0", "1'h0")
            yield from faults(place.parts[1], widths)
    else:
        yield from faults(place.parts[-1], widths)
        if place.form == "register" and place.parts[1].strip() in widths:
            yield from (Fault("a cycle late", "late"), Fault("stuck", place.parts[1]))


def _line(place: Place, fault: Fault) -> str:
    """The line with the fault in it, to read."""
    parts, text = place.parts, fault.text
    if place.form == "assign":
        return f"assign {parts[0]} = {text};"
    if place.form == "condition":
        return f"{parts[1]} ({text}){parts[3]}"
    if place.form == "port":
        return f".{parts[0]}({text}){parts[2]}"
    return f"{parts[1]} {parts[2]} {text};" if text != "late" else f"{parts[1]} {parts[2]} {parts[3]}; // a cycle later"


def units(verilog: str) -> list[Unit]:
    """All modules of generated Verilog."""
    bodies = {match[1]: match[0] for match in _MODULE.finditer(verilog)}
    inputs = {
        name: {match[1].strip() for line in body.splitlines() if (match := _INPUT.match(line))}
        for name, body in bodies.items()
    }
    return [Unit(name, body, inputs) for name, body in bodies.items()]
