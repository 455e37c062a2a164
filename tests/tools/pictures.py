"""Tiny picture files for tests of data sets."""

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, width: int = 8, height: int = 8, channels: int = 3) -> np.ndarray:
    """A picture of random bytes, uint8[height, width, channels]; grey ones have no channel axis."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str = "png") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def write_picture(path: Path, seed: int, **size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(noise(seed, **size)))


def write_folder(root: Path, splits: dict[str, int], classes: tuple[str, ...] = ("cat", "dog"), **size: int) -> Path:
    """Class folders for each split, with a number of pictures of each class."""
    for split, count in splits.items():
        for label, name in enumerate(classes):
            for i in range(count):
                write_picture(root / split / name / f"{name}_{i:02}.png", 100 * label + i + 1000 * len(split), **size)
    return root


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """A tar file of members in the order given; packed where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_shards(folder: Path, counts: tuple[int, ...], suffix: str = "tar", split: str = "train", **size: int) -> Path:
    """Shards of a split with these numbers of pictures; labels run over 0, 1, 2."""
    number = 0
    for shard, count in enumerate(counts):
        members = {}
        for _ in range(count):
            members[f"{number:04}.cls"] = str(number % 3).encode()
            members[f"{number:04}.png"] = encoded(noise(number, **size))
            number += 1
        write_tar(folder / f"{split}-{shard:04}.{suffix}", members)
    return folder
