"""Data sets: the digits' fixed split, files of users, and what is wrong with them (model/data/open.py)."""

import gzip
import io
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import write_folder
from sklearn.datasets import load_digits

from bivit.model.data.dataset import take
from bivit.model.data.open import Dataset, load_dataset, open_source
from bivit.model.data.source import PassedOverWarning
from bivit.sim.errors import BivitError
from bivit.sim.network.presets import PRESETS
from bivit.sim.network.run_result import check_images
from helpers import ROOT

FASHION = ROOT.parent / "shared" / "data" / "fashion-mnist"
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
        ({"images": IMAGES, "labels": LABELS, "test_labels": LABELS}, "holds test_labels but no test_images"),
        ({"images": IMAGES, "labels": LABELS, "val_images": IMAGES}, "holds val_images, which would not be read"),
        ({"x_train": IMAGES, "y_train": LABELS}, "needs the array 'images', got x_train, y_train"),
        (
            {"images": IMAGES.astype(object), "labels": LABELS},
            "images in .* holds Python objects, which",
        ),
        ({"images": IMAGES, "labels": LABELS.astype(str)}, "must be integers"),
        ({"images": IMAGES, "labels": LABELS == 1}, r"must be integers \[n\], got bool"),
        ({"images": IMAGES, "labels": LABELS.astype("m8[s]")}, "must be integers"),
        ({"images": IMAGES, "labels": LABELS.reshape(20, 1)}, r"must be integers \[n\], got int64 \[20, 1\]"),
        ({"images": IMAGES, "labels": np.where(LABELS, np.nan, 0)}, "must be integers .* got float64"),
        ({"images": IMAGES, "labels": LABELS, "classes": "cat"}, r"classes in .* must be names \[n\], got <U3 \[\]"),
        ({"images": IMAGES, "labels": LABELS, "classes": [0.5, 1.5]}, "must be names .* got float64"),
        ({"images": IMAGES, "labels": LABELS, "classes": ["a", "b", "a"]}, "names a class twice"),
        (
            {"images": IMAGES.reshape(20, 1, 3, 4), "labels": LABELS},
            r"looks like \[n, C, H, W\]; .*transpose",
        ),
        ({"images": IMAGES.reshape(20, 3, 2, 2), "labels": LABELS}, r"looks like \[n, C, H, W\]"),
        ({"images": IMAGES[:, :0], "labels": LABELS}, r"must have a pixel or more, got \[\d+, 0, 4, 1\]"),
    ],
)
def test_bad_npz_files_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        load_dataset(write(tmp_path, **arrays), "train")


@pytest.mark.parametrize("kind", ["u8", "i8", "<i4", ">u4", "u1"])
def test_labels_of_any_integers(tmp_path: Path, kind: str) -> None:
    train = load_dataset(write(tmp_path, images=IMAGES, labels=LABELS.astype(kind)), "train")
    assert np.bincount(train.labels).tolist() == [8, 8]
    assert train.labels.dtype == np.int64


@pytest.mark.parametrize("label", [1 << 20, 2_000_000_000, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -1, -(1 << 63)])
@pytest.mark.parametrize("classes", [None, ["even", "odd"]])
@pytest.mark.parametrize("prefix", ["", "test_"])
def test_labels_out_of_range_are_named(tmp_path: Path, label: int, classes: list[str] | None, prefix: str) -> None:
    labels = LABELS.astype(np.uint64 if label > 0 else np.int64)
    arrays = {"images": IMAGES, "labels": LABELS, "test_images": IMAGES, "test_labels": LABELS}
    labels[7] = label
    arrays |= {f"{prefix}labels": labels} | ({"classes": np.array(classes)} if classes else {})
    found = rf"^{prefix}labels of .*data\.npz must be 0 to (1|1048575), got .*{label}.* image 7 \(from 0\), {label}$"
    with pytest.raises(BivitError, match=found):
        load_dataset(write(tmp_path, **arrays), "train")


def test_too_few_images_for_a_test_split(tmp_path: Path) -> None:
    spec = write(tmp_path, images=IMAGES[:8], labels=LABELS[:8])
    with pytest.raises(BivitError, match=r"none of its classes has 5 images, .* \(8 images in all\); add test_images"):
        load_dataset(spec, "test")
    assert len(load_dataset(spec, "train")) == 8


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "shape", [(1 << 40, 3, 4), (1 << 62, 1 << 62, 1 << 62), (10**30, 3, 4), (19, 3, 4), (21, 3, 4), (-20, -3, 4)]
)
def test_sizes_of_arrays_are_not_believed(tmp_path: Path, shape: tuple[int, ...], packed: bool) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    labels = io.BytesIO()
    np.save(labels, LABELS)
    with zipfile.ZipFile(tmp_path / "data.npz", "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        file.writestr("images.npy", header.getvalue() + IMAGES.tobytes())
        file.writestr("labels.npy", labels.getvalue())
    with pytest.raises(BivitError, match=r"images in .*data\.npz is damaged: it says uint8 .* its 240 bytes hold"):
        load_dataset(str(tmp_path / "data.npz"), "train")


def test_an_array_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    spec = write(tmp_path, images=IMAGES, labels=LABELS)
    with zipfile.ZipFile(spec, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("labels.npy", b"")
    with pytest.raises(BivitError, match="holds the array 'labels' twice"):
        load_dataset(spec, "train")


def test_other_arrays_are_named(tmp_path: Path) -> None:
    spec = write(tmp_path, images=IMAGES, labels=LABELS, mean=[0.5], author="me")
    with pytest.warns(PassedOverWarning, match="passed over 2 arrays that are not part of a data set: author, mean"):
        assert len(load_dataset(spec, "train")) == 16


def test_names_in_bytes(tmp_path: Path) -> None:
    spec = write(tmp_path, images=IMAGES, labels=LABELS, classes=np.array([b"cat", b"dog"]))
    assert load_dataset(spec, "train").classes == ("cat", "dog")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), (1 << 31, 4, 4), (4, 2, 2), (6, 2, 2)])
