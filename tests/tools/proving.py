"""Formal proofs of components: a harness around a component, SymbiYosys on its RTLIL, and which claim fails."""

from __future__ import annotations

import inspect
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from amaranth.hdl import Assert, Assume, Module, Shape, ShapeLike, Signal, Value, ValueLike
from amaranth.lib.wiring import In

from bivit.hw.convert import rtlil_text
from bivit.hw.parts.component import Component
from bivit.sim.errors import check
from bivit.sim.system.children import run_program

#: Module of a harness.
TOP = "harness"
#: After so many seconds a proof that has not ended is stopped.
TIMEOUT_S = 400
#: A claim as Amaranth writes it, and how SymbiYosys says that one does not hold.
_CHECK = re.compile(r'  cell \$check \S+\n(    parameter \\FORMAT "(\w+)"\n)')
_FAILED = re.compile(rf"Assert failed in {TOP}: claim_(\w+)")
#: What is read of a memory beyond its last word: any value, and no one drives it.
_NO_WORD = "$rdmux["
_RESULT = re.compile(r"DONE \((\w+), rc=")


class Harness(Component):
    """What a component is put into to be proved: it drives free values into it, and claims.

    Parameters
    ----------
    free : mapping of str to ShapeLike
        Values of each cycle that nothing restricts, by name: they become ports.
    body : callable
        Builds the component and the claims, from a module and the harness, whose ports are its attributes.
    inner : mapping of str to (ShapeLike, str)
        Registers within the component, by a name here: shape, and path in the flattened harness, as ``dut.count``.
        Of ``a, b = Signal(), Signal()`` Amaranth names a only under some versions of Python: ``dut.a|dut.$signal``.
        Where a port has the register's name it gets a number: ``dut.a$#``, and ``dut.a$#2`` is the second such one.
    cut : sequence of str
        Paths of registers that have any value: what drives them is proved elsewhere.
    """

    def __init__(
        self,
        free: Mapping[str, Any],
        body: Callable[[Module, Any], None],
        inner: Mapping[str, tuple[ShapeLike, str]] | None = None,
        *,
        cut: Sequence[str] = (),
    ):
        self.body, self.inner, self.cut = body, dict(inner or {}), list(cut)
        shapes = {**free, **{name: shape for name, (shape, _) in self.inner.items()}}
        super().__init__({name: In(shape) for name, shape in shapes.items()})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self.body(m, self)
        return m


def claim(m: Module, name: str, condition: ValueLike) -> None:
    """Claim that a condition holds in every cycle, or in those of the `If` around it."""
    m.d.comb += Assert(condition, name)


def assume(m: Module, condition: ValueLike) -> None:
    """Look only at what the condition holds in: what the neighbour of the component guarantees."""
    m.d.comb += Assume(condition)


