"""Data sets by name: what a name stands for, and its images in memory or as a source that reads them in batches.

A data set is named by a string: `digits` (scikit-learn's bundled 8x8 digits, nothing is downloaded), the path of an
`.npz` file, or a folder: idx files of MNIST or Fashion-MNIST, CIFAR batches, tar shards, or image folders. docs/data.md
describes each. Nothing here needs torch, so that tools without it can load images; only `loader.batches` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sim.errors import BivitError, check
from .cifar import is_cifar_folder, read_cifar
from .dataset import Dataset, check_labels, numbered_classes, stratified, take
from .idx import is_idx_folder, read_idx
from .lists import read_names
from .npz import read_npz
from .source import Source, check_on_broken

__all__ = ["LAYOUTS", "SPLITS", "Dataset", "Source", "load_dataset", "open_source"]

SPLITS = ("train", "test")
#: What a name may stand for; in messages and in the help of the command line.
LAYOUTS = "'digits', an .npz file, or a folder with idx files, CIFAR batches, tar shards or train/<class>/ images"
#: One image in this many, of each class, is in the test split of a data set that has none of its own.
TEST_SHARE = 5
SPLIT_SEED = 0
#: Images of a data set in memory may take this many bytes together; larger ones are only read in batches.
MEMORY_LIMIT = 4 << 30
#: Counts of channels that an axis of another length is not mistaken for.
_CHANNELS = (1, 3)


def load_dataset(spec: str, split: str, img_size: int | None = None) -> Dataset:
    """Load one split of a data set into memory.

    Parameters
    ----------
    spec : str
        See the module.
    split : str
        `train` or `test`; the same images on every call.
    img_size : int or None
        Rows and columns; None keeps those of the data set, see `open_source`.

    Returns
    -------
    Dataset

    Raises
    ------
    BivitError
        When the data set does not exist, cannot be read, is empty, or is too large for memory.
    """
    source = open_source(spec, split, img_size)
    if isinstance(source, Dataset):
        return source
    size = len(source) * int(np.prod(source.shape))
    check(
        size <= MEMORY_LIMIT,
        f"the {len(source)} images of {source.name} take {size / 2**30:.1f} GiB at {source.shape[0]} pixels, above the "
        f"{MEMORY_LIMIT >> 30} GiB that are loaded into memory; give a smaller size or read in batches (open_source)",
    )
    return take(source, len(source))


def open_source(
    spec: str,
    split: str,
    img_size: int | None = None,
    *,
    channels: int | None = None,
    on_broken: str = "stop",
    resize: bool = True,
    **framing: Any,
) -> Source:
    """Open one split of a data set for reading in batches.

    Parameters
    ----------
    spec : str
        See the module.
    split : str
        `train` or `test`.
    img_size : int or None
        Rows and columns of the images that are read. Images of another size are cropped and resized: shuffled epochs
        of the training split take random parts, all others the centre. None keeps the size of a data set in memory,
        and takes that of the first image, which must be square, for image folders and shards.
    channels : int or None
        1 (grey) or 3 (colour), to which others are converted. None keeps those of a data set in memory, and is 3 for
        image folders and shards.
    on_broken : str
        What becomes of images that cannot be read: `stop` raises an error that names the file, `skip` leaves them out
        of their batch and warns (`BrokenImageWarning`).
    resize : bool
        Whether images of a data set in memory are brought to this size and these channels; else they stay as they are.
    **framing : tuple[float, float] or float
        Fields of `picture.Framing`: `scale`, `ratio` and `centre`.

    Returns
    -------
    Source

    Raises
    ------
    BivitError
        When the data set does not exist, its layout is not known or not complete, or an option is out of its range.
    """
    check(split in SPLITS, f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    check_on_broken(on_broken)
    dataset = _in_memory(spec, split)
    if dataset is None:
        return _open_pictures(Path(spec), split, img_size, channels or 3, on_broken, framing)
    height, width, own_channels = dataset.shape
    if not resize:
        return dataset
    if img_size in (None, height) and (img_size is None or height == width) and channels in (None, own_channels):
        return dataset
    check(
        img_size is not None or height == width,
        f"images of {dataset.name} have {height} x {width} pixels; give the size that they shall have",
    )
    from .picture import Framing, ReframedDataset

    channels = channels or (1 if own_channels == 1 else 3)
    wanted = Framing(size=img_size or height, channels=channels, random=split == "train", **framing)
    return ReframedDataset(dataset, wanted)


def _in_memory(spec: str, split: str) -> Dataset | None:
    """Load what is always held in memory; None for a folder of another kind."""
    if spec == "digits":
        return _stratified(spec, *_digits(), split, None)
    path = Path(spec)
    check(path.exists(), f"there is no data set {spec!r}; give {LAYOUTS}")
    if not path.is_dir():
        return _npz_file(path, split)
    if is_idx_folder(path):
        _refuse_second(path, split, "idx files")
        images, labels = read_idx(path, split)
        return _dataset(f"{path} ({split})", images, labels, numbered_classes(labels))
    if is_cifar_folder(path):
        _refuse_second(path, split, "CIFAR batches")
        return _dataset(f"{path} ({split})", *read_cifar(path, split))
    return None


def _open_pictures(
    folder: Path, split: str, img_size: int | None, channels: int, on_broken: str, framing: dict[str, Any]
) -> Source:
    """Open tar shards or image folders."""
    from .image_folder import FOLDERS, FolderSource, found_in
    from .picture import Framing, PictureSource
    from .shards import ShardSource, check_shards, find_shards

    wanted = Framing(size=img_size or 1, channels=channels, random=split == "train", **framing)
    shards, names = find_shards(folder, split), folder / "classes.txt"
    source: PictureSource
    if shards:
        _refuse_second(folder, split, f"shards ({shards[0].name})", shards=False)
        check_shards(folder, split, shards)
        classes = read_names(names) if names.exists() else None
        source = ShardSource(f"{folder} ({split})", shards, classes, wanted, on_broken)
    elif any((folder / name).is_dir() for below in FOLDERS.values() for name in below):
        source = FolderSource(folder, split, wanted, on_broken)
    else:
        other = [name for name in SPLITS if find_shards(folder, name)]
        check(not other, f"{folder} has shards of the {''.join(other)} split only; give {split}-0000.tar and so on")
        raise BivitError(f"{folder} is no data set that is known; give {LAYOUTS}; found {found_in(folder)}")
    if img_size is None:
        source.take_size_of_first()
    return source


def _refuse_second(folder: Path, split: str, first: str, shards: bool = True) -> None:
    """Refuse a folder that holds a split in two layouts, of which only the first would be read."""
    from .image_folder import FOLDERS
    from .shards import find_shards

    others = [f"{name}/" for name in FOLDERS[split] if (folder / name).is_dir()]
    others += [path.name for path in find_shards(folder, split)[:1] if shards]
    check(
        not others,
        f"{folder} holds the {split} split twice, as {first} and as {''.join(others[:1])}; move one of them into a "
        "folder of its own",
    )


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


def _npz_file(path: Path, split: str) -> Dataset:
    check(path.is_file(), f"{path} is no file; give {LAYOUTS}")
    arrays = read_npz(path)
    classes = _npz_classes(path, arrays["classes"]) if "classes" in arrays else None
    parts = {}
    for prefix in ("", "test_"):
        if f"{prefix}labels" in arrays:
            what = f"{prefix}labels of {path}"
            parts[prefix] = check_labels(arrays[f"{prefix}labels"], len(classes) if classes else None, what)
    if "test_" not in parts:
        return _stratified(str(path), arrays["images"], parts[""], split, classes)
    prefix = "test_" if split == "test" else ""
    classes = classes or numbered_classes(*parts.values())
    return _dataset(f"{path} ({split})", arrays[f"{prefix}images"], parts[prefix], classes)


def _npz_classes(path: Path, names: NDArray[Any]) -> tuple[str, ...]:
    check(
        names.ndim == 1 and names.dtype.kind in "USiu" and len(names) > 0,
        f"classes in {path} must be names [n], got {names.dtype} {list(names.shape)}",
    )
    texts = np.char.decode(names, "utf-8", "replace") if names.dtype.kind == "S" else names
    classes = tuple(str(name) for name in texts)
    check(len(set(classes)) == len(classes), f"classes in {path} names a class twice; each must be another name")
    return classes


def _stratified(
    name: str,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    split: str,
    classes: tuple[str, ...] | None,
) -> Dataset:
    """Take a fifth of each class for the test split, chosen with a fixed seed; the order of images is kept."""
    in_test = stratified(labels, 1 / TEST_SHARE, SPLIT_SEED)
    check(
        len(labels) == 0 or split == "train" or bool(in_test.any()),
        f"{name} has no test_images, and none of its classes has {TEST_SHARE} images, of which one would be taken to "
        f"test on ({len(labels)} images in all); add test_images and test_labels, or more images",
    )
    chosen = in_test if split == "test" else ~in_test
    return _dataset(f"{name} ({split})", images[chosen], labels[chosen], classes or numbered_classes(labels))


def _dataset(name: str, images: NDArray[Any], labels: NDArray[np.int64], classes: tuple[str, ...]) -> Dataset:
    """Build a Dataset; images without a channel axis get one."""
    check(
        images.ndim != 4 or images.shape[3] in _CHANNELS or images.shape[1] not in _CHANNELS,
        f"images of {name} must be [n, H, W] or [n, H, W, C], got {list(images.shape)}, which looks like [n, C, H, W]; "
        "turn them with images.transpose(0, 2, 3, 1)",
    )
    images = images[..., None] if images.ndim == 3 else images
    return Dataset(name, np.ascontiguousarray(images), labels, classes)
