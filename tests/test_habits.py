"""Habits of the code that no linter knows: constants with one value, and no attributes by made-up names."""

import ast
from collections import defaultdict
from collections.abc import Iterator

import pytest

from helpers import ROOT

FOLDERS = ("sim", "hw", "model", "cosim", "host", "cli")


def sources(folders: tuple[str, ...]) -> Iterator[tuple[str, ast.Module]]:
    """Every module of some packages: its path and its text, parsed."""
    for path in [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]:
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def constants(tree: ast.Module) -> dict[str, str]:
    """Constants that a module sets at its top: UPPER_CASE names, and what they are set to, as it is written."""
    found = {}
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for one, value in pairs:
                if isinstance(one, ast.Name) and one.id.isupper() and value is not None:
                    found[one.id] = ast.unparse(value)
    return found


def several_values(modules: dict[str, ast.Module]) -> dict[str, dict[str, str]]:
    """Public constants of one name that modules set to different things, with module and value."""
    by_name: dict[str, dict[str, str]] = defaultdict(dict)
    for path, tree in modules.items():
        for name, value in constants(tree).items():
            if not name.startswith("_"):
                by_name[name][path] = value
    return {name: places for name, places in by_name.items() if len(set(places.values())) > 1}


def strangers_to_private_names(modules: dict[str, ast.Module]) -> list[str]:
    """Imports of another module's private constant."""
    return [
        f"{path}: {alias.name}"
        for path, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name.startswith("_") and alias.name.isupper()
    ]


def made_up_names(tree: ast.AST) -> int:
    """Count `getattr`, `hasattr` and `setattr` of a name that is put together."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return sum(
        1
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in ("getattr", "hasattr", "setattr")
        if len(call.args) > 1 and isinstance(call.args[1], ast.JoinedStr | ast.BinOp)
    )


def test_one_constant_name_has_one_value() -> None:
    assert several_values(dict(sources(FOLDERS))) == {}


def test_private_constants_stay_in_their_module() -> None:
    assert strangers_to_private_names(dict(sources(FOLDERS))) == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("SIZE = 8", "SIZE = 64", {"SIZE": {"a.py": "8", "b.py": "64"}}),
        ("SIZE: int = 8", "SIZE, REST = 9, 1", {"SIZE": {"a.py": "8", "b.py": "9"}}),
        ("SIZE = 8", "SIZE = 8", {}),
        ("_SIZE = 8", "_SIZE = 64", {}),
        ("def f():\n    SIZE = 8", "SIZE = 64", {}),
        ("COMMANDS = 1", "COMMANDS = 2", {"COMMANDS": {"a.py": "1", "b.py": "2"}}),
    ],
)
def test_two_values_are_found(one: str, other: str, expected: dict[str, dict[str, str]]) -> None:
    modules = {"a.py": ast.parse(one), "b.py": ast.parse(other)}
    assert several_values(modules) == expected


def test_an_import_of_a_private_constant_is_found() -> None:
    code = "from .a import _SIZE, SIZE, _size\ndef f():\n    from .b import _REST"
    assert strangers_to_private_names({"a.py": ast.parse(code)}) == ["a.py: _SIZE", "a.py: _REST"]


def test_no_attribute_has_a_made_up_name() -> None:
    """Nobody finds by its name what is read by a made-up one, and a missing one may go unnoticed."""
    found = {path: made_up_names(tree) for path, tree in sources(("sim", "hw"))}
    assert {path: count for path, count in found.items() if count} == {}


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ('getattr(self, f"issue_{op}")', 1),
        ('x = [getattr(dut, f"{port}_{name}") for name in names]\nhasattr(unit, f"{op}_start")', 2),
        ('setattr(self, "a_" + name, 1)', 1),
        ('getattr(self, name)\ngetattr(self, "issue", None)\nf"{getattr(self, name)}"', 0),
    ],
)
def test_a_made_up_name_is_found(code: str, count: int) -> None:
    assert made_up_names(ast.parse(code)) == count
