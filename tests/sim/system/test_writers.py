"""Everything is written whole or not at all, in one way; text is UTF-8 wherever it is read or written."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import ROOT

#: Where files may be made by hand: the one place, and what writes into a temporary folder of it.
HOME = "sim/system/files.py"
#: Calls that make temporary names or rename: `module.name` or a name alone.
BY_HAND = {"TemporaryDirectory", "NamedTemporaryFile", "mkdtemp", "mkstemp", "rename", "replace"}
#: Methods of a path that read or write text.
TEXT = {"read_text", "write_text", "open"}


def modules() -> list[Path]:
    folders = ("sim", "model", "hw", "cosim", "cli")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def by_hand(tree: ast.AST) -> Iterator[str]:
    """Calls that write in another way: temporary names, renamed paths, names that end as temporary ones do."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            # str.replace and dataclasses.replace take two values, a path's takes one.
            alone = len(node.args) == 1 and not node.keywords
            if name in BY_HAND and (name not in ("rename", "replace") or alone):
                yield f"{node.lineno}: {name}"
            if name == "run" and getattr(getattr(node.func, "value", None), "id", "") == "subprocess":
                yield f"{node.lineno}: subprocess.run"
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and text.endswith((".part", ".partial")):
            yield f"{node.lineno}: {text!r}"


def without_encoding(tree: ast.AST) -> Iterator[str]:
    """Calls that read or write text in the encoding of the machine."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = getattr(getattr(node.func, "value", None), "id", "")
        encoded = any(keyword.arg == "encoding" for keyword in node.keywords)
        if name not in TEXT or encoded or owner in ("os", "files", "gzip", "tarfile", "Image", "archive"):
            continue
        modes = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        own = isinstance(node.func, ast.Name) and name != "open"  # a function of sim.system.files
        if not own and not any("b" in mode for mode in modes):
            yield f"{node.lineno}: {name}"


def parse(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_nothing_else_writes_whole_files() -> None:
    homes = (HOME, "sim/system/children.py")
    found = {str(p.relative_to(ROOT)): list(by_hand(parse(p))) for p in modules()}
    assert {name: calls for name, calls in found.items() if calls and name not in homes} == {}
    assert found[HOME]


def test_text_has_an_encoding() -> None:
    found = {str(p.relative_to(ROOT)): list(without_encoding(parse(p))) for p in modules()}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    ("code", "calls"),
    [
        ("with tempfile.TemporaryDirectory() as f: pass", 1),
        ("partial.replace(path)", 1),
        ("part.rename(path)", 1),
        ("path.with_suffix('.part')", 1),
        ("path.with_name(path.name + '.partial')", 1),
        ("subprocess.run(['ls'])", 1),
        ("text.replace('a', 'b'); dataclasses.replace(recipe, epochs=1)", 0),
    ],
)
def test_a_writer_by_hand_is_found(code: str, calls: int) -> None:
    assert len(list(by_hand(ast.parse(code)))) == calls


@pytest.mark.parametrize(
    ("code", "calls"),
    [
        ("path.read_text()", 1),
        ("path.write_text('x')", 1),
        ("open(path)", 1),
        ("path.open('w')", 1),
        ("path.open('wb'); path.open('r', encoding='utf-8'); files.write_text(path, 'x'); write_text(path, 'x')", 0),
    ],
)
def test_text_without_an_encoding_is_found(code: str, calls: int) -> None:
    assert len(list(without_encoding(ast.parse(code)))) == calls


WRITERS = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from shapes import TINY
from bivit.model.files.checkpoint import Checkpoint, save_checkpoint
from bivit.model.train.run_folder import RunFolder
from bivit.model.vit.vit import RealViT
from bivit.sim.system import files
from bivit.sim.network.file import save_network
from bivit.sim.errors import BivitError
from bivit.sim.qonnx.export import export_qonnx, save_qonnx
from bivit.sim.network.random import random_network

out = Path(sys.argv[1])
network, model = random_network(TINY, seed=0), RealViT(TINY)
graph, run = export_qonnx(network), RunFolder(out / "run", {"a": 1})
files.write_json(out / "kept.json", 1)
before = sorted(path.name for path in out.rglob("*"))
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))

def folder():
    with files.whole_folder(out / "folder") as partial:
        (partial / "big.bin").write_bytes(bytes(5000))

for write in (
    lambda: save_network(network, out / "net.safetensors"),
    lambda: save_checkpoint(Checkpoint(model, 0), out / "model.safetensors"),
    lambda: save_qonnx(graph, out / "net.onnx"),
    lambda: run.save_state({"model": model.state_dict(), "rows": []}),
    lambda: run.finish({"losses": [1.0] * 500}),
    lambda: files.write_json(out / "kept.json", [1] * 500),
    folder,
):
    try:
        write()
    except BivitError as error:
        assert "File too large; make room" in str(error) and str(out) in str(error), error
    else:
        raise AssertionError(write)
    assert sorted(path.name for path in out.rglob("*")) == before, before
assert (out / "kept.json").read_text() == "1\\n"
try:
    for epoch in range(99):
        run.add_metrics({"phase": "teacher", "epoch": epoch, "loss": 1.0})
except BivitError as error:
    assert "run/" in str(error), error
else:
    raise AssertionError("metrics")
import os
os._exit(0)
"""


def test_every_writer_says_that_there_is_no_room_and_leaves_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: both fail in the middle of a write."""
    path = str(ROOT / "tests" / "tools")
    code = f"import sys; sys.path.insert(0, {path!r})\n{WRITERS}"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