def before(m: Module, value: Value, cycles: int, name: str, *, reset_less: bool = True) -> Value:
    """Return a value as it was so many cycles ago."""
    for k in range(cycles):
        register = Signal(Shape.cast(value.shape()), name=f"{name}_ago_{k + 1}", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


def assume_constant(m: Module, value: Value, name: str) -> None:
    """Look only at what has one value, whichever, in all cycles."""
    later = Signal(name=f"{name}_later", reset_less=True)
    m.d.sync += later.eq(1)
    assume(m, ~later | (value == before(m, value, 1, f"{name}_constant")))


@dataclass(frozen=True)
class Proof:
    """What is proved of a component.

    Parameters
    ----------
    of : str
        Its module.
    says : str
        What holds, in words.
    size : str
        Of what.
    build : callable
        Makes the harness.
    cycles : int
        Of the induction, or from reset on; 0 where nothing is kept from cycle to cycle.
    bounded : bool
        Only so many cycles from reset on; else always, by induction.
    long : bool
        Whether it takes longer than a test may that runs by default.
    """

    of: str
    says: str
    size: str
    build: Callable[[], Harness] = field(repr=False)
    cycles: int
    bounded: bool = False
    long: bool = False

    @property
    def method(self) -> str:
        """How it is proved."""
        if not self.cycles:
            return "every input"
        length = f"{self.cycles} cycle{'s' * (self.cycles > 1)}"
        return f"{length} from reset" if self.bounded else f"induction, {length}"


@dataclass(frozen=True)
class Fault:
    """A fault that a proof must find.

    Parameters
    ----------
    proof : str
        Its name.
    module : ModuleType
        Where the fault is.
    right, wrong : str
        What stands there, once, and what the fault makes of it.
    fails : str
        Claims that do not hold any more begin with this.
    """

    proof: str
    module: ModuleType
    right: str
    wrong: str
    fails: str

    def plant(self, patch: pytest.MonkeyPatch) -> None:
        """Put the fault into the functions of the module and the methods of its classes."""
        source = inspect.getsource(self.module)
        assert source.count(self.right) == 1, f"{self.right!r} is not once in {self.module.__name__}"
        changed = ModuleType(self.module.__name__)
        vars(changed).update(__package__=self.module.__package__, __file__=self.module.__file__)
        exec(compile(source.replace(self.right, self.wrong), str(self.module.__file__), "exec"), vars(changed))
        own = {name: value for name, value in vars(changed).items() if _is_of(value, self.module)}
        for name, value in own.items():
            if isinstance(value, FunctionType):
                for user in _users(vars(self.module)[name]):
                    patch.setattr(user, name, value)
            for method, function in vars(value).items() if isinstance(value, type) else ():
                # What asks for its own class above it stays, as a constructor does.
                if isinstance(function, FunctionType) and method != "__init__" and not _asks_above(function):
                    patch.setattr(vars(self.module)[name], method, function)


def _users(function: FunctionType) -> list[ModuleType]:
    """The modules of bivit that have a function by its name: its own, and those that import it."""
    known = [module for name, module in sys.modules.items() if name.startswith("bivit.")]
    return [module for module in known if vars(module).get(function.__name__) is function]


def _asks_above(function: FunctionType) -> bool:
    """Whether a method uses `super()`."""
    return "__class__" in function.__code__.co_freevars


def _is_of(value: Any, module: ModuleType) -> bool:
    """Whether a function or class is defined in a module."""
    return isinstance(value, FunctionType | type) and value.__module__ == module.__name__


@dataclass(frozen=True)
class Verdict:
    """How a proof ended: PASS, FAIL, UNKNOWN, TIMEOUT; what fails; and what SymbiYosys wrote."""

    result: str
    failed: frozenset[str]
    written: str = field(repr=False)


def prove(proof: Proof, folder: Path) -> Verdict:
    """Run a proof in an empty folder."""
    harness = proof.build()
    text = _CHECK.sub(r"  cell $check \\claim_\2\n\1", rtlil_text(harness, TOP))
    (folder / "design.il").write_text(text)
    (folder / "proof.sby").write_text(_task(proof, harness, text))
    scripts = sysconfig.get_path("scripts")
    command = [f"{scripts}/yowasp-sby", "-f", "proof.sby"]
    for option, tool in (("yosys", "yosys"), ("smtbmc", "yosys-smtbmc"), ("witness", "yosys-witness")):
        command += [f"--{option}", f"yowasp-{tool}"]
    path = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    done = run_program(command, cwd=folder, environment={"PATH": path})
    written = done.stdout + done.stderr
    result = _RESULT.search(written)
    check(result is not None and result[1] != "ERROR", f"SymbiYosys did not end: {written[-2000:]}")
    undriven = [line for line in written.splitlines() if "no driver" in line and _NO_WORD not in line]
    check(not undriven, f"the harness leaves something undriven: {undriven[:3]}")
    assert result is not None
    return Verdict(result[1], frozenset(_FAILED.findall(written)), written)


def _task(proof: Proof, harness: Harness, text: str) -> str:
    """The file that tells SymbiYosys what to do."""
    mode = "prove" if proof.cycles and not proof.bounded else "bmc"
    seen = [
        f"delete -input w:{name}\nconnect -nounset -set {name} {_named(path, text)}"
        for name, (_, path) in harness.inner.items()
    ]
    lines = [
        *("[options]", f"mode {mode}", f"depth {max(1, proof.cycles)}"),
        *(f"timeout {TIMEOUT_S}", "[engines]", "smtbmc --unroll z3"),
        *("[script]", "read_rtlil design.il", f"hierarchy -top {TOP}", "proc", "flatten", "memory_collect"),
        *("memory_map" if any("[" in path for _, path in harness.inner.values()) else "",),
        *(
            f"cd {TOP}",
            *seen,
            *(f"cutpoint w:{path}" for path in harness.cut),
            "cd ..",
            f"prep -top {TOP}",
            "[files]",
            "design.il",
        ),
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _named(paths: str, text: str) -> str:
    """The one of these paths at which there is a wire."""
    for path in paths.split("|"):
        *units, name = path.split(".")
        module, found = TOP, []
        for unit in units:
            cell = _numbered(r"^  cell \\(\S+) \\({})$", unit, _module(module, text))
            module = cell[1] if cell else ""
            found.append(cell[2] if cell else "")
        wire = _numbered(r"^  (wire) .*\\({})$", name, _module(module, text))
        if wire:
            return ".".join([*found, wire[2]])
    return paths


def _numbered(line: str, name: str, text: str) -> re.Match[str] | None:
    """The line of a name, or of the first of its numbers, or of that one of them."""
    stem, mark, which = name.partition("#")
    pattern = re.escape(stem) + (r"\d+" if mark else "")
    lines = list(re.finditer(line.format(pattern), text, re.M))
    number = int(which or 1) - 1
    return lines[number] if number < len(lines) else None


def _module(name: str, text: str) -> str:
    """Text of a module; nothing where there is none."""
    return text.partition(f"module \\{name}\n")[2].partition("\nend\n")[0]
