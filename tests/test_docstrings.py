"""Every public name says what it is, documents the parameters that it has, and its examples run."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest

import bivit
from bivit.hw.parts.component import Component

MODULES = ["bivit"] + [info.name for info in pkgutil.walk_packages(bivit.__path__, "bivit.") if "." in info.name]
MODULES = [name for name in MODULES if name.split(".")[1:2] != ["tests"] and name.split(".")[1:2] != ["examples"]]


def public_members(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Public classes and functions that `module` defines itself, and the public methods of those classes."""
    for name, member in vars(module).items():
        if name.startswith("_") or getattr(member, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(member):
            yield name, member
            for method, function in vars(member).items():
                function = getattr(function, "fget", None) or getattr(function, "__func__", function)
                if not method.startswith("_") and isinstance(function, FunctionType):
                    yield f"{name}.{method}", function
        elif callable(member):
            yield name, member


def documented_parameters(docstring: str) -> list[str] | None:
    """Names in the numpydoc section Parameters, or None without such a section."""
    lines = inspect.cleandoc(docstring).splitlines()
    heads = [i for i in range(len(lines) - 1) if lines[i] == "Parameters" and set(lines[i + 1]) == {"-"}]
    if not heads:
        return None
    names: list[str] = []
    for i in range(heads[0] + 2, len(lines)):
        if i + 1 < len(lines) and lines[i] and set(lines[i + 1]) == {"-"}:
            break
        if lines[i] and not lines[i].startswith(" "):
            names += [name.strip().lstrip("*") for name in re.split(r" ?: ", lines[i])[0].split(",")]
    return names


def undocumented(documented: list[str], member: Any) -> str | None:
    """What is wrong with the documented names: positional ones come first and in order, keywords in any order."""
    parameters = [p for name, p in inspect.signature(member).parameters.items() if name not in ("self", "cls")]
    positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY and p.kind is not p.VAR_KEYWORD]
    names = [p.name for p in parameters]
    if documented[: len(positional)] == positional and sorted(documented) == sorted(names):
        return None
    return f"documents {documented}, takes {names}"


def complaints(module: ModuleType) -> list[str]:
    """Public names without a docstring, or whose documented parameters are not their parameters."""
    found = [] if (module.__doc__ or "").strip() else [f"{module.__name__} has no docstring"]
    for name, member in public_members(module):
        docstring = member.__doc__ or ""
        if not docstring.strip() or docstring.startswith(f"{name}("):
            # The second is what dataclasses write by themselves.
            found.append(f"{module.__name__}.{name} has no docstring")
            continue
        documented = documented_parameters(docstring)
        wrong = undocumented(documented, member) if documented is not None else None
        if wrong is not None:
            found.append(f"{module.__name__}.{name} {wrong}")
    return found


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name: str) -> None:
    assert complaints(importlib.import_module(name)) == []


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_all_folders_are_walked() -> None:
    folders = {name.split(".")[1] for name in MODULES[1:] if name != "bivit.__main__"}
    assert folders == {"sim", "model", "hw", "cosim", "host", "cli"}


def test_a_missing_or_wrong_docstring_is_found() -> None:
    module = ModuleType("made_up")
    source = '''
def bare(): pass
def wrong(a, b):
    """Add.

    Parameters
    ----------
    a : int
        One.
    c : int
        Not there.

    Returns
    -------
    int
    """
def swapped(a, b):
    """Add.

    Parameters
    ----------
    b, a : int
        Both.
    """
def right(a, *, b, c):
    """Add.

    Parameters
    ----------
    a : int
        One.
    c, b : int
        Keywords.
    """
'''
    exec(compile(ast.parse(source), "made_up", "exec"), vars(module))
    assert complaints(module) == [
        "made_up has no docstring",
        "made_up.bare has no docstring",
        "made_up.wrong documents ['a', 'c'], takes ['a', 'b']",
        "made_up.swapped documents ['b', 'a'], takes ['a', 'b']",
    ]


#: Modules whose components keep words as they are, so that a paragraph on numerics would say nothing.
KEEPS_WORDS = ("bivit.hw.parts.memory",)


def unstated(module: ModuleType) -> list[str]:
    """Units of a module, and what of Timing (latency, interval) and Numerics (widths, rounding) they do not state.

    A unit is what has an `elaborate` of its own; what only fills in a part of it states no more than the whole.
    """
    own = [kind for kind in vars(module).values() if inspect.isclass(kind) and kind.__module__ == module.__name__]
    topics = ["Timing"] if module.__name__ in KEEPS_WORDS else ["Timing", "Numerics"]
    return [
        f"{kind.__name__} has no {topic}"
        for kind in own
        if issubclass(kind, Component) and "elaborate" in vars(kind)
        for topic in topics
        if not re.search(rf"^ *{topic}: \S", kind.__doc__ or "", re.M)
    ]


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("bivit.hw.")])
def test_every_unit_states_its_timing_and_numerics(name: str) -> None:
    assert unstated(importlib.import_module(name)) == []


def test_a_unit_that_does_not_state_them_is_found() -> None:
    module = ModuleType("made_up")
    source = '''
class Silent(Component):
    """Adds.

    Timing:
    """
    def elaborate(self, platform): ...
class Stated(Component):
    """Adds.

    Timing: one cycle.
    Numerics: exact.
    """
    def elaborate(self, platform): ...
class Part(Silent): ...
'''
    vars(module)["Component"] = Component
    exec(compile(ast.parse(source), "made_up", "exec"), vars(module))
    assert unstated(module) == ["Silent has no Timing", "Silent has no Numerics"]
