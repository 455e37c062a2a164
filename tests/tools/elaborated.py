"""Which lines of hardware's rooms run while engines are elaborated: those of all functions, against those that ran."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from amaranth.hdl import Elaboratable, Fragment

import bivit.hw

#: Flag of a code object that is a function's, and not a module's or a class's.
_OPTIMIZED = 1
HW = Path(bivit.hw.__file__).parent


def lines_not_run(rooms: Iterable[str], engines: Iterable[Callable[[], Elaboratable]]) -> list[str]:
    """Lines of functions in rooms of `hw` that no engine runs while it is made and elaborated."""
    files = [str(path) for room in rooms for path in sorted((HW / room).glob("*.py"))]
    texts = {file: Path(file).read_text() for file in files}
    left = {(file, line) for file, text in texts.items() for line in _lines(compile(text, file, "exec"))}

    def run(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            left.discard((frame.f_code.co_filename, frame.f_lineno))
        return run

    for engine in engines:
        sys.settrace(lambda frame, event, arg: run if frame.f_code.co_filename in texts else None)
        try:
            Fragment.get(engine(), None)
        finally:
            sys.settrace(None)
    shown = {file: text.splitlines() for file, text in texts.items()}
    return [f"{Path(file).relative_to(HW)}:{line}: {shown[file][line - 1].strip()}" for file, line in sorted(left)]


def _lines(code: CodeType) -> Iterator[int]:
    """Lines of the functions within a code object."""
    if code.co_flags & _OPTIMIZED:
        yield from (line for _, _, line in code.co_lines() if line and line != code.co_firstlineno)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _lines(constant)
