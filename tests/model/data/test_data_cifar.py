"""CIFAR-10 and CIFAR-100 in their published formats (model/data/cifar.py); the pickles are never trusted."""

import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bivit.model.data.cifar import load_plain_pickle
from bivit.model.data.open import load_dataset
from bivit.sim.errors import BivitError

CLASSES = ("airplane", "automobile", "bird")
PER_FILE = 2
TRAIN = [f"data_batch_{number}" for number in range(1, 6)]


def planes(seed: int) -> np.ndarray:
    """Images of one file as CIFAR stores them, uint8[n, 3072]."""
    return np.random.default_rng(seed).integers(256, size=(PER_FILE, 3072), dtype=np.uint8)


def labels(seed: int) -> list[int]:
    return [seed % 3, (seed + 1) % 3]


def write_python(folder: Path, protocol: int = 2) -> Path:
    for seed, name in enumerate([*TRAIN, "test_batch"]):
        batch = {b"data": planes(seed), b"labels": labels(seed), b"batch_label": b"a batch", b"filenames": [b"a", b"b"]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [name.encode() for name in CLASSES]}, protocol))
    return folder


def write_binary(folder: Path) -> Path:
    for seed, name in enumerate([*TRAIN, "test_batch"]):
        rows = [bytes([label]) + row.tobytes() for label, row in zip(labels(seed), planes(seed), strict=True)]
        (folder / f"{name}.bin").write_bytes(b"".join(rows))
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")
    return folder


def write_python_100(folder: Path) -> Path:
    for seed, name in enumerate(["train", "test"]):
        batch = {b"data": planes(seed), b"fine_labels": labels(seed), b"coarse_labels": [9, 9]}
        (folder / name).write_bytes(pickle.dumps(batch, 2))
    (folder / "meta").write_bytes(pickle.dumps({b"fine_label_names": [name.encode() for name in CLASSES]}, 2))
    return folder


def write_binary_100(folder: Path) -> Path:
    for seed, name in enumerate(["train", "test"]):
        rows = [bytes([9, label]) + row.tobytes() for label, row in zip(labels(seed), planes(seed), strict=True)]
        (folder / f"{name}.bin").write_bytes(b"".join(rows))
    (folder / "fine_label_names.txt").write_text("\n".join(CLASSES))
    return folder


@pytest.mark.parametrize(
    ("write", "train_files"), [(write_python, 5), (write_binary, 5), (write_python_100, 1), (write_binary_100, 1)]
)
def test_published_layouts(tmp_path: Path, write: Any, train_files: int) -> None:
    spec = str(write(tmp_path))
    train, test = load_dataset(spec, "train"), load_dataset(spec, "test")
    assert train.classes == test.classes == CLASSES
    assert train.labels.tolist() == [label for seed in range(train_files) for label in labels(seed)]
    assert test.labels.tolist() == labels(train_files)
    assert train.images.shape == (train_files * PER_FILE, 32, 32, 3)
    # Red is the first third of a row; pixels run along the rows of the image.
    raw = planes(train_files)[1]
    for row, column, channel in ((0, 0, 0), (0, 31, 1), (17, 5, 2)):
        assert test.images[1, row, column, channel] == raw[1024 * channel + 32 * row + column]


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_arrays_of_any_old_protocol(tmp_path: Path, protocol: int) -> None:
    assert len(load_dataset(str(write_python(tmp_path, protocol)), "train")) == 10


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    """The opcodes of the published files, in which all text and data are byte strings of Python 2."""
    write_python(tmp_path)
    data = planes(7).tobytes()
    text = b"".join
    array = text(
        [
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR",  # an empty array
            b"(K\x01K\x02M\x00\x0c\x86cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x89T" + struct.pack("<i", len(data)) + data + b"tb",  # its bytes
        ]
    )
    (tmp_path / "test_batch").write_bytes(text([b"\x80\x02}(U\x04data", array, b"U\x06labels](K\x02K\x00eu."]))
    test = load_dataset(str(tmp_path), "test")
    assert test.labels.tolist() == [2, 0]
    assert test.images[0, 0, :, 0].tolist() == planes(7)[0, :32].tolist()


class Attack:
    """Runs a command when it is loaded by an unpickler that allows all."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, protocol: int) -> None:
    write_python(tmp_path)
    batch = {b"data": Attack(f"touch {tmp_path}/owned"), b"labels": [0, 1]}
    (tmp_path / "data_batch_3").write_bytes(pickle.dumps(batch, protocol))
    with pytest.raises(BivitError, match=r"data_batch_3 is refused: it asks for (posix|nt)\.system"):
        load_dataset(str(tmp_path), "train")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy.testing._private.utils\nrunstring\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy\nndarray.tofile\n.",
        b"ccodecs\nencode\n.",
    ],
)
def test_only_what_builds_arrays_can_be_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BivitError, match="and only arrays and plain values are loaded"):
        load_plain_pickle(tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no readable pickle"),
        (pickle.dumps({b"data": planes(0), b"labels": [0, 1]}, 2)[:-900], "no readable pickle"),
        (pickle.dumps([1, 2]), "must hold a dictionary, got list"),
        (pickle.dumps({b"data": planes(0)}, 2), "must hold 'data' .* and 'labels'"),
        (pickle.dumps({b"data": planes(0), b"labels": [0]}, 2), "one integer an image"),
        (pickle.dumps({b"data": planes(0)[:, :5], b"labels": [0, 1]}, 2), "must hold 'data' uint8"),
        (pickle.dumps({b"data": planes(0).astype(float), b"labels": [0, 1]}, 2), "must hold 'data' uint8"),
        (pickle.dumps({b"data": planes(0), b"labels": [0, 3]}, 2), "must be 0 to 2, got 0 to 3"),
        (
            pickle.dumps({b"data": planes(0), b"labels": [0, 1 << 70]}, 2),
            "labels of .*test_batch must be 0 to",
        ),
        (pickle.dumps({b"data": planes(0), b"labels": [0, True]}, 2), "one integer an image"),
    ],
)
def test_damaged_pickles_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    write_python(tmp_path)
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(BivitError, match=message):
        load_dataset(str(tmp_path), "test")


def test_damaged_names_are_refused(tmp_path: Path) -> None:
    write_python(tmp_path)
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": "abc"}, 2))
    with pytest.raises(BivitError, match="must hold the list 'label_names'"):
        load_dataset(str(tmp_path), "test")


def test_missing_and_short_files_are_named(tmp_path: Path) -> None:
    write_binary(tmp_path)
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073 + 5))
    with pytest.raises(BivitError, match=r"test_batch\.bin is cut short: it has 3078 bytes, .* multiple of 3073"):
        load_dataset(str(tmp_path), "test")
    (tmp_path / "data_batch_2.bin").unlink()
    (tmp_path / "data_batch_4.bin").unlink()
    with pytest.raises(BivitError, match=r"lacks data_batch_2\.bin, data_batch_4\.bin; unpack"):
        load_dataset(str(tmp_path), "train")
