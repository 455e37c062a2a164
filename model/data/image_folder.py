"""Folders of pictures, one a class, and ImageNet as it is usually unpacked; see docs/data.md for the layouts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...sim.errors import BivitError, check, some
from .lists import read_labels, read_names
from .picture import Framing, Opener, PictureSource
from .picture_files import SUFFIXES, PictureFiles, passed_over
from .source import Epoch, PassedOverWarning

#: Folders that may hold each split; of several, the first that is there.
FOLDERS = {"train": ("train",), "test": ("test", "val")}
#: Files that may name the class of each picture of val/, besides val.txt; in two of them more columns follow.
_WIDE_LISTS = ("LOC_val_solution.csv", "val_annotations.txt")
_VAL_LABEL_FILES = ("imagenet_2012_validation_synset_labels.txt", *_WIDE_LISTS)
#: ImageNet's own list, whose numbers follow an order of classes that is not that of their names.
_DEVKIT_LABELS = "ILSVRC2012_validation_ground_truth.txt"


class FolderSource(PictureSource):
    """The pictures of one split, each in a file of its own.

    Parameters
    ----------
    folder : Path
        Holds `train` and `val` or `test`, see docs/data.md.
    split : str
        `train` or `test`.
    framing : Framing
    on_broken : str
        See `PictureSource`.

    Raises
    ------
    BivitError
        When a folder is missing, a class has no pictures, or the classes of the splits differ.
    """

    def __init__(self, folder: Path, split: str, framing: Framing, on_broken: str = "stop") -> None:
        root = split_folder(folder, split)
        classes = _classes(folder, root)
        lists, files = _label_files(folder, root), PictureFiles(root)
        by_list = bool(lists) and not set(classes) & set(_class_folders(root))
        if by_list:
            paths = files.below(root)
            labels = read_labels(lists[0], root, paths, classes, more=lists[0].name in _WIDE_LISTS)
        else:
            paths, labels = _by_class_folder(files, classes, "train/" if (folder / "train").is_dir() else "classes.txt")
        files.refuse_twice()
        others = [place for name in FOLDERS[split] if (place := folder / name).is_dir() and place != root]
        passed = {*others, *lists, *(root / name for name in files.passed)} - {*lists[:by_list]}
        _warn_of_passed(folder, split, sorted(str(path.relative_to(folder)) for path in passed))
        super().__init__(f"{folder} ({split})", labels, classes, framing, on_broken)
        self.root = root
        # Bytes in one block: millions of Python strings would be copied into every worker process as it touches them.
        self.paths = np.array([os.fsencode(path) for path in paths])

    def pictures(self, indices: NDArray[np.int64], epoch: Epoch) -> Iterator[tuple[str, Opener]]:
        """Give the pictures; see `PictureSource.pictures`."""
        for index in indices.tolist():
            path = self.root / os.fsdecode(self.paths[index])
            yield str(path), partial(Image.open, path)


def split_folder(folder: Path, split: str) -> Path:
    """Return the folder below `folder` that holds a split; `BivitError` when there is none."""
    present = [folder / name for name in FOLDERS[split] if (folder / name).is_dir()]
    names = " or ".join(f"{name}/" for name in FOLDERS[split])
    check(bool(present), f"{folder} has no {names} folder, which the {split} split needs; found {found_in(folder)}")
    # ImageNet's own test folder has no labels; it does not hide the other one.
    for path in present:
        if _class_folders(path) or _label_files(folder, path):
            return path
    check(
        not any((place / _DEVKIT_LABELS).exists() for place in (folder, *present)),
        f"{_DEVKIT_LABELS} numbers the classes in an order of its own; write {present[0].name}.txt, lines NAME CLASS",
    )
    raise BivitError(
        f"{present[0]} has neither class folders nor a list of labels beside it ({present[0].name}.txt with lines "
        f"NAME CLASS); found {found_in(present[0])}"
    )


def found_in(folder: Path) -> str:
    """Return the first names in a folder, for messages."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    return some(names) or "nothing"


def _warn_of_passed(folder: Path, split: str, names: list[str]) -> None:
    """Say what is in a folder, but no image of the split."""
    if names:
        message = f"{folder} ({split}): passed over {len(names)} files and folders that are no images of it: "
        warnings.warn(message + passed_over(names), PassedOverWarning, stacklevel=4)


def _class_folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _classes(folder: Path, root: Path) -> tuple[str, ...]:
    """Names of the classes: the folders of train/; where that is not there, classes.txt or the folders of `root`."""
    train, names = folder / "train", folder / "classes.txt"
    if not train.is_dir() and names.exists():
        return read_names(names)
    source = train if train.is_dir() else root
    classes = tuple(_class_folders(source))
    check(bool(classes), f"{source} has no class folders to name the classes; make train/<class>/ or write {names}")
    if names.exists():
        listed = read_names(names)
        check(
            set(listed) != set(classes) or listed == classes,
            f"{names} names the classes in another order than that of the folders of train/, which numbers them; "
            "remove it, or sort it",
        )
    return classes


def _by_class_folder(files: PictureFiles, classes: tuple[str, ...], named: str) -> tuple[list[str], NDArray[np.int64]]:
    """Paths and labels of `root/<class>/*`; `named` says what names the classes."""
    root = files.root
    present = _class_folders(root)
    missing, unknown = sorted(set(classes) - set(present)), sorted(set(present) - set(classes))
    check(
        not missing,
        f"{root} lacks the class {', '.join(missing[:5])} of {len(classes)} in {named} ({len(missing)} missing); add "
        f"the folder, or remove it from {named}",
    )
    check(not unknown, f"{root} holds the class {', '.join(unknown[:5])}, which is not in {named}; remove or rename it")
    files.refuse_loose()
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        below = files.below(root / name)
        check(
            bool(below),
            f"{root / name} holds no images ({', '.join(SUFFIXES)}); add some or remove the class everywhere",
        )
        paths += [f"{name}/{path}" for path in below]
        labels += [label] * len(below)
    return paths, np.array(labels, dtype=np.int64)


def _label_files(folder: Path, root: Path) -> list[Path]:
    """Lists of labels of a split's folder, in it or beside it, the one that is read first."""
    if root.name == "train":
        return []
    names = (f"{root.name}.txt", f"{root.name}.csv", *(_VAL_LABEL_FILES if root.name == "val" else ()))
    return [place / name for name in names for place in (folder, root) if (place / name).is_file()]