def test_sizes_of_idx_files_are_not_believed(tmp_path: Path, shape: tuple[int, int, int], packed: bool) -> None:
    content = struct.pack(">HBB3I", 0, 8, 3, *shape) + bytes(20)
    path = tmp_path / f"train-images-idx3-ubyte{'.gz' * packed}"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(BivitError, match=rf"{path.name} is not an idx file .* cut short: its head says \[{shape[0]}, "):
        load_dataset(str(tmp_path), "train")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("val-0.tar", "give the folder that holds it"),
        ("a.PNG", "give the folder"),
        ("a.npy", "into one file with numpy"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_bytes(b"something else")
    with pytest.raises(BivitError, match=rf"{name} is not a readable \.npz file .*{message}"):
        load_dataset(str(tmp_path / name), "train")


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 cut short", b"\x93NUMPY cut short"])
def test_unreadable_npz_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(BivitError, match=r"not a readable \.npz file"):
        load_dataset(str(path), "train")


def test_bad_idx_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"")
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
    assert rows(take(test, 3)) == rows(test)[:3]
    with pytest.raises(BivitError, match="can give 1 to 355 images, got 0"):
        take(test, 0)


def test_validation_is_split_off_by_class() -> None:
    whole = load_dataset("digits", "train")
    train, validation = whole.validation(0.1, seed=3)
    assert sorted(rows(train) + rows(validation)) == sorted(rows(whole))
    for label in range(10):
        assert (validation.labels == label).sum() == (whole.labels == label).sum() // 10
    assert rows(validation) == rows(whole.validation(0.1, seed=3)[1])
    assert rows(validation) != rows(whole.validation(0.1, seed=4)[1])
    assert validation.name == "digits (train), validation part"
    assert validation.classes == train.classes == whole.classes


@pytest.mark.parametrize(
    ("share", "message"), [(0.0, "above 0 and below 1"), (1.0, "above 0 and below 1"), (0.001, "no class of digits")]
)
def test_wrong_shares_are_refused(share: float, message: str) -> None:
    with pytest.raises(BivitError, match=message):
        load_dataset("digits", "train").validation(share)


def test_images_in_memory_can_be_read_at_another_size() -> None:
    test = load_dataset("digits", "test")
    assert isinstance(open_source("digits", "test", 8, channels=1), Dataset)
    larger = load_dataset("digits", "test", 14)
    assert larger.images.shape == (355, 14, 14, 1)
    assert larger.labels.tolist() == test.labels.tolist()
    # 14 is the centre of 16, which has two pixels for each of the digit's: every second one resembles it.
    small, large = test.images[:, 1:7, 1:7].astype(float), larger.images[:, 1:13:2, 1:13:2].astype(float)
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.8
    colour = open_source("digits", "test", channels=3)
    assert colour.shape == (8, 8, 3)
    assert np.array_equal(take(colour, 3).images, test.images[:3].repeat(3, axis=-1))


def test_images_that_cannot_be_resized_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BivitError, match="have 3 x 4 pixels; give the size"):
        open_source(write(tmp_path, images=IMAGES, labels=LABELS), "test", channels=3)
    five = np.zeros((20, 4, 4, 5), dtype=np.uint8)
    with pytest.raises(BivitError, match="have 5 channels; only those with 1 or 3"):
        open_source(write(tmp_path, images=five, labels=LABELS), "test", 8)


def test_what_is_too_large_for_memory_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train": 40})
    with pytest.raises(BivitError, match=r"80 images .* take 5\.6 GiB at 5000 pixels, above the 4 GiB"):
        load_dataset(str(tmp_path), "train", 5000)


def test_unknown_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BivitError, match=r"no data set that is known; give 'digits', .* found nothing"):
        load_dataset(str(tmp_path), "train")
    for name in "abcdefghij":
        (tmp_path / name).mkdir()
    with pytest.raises(BivitError, match="found a/, b/, c/, d/, e/, f/, g/, h/ and 2 more"):
        load_dataset(str(tmp_path), "train")


@pytest.mark.skipif(not FASHION.is_dir(), reason="no shared/data/fashion-mnist beside the repository")
def test_real_idx_files() -> None:
    test = load_dataset(str(FASHION), "test")
    assert test.images.shape == (10_000, 28, 28, 1)
    assert np.bincount(test.labels).tolist() == [1000] * 10


def test_data_sets_in_memory_need_no_torch() -> None:
    code = (
        "import sys; from bivit.model.data.open import load_dataset; from bivit.model.data.dataset import take; "
        "take(load_dataset('digits', 'test'), 3); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
