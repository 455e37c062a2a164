"""Data sets: the digits' fixed split, files of users, and what is wrong with them (model/data.py)."""

import ast
import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from bivit.model import data
from bivit.model.data import Dataset, load_dataset
from bivit.sim.config import PRESETS
from bivit.sim.errors import BivitError
from bivit.sim.network import check_images

IMAGES = np.arange(20 * 3 * 4, dtype=np.uint8).reshape(20, 3, 4)
LABELS = np.arange(20) % 2

#: First labels of the digits' test split, and the sum of its pixels.
SPLIT_HEAD = [5, 9, 2, 4, 6, 7, 9, 3, 4, 6, 8, 5]
SPLIT_SUM = 1769903


def write(path: Path, **arrays: Any) -> str:
    np.savez(path / "data.npz", **arrays)
    return str(path / "data.npz")


def rows(dataset: Dataset) -> list[bytes]:
    return [image.tobytes() for image in dataset.images]


def test_digits_are_scaled_and_split_by_class() -> None:
    train, test = load_dataset("digits", "train"), load_dataset("digits", "test")
    raw = load_digits()
    assert (len(train), len(test)) == (1442, 355)
    assert train.images.shape[1:] == (8, 8, 1)
    scaled = np.minimum(255, 16 * raw.images.astype(np.int64)).astype(np.uint8)
    assert sorted(rows(train) + rows(test)) == sorted(image.tobytes() for image in scaled)
    for label in range(10):
        assert (test.labels == label).sum() == (raw.target == label).sum() // 5
    check_images(test.images, PRESETS["digits"])
    assert test.classes == tuple("0123456789")


def test_the_digits_split_does_not_change() -> None:
    test = load_dataset("digits", "test")
    assert rows(test) == rows(load_dataset("digits", "test"))
    assert test.labels[:12].tolist() == SPLIT_HEAD
    assert int(test.images.astype(np.int64).sum()) == SPLIT_SUM


def test_npz_without_a_test_split(tmp_path: Path) -> None:
    spec = write(tmp_path, images=IMAGES, labels=LABELS, classes=np.array(["even", "odd"]))
    train, test = load_dataset(spec, "train"), load_dataset(spec, "test")
    assert train.images.shape == (16, 3, 4, 1)
    assert test.labels.tolist().count(0) == test.labels.tolist().count(1) == 2
    assert sorted(rows(train) + rows(test)) == sorted(image.tobytes() for image in IMAGES)
    assert train.classes == ("even", "odd")
    assert test.name == f"{spec} (test)"


def test_npz_with_a_test_split_and_colours(tmp_path: Path) -> None:
    colours = np.zeros((4, 2, 2, 3), dtype=np.uint8)
    spec = write(tmp_path, images=colours, labels=np.array([0, 1, 2, 0]), test_images=colours[:1], test_labels=[4])
    assert load_dataset(spec, "train").images.shape == (4, 2, 2, 3)
    test = load_dataset(spec, "test")
    assert test.labels.tolist() == [4]
    assert test.classes == load_dataset(spec, "train").classes == tuple("01234")


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_folder(tmp_path: Path, zipped: bool) -> None:
    for prefix, count in (("train", 5), ("t10k", 3)):
        images = struct.pack(">HBB3I", 0, 8, 3, count, 2, 2) + bytes(range(4 * count))
        labels = struct.pack(">HBB1I", 0, 8, 1, count) + bytes(range(count))
        for name, content in (("images-idx3", images), ("labels-idx1", labels)):
            path = tmp_path / f"{prefix}-{name}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(content) if zipped else content)
    test = load_dataset(str(tmp_path), "test")
    assert test.images[2, :, :, 0].tolist() == [[8, 9], [10, 11]]
    assert test.labels.tolist() == [0, 1, 2]
    assert test.images.flags.writeable
    assert len(load_dataset(str(tmp_path), "train")) == 5


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, "needs the array 'labels', got images"),
        ({"images": IMAGES, "labels": LABELS[:7]}, r"one label an image, got images \[20, 3, 4\] and labels \[7\]"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "has no images"),
        ({"images": IMAGES.astype(np.float32), "labels": LABELS}, "must be uint8 .* got float32"),
        ({"images": IMAGES[:, 0], "labels": LABELS}, r"must be uint8 .* got uint8 \[[0-9]+, 4\]"),
        ({"images": IMAGES, "labels": LABELS - 1}, "must be 0 to 0, got -1"),
        ({"images": IMAGES, "labels": LABELS / 2}, "must be integers"),
        ({"images": IMAGES, "labels": LABELS, "classes": ["one"]}, "must be 0 to 0, got 0 to 1"),
        ({"images": IMAGES, "labels": LABELS, "test_images": IMAGES}, "needs the array 'test_labels'"),
    ],
)
def test_bad_npz_files_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        load_dataset(write(tmp_path, **arrays), "train")


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 cut short", b"\x93NUMPY cut short"])
def test_unreadable_npz_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(BivitError, match=r"not a readable \.npz file"):
        load_dataset(str(path), "train")


def test_bad_idx_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BivitError, match=r"neither train-images-idx3-ubyte nor train-images-idx3-ubyte\.gz"):
        load_dataset(str(tmp_path), "train")
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(b"\0\0\x08")
    with pytest.raises(BivitError, match="not a readable idx file"):
        load_dataset(str(tmp_path), "train")
    path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 5, 2, 2) + bytes(19))
    with pytest.raises(BivitError, match="cut short"):
        load_dataset(str(tmp_path), "train")


def test_wrong_names_are_refused() -> None:
    with pytest.raises(BivitError, match="split must be one of train, test, got 'val'"):
        load_dataset("digits", "val")
    with pytest.raises(BivitError, match=r"no data set 'nowhere\.npz'"):
        load_dataset("nowhere.npz", "test")


def test_take() -> None:
    test = load_dataset("digits", "test")
    assert rows(test.take(3)) == rows(test)[:3]
    with pytest.raises(BivitError, match="can give 1 to 355 images, got 0"):
        test.take(0)


def test_the_module_needs_no_torch() -> None:
    tree = ast.parse(Path(data.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any(name.startswith("torch") for name in names)
