"""Data files with bytes changed at random: each is read, or refused with a message; none ends otherwise or hangs."""

import gzip
import pickle
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, noise, write_picture, write_shards

from bivit.model.data.dataset import take
from bivit.model.data.open import open_source
from bivit.model.data.source import DataWarning
from bivit.sim.errors import BivitError

#: Mutants of each file; 2,000 of each were tried once.
MUTANTS = 40
LINES = "image,class\n" + "".join(f"{i}.png,{'cat' if i % 2 else 'a dog'}\n" for i in range(4))


def shard(folder: Path) -> Path:
    return write_shards(folder, (3,), split="val") / "val-0000.tar"


def packed_shard(folder: Path) -> Path:
    return write_shards(folder, (3,), "tgz", split="val") / "val-0000.tgz"


def arrays(folder: Path) -> Path:
    images, labels = np.stack([noise(seed) for seed in range(4)]), np.arange(4) % 2
    path = folder / "data.npz"
    np.savez(path, images=images, labels=labels, test_images=images, test_labels=labels, classes=["a", "b"])
    return path


def packed_arrays(folder: Path) -> Path:
    path = folder / "data.npz"
    np.savez_compressed(path, images=np.zeros((20, 4, 4), np.uint8), labels=np.arange(20, dtype=np.uint64) % 2)
    return path


def idx(folder: Path, packed: bool = False) -> Path:
    images = struct.pack(">HBB3I", 0, 8, 3, 3, 4, 4) + bytes(range(48))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">HBB1I", 0, 8, 1, 3) + bytes([0, 1, 2]))
    path = folder / f"t10k-images-idx3-ubyte{'.gz' * packed}"
    path.write_bytes(gzip.compress(images) if packed else images)
    return path


def idx_labels(folder: Path) -> Path:
    return idx(folder).with_name("t10k-labels-idx1-ubyte")


def packed_idx(folder: Path) -> Path:
    return idx(folder, packed=True)


def cifar(folder: Path) -> Path:
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"a", b"b"]}, 2))
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}
    (folder / "test_batch").write_bytes(pickle.dumps(batch, 2))
    return folder / "test_batch"


def labels(folder: Path) -> Path:
    for i in range(4):
        write_picture(folder / "val" / f"{i}.png", i)
    (folder / "classes.txt").write_text("a dog\ncat\n")
    (folder / "val.txt").write_text(LINES)
    return folder / "val.txt"


def names(folder: Path) -> Path:
    return labels(folder).with_name("classes.txt")


def picture(kind: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "val" / "only" / f"a.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(noise(0, 24, 24), kind))
        return path

    write.__name__ = kind
    return write


FILES = [
    *(shard, packed_shard, arrays, packed_arrays, idx, idx_labels, packed_idx, cifar, labels, names),
    *map(picture, ("png", "jpeg", "gif", "webp", "bmp", "ppm", "tiff")),
]


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes set, removed, doubled or appended."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        if not data:
            break
        # Headers are at the beginning more often than anywhere else.
        place = int(rng.integers(min(len(data), 700) if rng.random() < 0.5 else len(data)))
        length = int(rng.integers(1, 9))
        what = rng.integers(6)
        if what < 3:
            data[place : place + length] = rng.bytes(length) if what else bytes([rng.choice([0, 0xFF, 0x80, 0x39])] * 4)
        elif what == 3:
            del data[place : place + length * int(rng.choice([1, 64]))]
        elif what == 4:
            data[place:place] = data[place : place + 512 * length]
        else:
            data += data[: 512 * length] if rng.random() < 0.5 else rng.bytes(length)
    return bytes(data)


def read(path: Path, folder: Path) -> str:
    """What became of a data set: "read" or the message."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            warnings.simplefilter("ignore", UserWarning)
            source = open_source(str(path if path.suffix == ".npz" else folder), "test", 8)
            take(source, len(source))
    except BivitError as error:
        return str(error)
    return "read"


@pytest.mark.parametrize("write", FILES, ids=lambda write: write.__name__)
def test_changed_files_are_read_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], Path]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    path = write(folder)
    assert read(path, folder) == "read"
    content = path.read_bytes()
    for seed in range(MUTANTS):
        path.write_bytes(changed(content, np.random.default_rng(seed)))
        read(path, folder)
