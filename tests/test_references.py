"""What pages, docstrings and comments name is there: modules, what they hold, and files of this repository."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
from named import PACKAGES, Named

from helpers import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "Makefile",
    ROOT / "pyproject.toml",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "zoo").glob("*/README.md")),
]
CODE = [path for folder in (*PACKAGES, "tests", "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
FOLDERS = (*PACKAGES, "docs", "tests", "examples", "recipes", "zoo")

#: A path from the root to a file or folder, wherever it stands; one with a star stands for what matches.
PATH = re.compile(rf"(?<![\w./<-])(?:{'|'.join(FOLDERS)})/[\w./*-]*\w(?:\.\w+)?(?![\w<{{])")
#: A name with its package, wherever it stands when it begins with `bivit`, otherwise in backticks.
FULL = re.compile(r"(?<![\w./-])bivit\.((?:[A-Za-z_]\w*)(?:\.[A-Za-z_]\w*)*)(?![\w/])")
QUOTED = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
DOTTED = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:\(.*\))?$")

#: Names in backticks that only look like a module and what is in it.
NOT_NAMES = {
    "model.num_classes",  # a key of others' checkpoints
    "registers.c",  # a file of a project
}
#: Beginnings of tensors' names, which are also modules' names.
TENSORS = ("blocks", "context", "layers", "norm")
#: Endings of files that commands write.
FILES = ("bin", "bit", "core", "h", "html", "hwh", "json", "lpf", "md", "rdl", "safetensors", "svg", "tcl", "txt", "v")
FILES += ("xdc",)
#: Ports of the hardware: `bits.write` is a port of the drain, not what sim/bits.py has.
PORTS = ("read", "write", "w")


def commentary(path: Path) -> str:
    """Docstrings and comments of a module."""
    source = path.read_text(encoding="utf-8")
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
    docstrings = [ast.get_docstring(node) or "" for node in nodes]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return "\n".join([*docstrings, *(token.string for token in tokens if token.type == tokenize.COMMENT)])


def missing(text: str, names: Named, root: Path) -> Iterator[str]:
    """Yield what a text names that is not there."""
    for path in PATH.findall(text):
        if not (root / path).exists() and not ("*" in path and any(root.glob(path))):
            yield path
    for full in FULL.findall(text):
        if not names.has(full):
            yield full
    for quoted in QUOTED.findall(text):
        found = DOTTED.match(quoted.removeprefix("bivit."))
        if found is None or found[1] in NOT_NAMES:
            continue
        name = found[1]
        if name.split(".")[0] in PACKAGES:
            if not names.has(name):
                yield name
        elif not _is_no_name(name) and names.short_has(name) is False:
            yield name


def _is_no_name(name: str) -> bool:
    """Whether a short dotted name is a tensor's, a port's or a file's."""
    first, *_, last = name.split(".")
    return first in TENSORS or last in PORTS or last in FILES


NAMES = Named(ROOT)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_page_names_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.name == "timing.md":  # whose tables name the hardware's signals, by units that are called as modules are
        text = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
    assert list(missing(text, NAMES, ROOT)) == []


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_docstring_or_comment_names_is_there(path: Path) -> None:
    assert list(missing(commentary(path), NAMES, ROOT)) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A repository of one package."""
    (tmp_path / "sim" / "network").mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "semantics.md").write_text("")
    (tmp_path / "sim" / "network" / "__init__.py").write_text("")
    (tmp_path / "sim" / "__init__.py").write_text("if True:\n    from .network.file import load\n")
    (tmp_path / "sim" / "network" / "file.py").write_text(
        "from dataclasses import dataclass\nLIMIT, REST = 1, 2\n"
        "class Base:\n    size: int = 1\n"
        "class Part(Base):\n    def __init__(self):\n        self.a, self.b = 1, 2\n"
        "def load(): ...\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`sim.network.file.load`, `bivit.sim.network.file`, `sim.load(x, y)` and `file.LIMIT`", []),
        ("`Part.a`, `sim.network.file.Part.size`, `file.REST`, `Other.thing`, `numpy.ndarray`, `file.write`", []),
        ("`sim/network/file.py`, docs/semantics.md, sim/*/file.py, out/sim/gone.py and `sim/`", []),
        ("`sim.network.file.save`", ["sim.network.file.save"]),
        ("`sim.gone.file` and `bivit.sim.gone`", ["sim.gone", "sim.gone.file", "sim.gone"]),
        ("run python -m bivit.sim.gone now", ["sim.gone"]),
        ("`file.SAVE`", ["file.SAVE"]),
        ("`Part.c` and `Base.a`", ["Part.c", "Base.a"]),
        (
            "(docs/gone.md, `sim/network/gone.py`); sim/*/gone.py",
            ["docs/gone.md", "sim/network/gone.py", "sim/*/gone.py"],
        ),
    ],
)
def test_what_is_not_there_is_found(copy: Path, text: str, expected: list[str]) -> None:
    assert list(missing(text, Named(copy), copy)) == expected


def test_docstrings_and_comments_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        '"""One."""\nX = "no"  # two\n\n\nclass A:\n    """Three."""\n\n    def f():\n        """Four."""\n'
    )
    assert [word for word in ("One", "no", "two", "Three", "Four") if word in commentary(path)] == [
        "One",
        "two",
        "Three",
        "Four",
    ]
