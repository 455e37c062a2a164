"""Compiled kernels are kept under a name that an edit changes exactly where it can change a kernel."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bivit.sim.system.jit import KERNEL_SOURCES, kernels_hash
from bivit.sim.system.sources import sources_hash
from helpers import ROOT

FOLDERS = ("sim", "hw", "model", "cosim", "cli")

SCRIPT = """
import numba
import numpy as np
from bivit.sim.reference import products
from bivit.sim.system import jit
from bivit.sim.reference.fixed import isqrt
assert isqrt(np.array([17]))[0] == 4
print(jit.CACHE, len(list(jit.CACHE.glob("**/*.nbi"))) if jit.CACHE else None, numba.config.CACHE_DIR)
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A package with a copy of `sim` in it."""
    shutil.copytree(ROOT / "sim", tmp_path / "sim", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def edit(path: Path, text: str = "#\n") -> None:
    assert path.is_file()
    path.write_text(path.read_text() + text)


class Taken:
    """What kernels take from where: every name that a compiled function reads, followed to its definition."""

    def __init__(self, package: Path) -> None:
        self.package = package
        self.files: set[Path] = set()
        self._trees: dict[Path, ast.Module] = {}
        self._seen: set[tuple[Path, str]] = set()
        for path in [file for folder in FOLDERS for file in sorted((package / folder).rglob("*.py"))]:
            for node in self._tree(path).body:
                if isinstance(node, ast.FunctionDef) and any(_is_kernel(one) for one in node.decorator_list):
                    self._follow(path, node.name)

    def _tree(self, path: Path) -> ast.Module:
        return self._trees.setdefault(path, ast.parse(path.read_text()))

    def _follow(self, path: Path, name: str) -> None:
        """Note the file that defines a name, and follow what the definition reads."""
        if (path, name) in self._seen:
            return
        self._seen.add((path, name))
        for node in self._tree(path).body:
            if isinstance(node, ast.ImportFrom) and node.level:
                self._follow_import(path, node, name)
            elif _defines(node, name):
                self.files.add(path)
                read = {one.id for one in ast.walk(_code(node)) if isinstance(one, ast.Name)}
                for one in sorted(read):
                    self._follow(path, one)

    def _follow_import(self, path: Path, node: ast.ImportFrom, name: str) -> None:
        folder = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                if folder.with_suffix(".py").is_file():
                    self._follow(folder.with_suffix(".py"), alias.name)
                else:  # a module of which something is read
                    self.files.add((folder / alias.name).with_suffix(".py"))


def _is_kernel(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and getattr(decorator.func, "id", None) == "kernel"


def _defines(node: ast.stmt, name: str) -> bool:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name == name
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(one, ast.Name) and one.id == name for target in targets for one in ast.walk(target))


def _code(node: ast.stmt) -> ast.AST:
    """What runs of a definition: of a function its body, without annotations and decorators."""
    return ast.Module(body=node.body, type_ignores=[]) if isinstance(node, ast.FunctionDef) else node


def outside(package: Path) -> list[str]:
    """Files that kernels take from although the hash leaves them out."""
    covered = [package / path for path in KERNEL_SOURCES]
    return [
        file.relative_to(package).as_posix()
        for file in sorted(Taken(package).files)
        if not any(file.is_relative_to(one) for one in covered)
    ]


def test_all_that_kernels_take_is_in_the_hash() -> None:
    assert {"products.py", "popcount.py", "numbers.py"} <= {path.name for path in Taken(ROOT).files}
    assert outside(ROOT) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from ..network.windows import MASKED\n_LOW = MASKED + 1\n", ["sim/network/windows.py"]),
        ("from ..network import windows\n_LOW = windows.MASKED\n", ["sim/network/windows.py"]),
        ("from ..network.windows import MASKED\n_LOW = 1\n", []),  # not used by a kernel
    ],
)
def test_a_kernel_that_takes_from_elsewhere_is_found(copy: Path, text: str, expected: list[str]) -> None:
    edit(copy / "sim/reference/peak.py", f"{text}@kernel()\ndef low() -> int:\n    return _LOW\n")
    assert outside(copy) == expected


@pytest.mark.parametrize(
    ("path", "kernels_change"),
    [
        ("sim/timing/replay.py", True),
        ("sim/mapping/greedy.py", True),
        ("sim/mapping/program.py", False),
        ("sim/engine/memories.py", False),
        ("sim/network/windows.py", False),
        ("sim/reference/products.py", True),
        ("sim/bits.py", True),
    ],
)
def test_an_edit_throws_kernels_away_only_where_it_can_change_them(copy: Path, path: str, kernels_change: bool) -> None:
    kernels, everything = kernels_hash(copy), sources_hash([copy / "sim"], copy)
    assert kernels == kernels_hash()
    edit(copy / path)
    assert (kernels_hash(copy) != kernels) == kernels_change
    assert sources_hash([copy / "sim"], copy) != everything


def test_names_of_sources_count(copy: Path) -> None:
    before = kernels_hash(copy)
    (copy / "sim/reference/peak.py").rename(copy / "sim/reference/pike.py")
    assert kernels_hash(copy) != before


def test_compiled_code_is_kept_by_the_content_of_the_sources(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    folder, files, untouched = run.stdout.rstrip("\n").split(" ")
    assert Path(folder) == tmp_path / "bivit" / "kernels" / kernels_hash()
    assert int(files) == 2  # isqrt's loop and the root that it calls
    assert untouched == ""


def test_without_a_folder_to_write_in_code_is_compiled_anew(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "below")}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("None None")
