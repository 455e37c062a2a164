"""Images with labels for training, calibration and evaluation; numpy only, so that tools without torch can use it.

A data set is named by a string: `digits` (scikit-learn's bundled 8x8 digits, nothing is downloaded), the path of an
`.npz` file, or a folder with the four idx files of MNIST or Fashion-MNIST.

An `.npz` file holds `images` (uint8 [n, H, W] or [n, H, W, C]) and `labels` (integers [n]), and may hold `test_images`
and `test_labels`, without which a stratified fifth of the images is the test split, and `classes` (names).
"""

from __future__ import annotations

import gzip
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sim.errors import BivitError, check

SPLITS = ("train", "test")
#: One image in this many, of each class, is in the test split of a data set that has none of its own.
TEST_SHARE = 5
SPLIT_SEED = 0


@dataclass(frozen=True)
class Dataset:
    """Images and labels of one split.

    Raises
    ------
    BivitError
        When there are no images, shapes or dtypes are not those below, or a label names no class.
    """

    #: The string that named it.
    name: str
    #: uint8[n, H, W, C]
    images: NDArray[np.uint8]
    #: int64[n], indices into `classes`
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        check(
            images.dtype == np.uint8 and images.ndim == 4,
            f"images of {self.name} must be uint8 [n, H, W] or [n, H, W, C], got {images.dtype} {list(images.shape)}",
        )
        check(len(images) > 0, f"{self.name} has no images; give at least one")
        check(
            labels.shape == (len(images),),
            f"{self.name} needs one label an image ({len(images)}), got labels of shape {list(labels.shape)}",
        )
        check(
            labels.min() >= 0 and labels.max() < len(self.classes),
            f"labels of {self.name} must be 0 to {len(self.classes) - 1}, got {labels.min()} to {labels.max()}",
        )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, count: int) -> Dataset:
        """Return the first `count` images; `BivitError` unless `count` is 1 to the number of images."""
        check(0 < count <= len(self), f"{self.name} can give 1 to {len(self)} images, got {count}")
        return Dataset(self.name, self.images[:count], self.labels[:count], self.classes)


def load_dataset(spec: str, split: str) -> Dataset:
    """Load one split of a data set.

    Parameters
    ----------
    spec : str
        `digits`, an `.npz` file or a folder of idx files, see the module.
    split : str
        `train` or `test`; the same images on every call.

    Returns
    -------
    Dataset

    Raises
    ------
    BivitError
        When the data set does not exist, cannot be read or is empty.
    """
    check(split in SPLITS, f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if spec == "digits":
        return _stratified(spec, *_digits(), split, None)
    path = Path(spec)
    check(path.exists(), f"there is no data set {spec!r}; give 'digits', an .npz file or a folder with idx files")
    return _idx_folder(path, split) if path.is_dir() else _npz_file(path, split)


def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Scikit-learn's digits, values 0 .. 16 spread over 0 .. 255."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise BivitError(
            "the digits come with scikit-learn, which is not installed: pip install 'bivit[model]'"
        ) from error
    bunch = load_digits()
    return np.minimum(bunch.images * 16, 255).astype(np.uint8), bunch.target.astype(np.int64)


def _stratified(
    name: str,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    split: str,
    classes: tuple[str, ...] | None,
) -> Dataset:
    """Take a fifth of each class for the test split, chosen with a fixed seed; the order of images is kept."""
    rng = np.random.default_rng(SPLIT_SEED)
    in_test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        in_test[rng.permutation(members)[: len(members) // TEST_SHARE]] = True
    chosen = in_test if split == "test" else ~in_test
    return _dataset(f"{name} ({split})", images[chosen], labels[chosen], classes or _class_names(labels))


def _class_names(labels: NDArray[np.int64]) -> tuple[str, ...]:
    """0, 1, ... up to the largest label of a whole data set."""
    return tuple(str(label) for label in range(int(labels.max(initial=-1)) + 1))


def _dataset(name: str, images: NDArray[Any], labels: NDArray[Any], classes: tuple[str, ...]) -> Dataset:
    """Build a Dataset; images without a channel axis get one."""
    images = images[..., None] if images.ndim == 3 else images
    return Dataset(name, np.ascontiguousarray(images), labels.astype(np.int64), classes)


def _npz_file(path: Path, split: str) -> Dataset:
    try:
        # Opened here, because numpy leaves a file that is no archive open.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise BivitError(f"{path} is not a readable .npz file ({error}); write it with numpy.savez") from error
    classes = tuple(str(name) for name in arrays["classes"]) if "classes" in arrays else None
    _check_pair(path, arrays, "images", "labels")
    if "test_images" not in arrays:
        return _stratified(str(path), arrays["images"], arrays["labels"], split, classes)
    _check_pair(path, arrays, "test_images", "test_labels")
    prefix = "test_" if split == "test" else ""
    every_label = np.concatenate([arrays["labels"], arrays["test_labels"]])
    name = f"{path} ({split})"
    return _dataset(name, arrays[f"{prefix}images"], arrays[f"{prefix}labels"], classes or _class_names(every_label))


def _check_pair(path: Path, arrays: dict[str, NDArray[Any]], images: str, labels: str) -> None:
    """Check that two arrays of a file are there and belong together."""
    for key in (images, labels):
        check(key in arrays, f"{path} needs the array {key!r}, got {', '.join(arrays) or 'none'}")
    check(
        arrays[labels].ndim == 1 and np.issubdtype(arrays[labels].dtype, np.integer),
        f"{labels} in {path} must be integers [n], got {arrays[labels].dtype} {list(arrays[labels].shape)}",
    )
    check(
        arrays[images].shape[:1] == arrays[labels].shape,
        f"{path} needs one label an image, got {images} {list(arrays[images].shape)} and "
        f"{labels} {list(arrays[labels].shape)}",
    )


def _idx_folder(folder: Path, split: str) -> Dataset:
    """Read MNIST's file format (yann.lecun.com/exdb/mnist), plain or gzipped."""
    prefix = "t10k" if split == "test" else "train"
    images = _idx_file(folder, f"{prefix}-images-idx3-ubyte", 3)
    labels = _idx_file(folder, f"{prefix}-labels-idx1-ubyte", 1)
    return _dataset(f"{folder} ({split})", images, labels, _class_names(labels.astype(np.int64)))


def _idx_file(folder: Path, name: str, axes: int) -> NDArray[np.uint8]:
    plain, zipped = folder / name, folder / f"{name}.gz"
    path = plain if plain.exists() else zipped
    check(path.exists(), f"{folder} has neither {name} nor {name}.gz; a data folder needs the four idx files")
    try:
        content = gzip.decompress(path.read_bytes()) if path == zipped else path.read_bytes()
        zero, kind, rank, *shape = struct.unpack(f">HBB{axes}I", content[: 4 + 4 * axes])
    except (OSError, EOFError, struct.error) as error:
        raise BivitError(f"{path} is not a readable idx file ({error}); fetch it again") from error
    data = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes)
    expected = int(np.prod(shape, dtype=np.int64))
    check(
        (zero, kind, rank) == (0, 8, axes) and data.size == expected,
        f"{path} is not an idx file of bytes with {axes} axes, or is cut short; fetch it again",
    )
    # A copy, because what lies in a bytes object cannot be written, of which torch warns.
    return data.reshape(shape).copy()
