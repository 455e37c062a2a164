"""Faults of one expression of generated Verilog, which has one operator at most beside its constants and indices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

_TOKEN = re.compile(
    r"(?P<name>\\\S+ |\$?[A-Za-z_][\w$]*)|(?P<constant>\d+'[hd][0-9a-f]+)|(?P<number>\d+)"
    r"|(?P<operator>>>>|<<<|~\^|==|!=|<=|>=|>>|<<|[-+*&|^~!<>?:])|(?P<bracket>[{}()\[\],])|(?P<space>\s+)"
)
#: What stands for each operator with two operands when it is wrong.
_OTHERS = {
    **{"+": "-", "-": "+", "*": "+", "&": "|", "|": "&", "^": "&"},
    **{"==": "!=", "!=": "==", "<<": ">>", ">>": "<<", ">>>": ">>"},
}
#: Comparisons: the one that differs in a tie, and the opposite one.
_ORDERS = {"<": ("<=", ">="), "<=": ("<", ">"), ">": (">=", "<="), ">=": (">", "<")}
_ONE_OPERAND = {"~": "", "!": "|", "|": "&", "&": "|"}
_UNEVEN = {"-", "<", "<=", ">", ">=", "<<", ">>", ">>>"}


@dataclass(frozen=True)
class Token:
    """A piece of an expression, and how many brackets are open around it."""

    kind: str
    text: str
    start: int
    depth: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Fault(NamedTuple):
    """What is wrong about an expression, and the wrong one."""

    what: str
    text: str


def tokens(text: str) -> list[Token]:
    """The pieces of an expression, without spaces.

    Raises
    ------
    ValueError
        When there is something else in it than the Verilog writer makes.
    """
    found, at, depth = [], 0, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise ValueError(f"unknown Verilog: {text[at:]!r} in {text!r}")
        closes, opens = match[0] in ("}", ")", "]"), match[0] in ("{", "(", "[")
        depth -= closes
        if match.lastgroup != "space":
            found.append(Token(match.lastgroup, match[0], at, depth))
        depth += opens
        at = match.end()
    return found


def names(text: str) -> set[str]:
    """All signals of an expression."""
    return {token.text.strip() for token in tokens(text) if token.kind == "name" and token.text[0] != "$"}


def faults(text: str, widths: Mapping[str, int]) -> Iterator[Fault]:
    """Everything that is planted in an expression; `widths` are the bits of signals by name."""
    for what, wrong in _all(text, widths):
        yield Fault(what, " ".join(wrong.split()) + " " * ("\\" in wrong))


def _all(text: str, widths: Mapping[str, int]) -> Iterator[Fault]:
    parts = tokens(text)
    yield from _operators(f"{text} ", parts)
    for number, token in enumerate(parts):
        if token.kind == "constant" and not _is_index(parts, number):
            yield from _constants(text, token)
        elif token.text == "[" and number and parts[number - 1].kind == "name":
            yield from _indices(text, parts, number, widths)


def _replaced(text: str, token: Token, by: str) -> str:
    return text[: token.start] + by + text[token.end :]


def _operators(text: str, parts: list[Token]) -> Iterator[Fault]:
    """Another operator, the operands the other way round, a multiplexer that always takes one side."""
    outer = [token for token in parts if token.depth == 0 and token.kind == "operator"]
    if not outer:
        return
    first = outer[0]
    if first.text == "?":
        condition, low, high = text[: first.start], text[first.end : outer[1].start], text[outer[1].end :]
        yield Fault("sides swapped", f"{condition}?{high} :{low}")
        yield from (Fault("condition stuck at 1", low), Fault("condition stuck at 0", high))
    elif first is parts[0]:
        if first.text in _ONE_OPERAND:
            yield Fault(f"{first.text} lost", _replaced(text, first, _ONE_OPERAND[first.text]))
    else:
        left, right = text[: first.start], text[first.end :]
        for other in _ORDERS.get(first.text, (_OTHERS[first.text],) if first.text in _OTHERS else ()):
            yield Fault(f"{first.text} is {other}", _replaced(text, first, other))
        if first.text in _UNEVEN:
            yield Fault("operands swapped", f"{right} {first.text} {left}")


def _is_index(parts: list[Token], number: int) -> bool:
    """Whether a constant is between square brackets."""
    depth = parts[number].depth
    before = (token for token in reversed(parts[:number]) if token.depth < depth)
    return next(before, parts[number]).text == "["


def _constants(text: str, token: Token) -> Iterator[Fault]:
    """One more, one less, and a bit the other way round that neither of them gives."""
    size, digits = token.text.split("'")
    bits, value = int(size), int(digits[1:], 16 if digits[0] == "h" else 10)
    wrong = {(value + 1) % (1 << bits): "one more", (value - 1) % (1 << bits): "one less"}
    wrong.setdefault(value ^ 1 << bits - 1, "highest bit flipped")
    for other, what in wrong.items():
        yield Fault(f"{token.text} {what}", _replaced(text, token, f"{bits}'h{other:x}"))


def _indices(text: str, parts: list[Token], number: int, widths: Mapping[str, int]) -> Iterator[Fault]:
    """A slice that begins a bit earlier or later; the addresses of memories are left alone."""
    inner = [token for token in _until_closed(parts, number) if token.text != ":"]
    width = widths.get(parts[number - 1].text.strip(), 0)
    if not inner or any(token.kind != "number" for token in inner):
        return
    ends = [int(token.text) for token in inner]
    for step in (1, -1):
        if ends[-1] + step >= 0 and ends[0] + step < width:
            shifted = ":".join(str(end + step) for end in ends)
            inside = f"{text[: parts[number].end]}{shifted}{text[inner[-1].end :]}"
            yield Fault(f"index {'one more' if step > 0 else 'one less'}", inside)


def _until_closed(parts: list[Token], number: int) -> list[Token]:
    """What is between a bracket and its partner."""
    end = next(k for k in count(number + 1) if parts[k].depth == parts[number].depth and parts[k].text == "]")
    return parts[number + 1 : end]
