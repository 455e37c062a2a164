"""The public names of `bivit.sim`, `bivit.hw`, `bivit.cosim` and `bivit.model`, and that users are shown no others."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bivit.sim.lazy import public_homes
from helpers import ROOT

FACES = ("sim", "hw", "cosim", "model", "host")
#: Examples that look inside: a unit's test bench, and the walk through the files.
INSIDE = {"bench_cycles.py", "bench_generation.py", "dot.py", "weight_bit.py"}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: No part of Python itself, which is all that importing a package may import.
HEAVY = {"numba", "llvmlite", "numpy", "torch", "amaranth", "cocotb", "onnx", "safetensors", "PIL", "matplotlib"}


def loaded(code: str) -> set[str]:
    """Modules that a fresh process has after `code`."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def source_of(package: str) -> str:
    return (ROOT / package / "__init__.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", FACES)
def test_importing_a_package_imports_nothing_else(package: str) -> None:
    modules = loaded(f"import bivit.{package}; dir(bivit.{package}); hasattr(bivit.{package}, 'nothing')")
    assert {name.split(".")[0] for name in modules} & HEAVY == set()
    assert {name for name in modules if name.startswith("bivit.")} <= {
        "bivit.sim",
        "bivit.sim.lazy",
        f"bivit.{package}",
    }


def test_names_bring_what_they_need_and_no_more() -> None:
    light = loaded("from bivit.sim import load_engine, load_network, FlowConfig, preset")
    assert "numba" not in light
    assert "bivit.sim.reference.run" not in light
    assert {"numba", "bivit.sim.reference.run"} <= loaded("from bivit.sim import run_reference")
    assert "torch" not in loaded("from bivit.hw import generate\nfrom bivit.cosim import run_cosim")


@pytest.mark.parametrize("package", FACES)
def test_every_public_name_is_there(package: str) -> None:
    face = importlib.import_module(f"bivit.{package}")
    homes = public_homes(source_of(package))
    assert face.__all__ == sorted(homes, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert dir(face) == sorted(homes)
    for name, home in homes.items():
        value = getattr(importlib.import_module(home, face.__name__), name)
        assert getattr(face, name) is value
        assert vars(face)[name] is value
        assert getattr(value, "__module__", None) in (None, f"bivit.{package}{home}", "builtins"), name
    with pytest.raises(AttributeError, match=f"module 'bivit.{package}' has no attribute 'nothing'"):
        _ = face.nothing


@pytest.mark.parametrize("package", FACES)
def test_no_public_name_is_that_of_a_room(package: str) -> None:
    """Importing a module sets it as an attribute of its package, in place of what was there."""
    inside = {path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or path.is_dir()}
    assert inside & set(importlib.import_module(f"bivit.{package}").__all__) == set()


def test_a_room_is_imported_as_ever() -> None:
    assert "bivit.sim.network.file" in loaded("from bivit.sim import network\nfrom bivit.sim.network import file")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("if TYPE_CHECKING:\n    from .a.b import c, D\n    from . import e\n", {"c": ".a.b", "D": ".a.b", "e": "."}),
        ("from .a import b\nif True:\n    from .a import c\n", {}),
    ],
)
def test_names_are_read_from_the_text(source: str, expected: dict[str, str]) -> None:
    assert public_homes(source) == expected


def deep_imports(code: str) -> list[str]:
    """What Python code imports of bivit that is no public name of a package."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("bivit.")]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "bivit":
            package = (node.module or "").removeprefix("bivit").lstrip(".")
            known = set(public_homes(source_of(package))) if package in FACES else {"__version__"} - {package}
            found += [f"{node.module}.{alias.name}" for alias in node.names if alias.name not in known]
    return found


def shown_code(page: str) -> list[str]:
    """Python that a page shows: its blocks, and the scripts that commands pass to `python -c`."""
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    return blocks + re.findall(r"python[\w.]* -c '(.*?)'", page, flags=re.DOTALL)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_show_public_names_only(path: Path) -> None:
    assert [name for code in shown_code(path.read_text(encoding="utf-8")) for name in deep_imports(code)] == []


def deep_names(page: str) -> list[str]:
    """Names of bivit in a page's text that are not public; a program is called by its module, `python -m ...`."""
    found = []
    for name in re.findall(r"(?<!-m )(?<![\w./-])bivit((?:\.\w+)+)", page):
        package, *rest = name[1:].split(".")
        if rest and not (package in FACES and rest[0] in public_homes(source_of(package))):
            found.append(f"bivit{name}")
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_speak_of_public_names_only(path: Path) -> None:
    assert deep_names(path.read_text(encoding="utf-8")) == []


def test_a_deep_name_is_found() -> None:
    page = "`bivit.sim`, `bivit.sim.preset(x)`, run python -m bivit.hw.synthesis.calibrate fit"
    assert deep_names(page) == []
    assert deep_names("`bivit.sim.network.preset`, (bivit.cli.main)") == ["bivit.sim.network.preset", "bivit.cli.main"]


def test_examples_use_public_names_only() -> None:
    deep = {path.name for path in (ROOT / "examples").glob("*.py") if deep_imports(path.read_text(encoding="utf-8"))}
    assert deep == INSIDE


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("from bivit.sim import preset, run_reference\nimport numpy as np", []),
        ("from bivit.sim.network.presets import preset", ["bivit.sim.network.presets.preset"]),
        ("from bivit.sim import network", ["bivit.sim.network"]),
        ("import bivit.sim.reference.run as run", ["bivit.sim.reference.run"]),
        ("def f():\n    from bivit.model import run_reference", ["bivit.model.run_reference"]),
        ("from bivit.cli import main", ["bivit.cli.main"]),
        ("from bivit import __version__, sim", ["bivit.sim"]),
    ],
)
def test_a_deep_import_is_found(code: str, expected: list[str]) -> None:
    assert deep_imports(code) == expected


def test_code_of_pages_is_found() -> None:
    page = "a\n```python\nimport a\n```\n```\npython -c 'import b\nimport c'\n```\n```\nnot code\n```\n"
    assert shown_code(page) == ["import a\n", "import b\nimport c"]
    assert sum(len(shown_code(path.read_text(encoding="utf-8"))) for path in PAGES) >= 4
