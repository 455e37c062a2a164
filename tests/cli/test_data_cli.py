"""Data sets as users get them wrong, from the command line: a message and exit code 2, or a warning and the result."""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, noise, write_folder, write_picture, write_shards, write_tar
from program import assert_refused, invoke

from helpers import ROOT

NET = ROOT / "zoo" / "digits" / "network.safetensors"
CLASSES = tuple(f"c{number}" for number in range(10))


def arrays(**changed: object) -> Callable[[Path], str]:
    """Writes a data set of 50 images in an .npz file."""

    def write(folder: Path) -> str:
        plain = {"images": np.zeros((50, 8, 8, 1), np.uint8), "labels": np.arange(50) % 10}
        np.savez(folder / "data.npz", **(plain | changed))  # type: ignore[arg-type]
        return "data.npz"

    return write


def copied_shard(folder: Path) -> str:
    whole = write_shards(folder, (3,), split="val") / "val-0000.tar"
    (folder / "val-0000.tar.gz").write_bytes(gzip.compress(whole.read_bytes()))
    return "."


def damaged_end(folder: Path) -> str:
    whole = write_shards(folder, (3,), split="val") / "val-0000.tar"
    whole.write_bytes(whole.read_bytes() + b"more")
    return "."


def label_that_is_a_time(folder: Path) -> str:
    write_tar(folder / "val-0000.tar", {"a.png": encoded(noise(1)), "a.cls": b"1700000000"})
    return "."


def list_of_latin_1(folder: Path) -> str:
    write_picture(folder / "val" / "a.png", 1)
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    (folder / "val.txt").write_bytes("a.png 1\n# für später".encode("latin-1"))
    return "."


def list_of_another_class(folder: Path) -> str:
    list_of_latin_1(folder)
    (folder / "val.txt").write_text("a.png\tc10\n")
    return "."


def link_to_a_class(folder: Path) -> str:
    write_folder(folder, {"val": 1}, CLASSES)
    (folder / "val" / "c0" / "more").symlink_to("../c1")
    return "."


def huge_idx(folder: Path) -> str:
    (folder / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">HBB3I", 0, 8, 3, 1 << 31, 1 << 31, 8) + bytes(64))
    return "."


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            arrays(labels=np.full(50, 1 << 63, np.uint64)),
            "labels of data.npz must be 0 to 1048575, got 92233720368",
        ),
        (arrays(images=np.zeros((50, 1, 8, 8), np.uint8)), "looks like [n, C, H, W]; turn them with images.transpose"),
        (arrays(images=np.zeros((50, 9, 9, 1), np.uint8)), "images must have shape [B, 8, 8, 1], got [10, 9, 9, 1] in"),
        (arrays(images=np.zeros((50, 8, 8, 4), np.uint8)), "images must have shape [B, 8, 8, 1], got [10, 8, 8, 4] in"),
        (arrays(labels=np.arange(50) % 12), "has 12 classes, the model 10; set model.num_classes to 12 in the recipe"),
        (arrays(labels=np.arange(3)), "needs one label an image, got images [50, 8, 8, 1] and labels [3]"),
        (copied_shard, "val-0000.tar and val-0000.tar.gz are one shard, plain and packed; remove one of them"),
        (damaged_end, "val-0000.tar is cut short or damaged at byte 10240; fetch it again"),
        (label_that_is_a_time, "a.cls in val-0000.tar holds the label 1700000000; labels must be 0 to"),
        (list_of_latin_1, "val.txt (list of labels) is not UTF-8 text: line 2 holds the byte 0xfc; save it as UTF-8"),
        (list_of_another_class, "val.txt, line 1, has the label 'c10', which is neither"),
        (link_to_a_class, "val/c1 is reached below val/c0 too, so its pictures would be counted in both"),
        (
            huge_idx,
            "is not an idx file of bytes with 3 axes, or is cut short: its head says [2147483648, 21",
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_mistakes_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], str], message: str
) -> None:
    (tmp_path / "data").mkdir()
    data = write(tmp_path / "data")
    for command in (("eval", NET), ("run", NET, "--out", "table.csv")):
        assert_refused(invoke(*command, "--data", data, cwd=tmp_path / "data", monkeypatch=monkeypatch), message)
    assert not list((tmp_path / "data").glob("table.csv*"))


def test_what_is_passed_over_is_named_beside_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "data", {"val": 2}, CLASSES)
    (folder / "val" / "c3" / "notes.md").touch()
    (folder / "val" / "c3" / "._c3_00.png").touch()
    for command in ("eval", "run"):
        done = invoke(command, NET, "--data", "data", "--json", cwd=tmp_path, monkeypatch=monkeypatch)
        assert done.returncode == 0
        assert json.loads(done.stdout)["images"] == 20
        passed = "warning: data (test): passed over 2 files and folders that are no images of it: val/c3/._c3_00.png"
        assert done.stderr.count(passed) == 1
