"""Folders of pictures, one a class, and ImageNet as it is usually unpacked; see docs/data.md for the layouts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..sim.errors import BivitError, check
from .picture import Framing, Opener, PictureSource
from .source import Epoch, read_names

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".gif", ".tif", ".tiff")
#: Folders that may hold each split; of several, the first that is there.
FOLDERS = {"train": ("train",), "test": ("test", "val")}
#: Files that may name the class of each picture of val/, besides val.txt.
_VAL_LABEL_FILES = ("imagenet_2012_validation_synset_labels.txt", "LOC_val_solution.csv", "val_annotations.txt")
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
        listed = _label_file(folder, root)
        if listed is not None and not set(classes) & set(_class_folders(root)):
            paths, labels = _by_list(root, listed, classes)
        else:
            paths, labels = _by_class_folder(root, classes)
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
        if _class_folders(path) or _label_file(folder, path):
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
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") or "nothing"


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
    return classes


def _pictures_below(folder: Path) -> list[str]:
    """Paths of all pictures, relative to `folder`, sorted; `os.walk` because there may be millions."""
    found: list[str] = []
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = os.path.relpath(parent, folder)
        prefix = "" if below == "." else f"{below}/"
        found += [prefix + name for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    return sorted(found)


def _by_class_folder(root: Path, classes: tuple[str, ...]) -> tuple[list[str], NDArray[np.int64]]:
    """Paths and labels of `root/<class>/*`."""
    present = _class_folders(root)
    missing, unknown = sorted(set(classes) - set(present)), sorted(set(present) - set(classes))
    check(
        not missing,
        f"{root} lacks the class {', '.join(missing[:5])} of {len(classes)} in train/ ({len(missing)} missing); add "
        "the folder, or remove it from train/",
    )
    check(not unknown, f"{root} holds the class {', '.join(unknown[:5])}, which is not in train/; remove or rename it")
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        below = _pictures_below(root / name)
        check(
            bool(below),
            f"{root / name} holds no images ({', '.join(SUFFIXES)}); add some or remove the class everywhere",
        )
        paths += [f"{name}/{path}" for path in below]
        labels += [label] * len(below)
    return paths, np.array(labels, dtype=np.int64)


def _label_file(folder: Path, root: Path) -> Path | None:
    """Find the list of labels of a split's folder: in it or beside it."""
    if root.name == "train":
        return None
    names = (f"{root.name}.txt", *(_VAL_LABEL_FILES if root.name == "val" else ()))
    return next((place / name for name in names for place in (folder, root) if (place / name).is_file()), None)


def _by_list(root: Path, listed: Path, classes: tuple[str, ...]) -> tuple[list[str], NDArray[np.int64]]:
    """Paths and labels of pictures whose classes a file lists: lines `NAME CLASS`, or `CLASS` in order of the names."""
    lines = [line.replace(",", " ").split() for line in listed.read_text(encoding="utf-8").splitlines()]
    lines = [words for words in lines if words and words[0] != "ImageId"]
    paths = _pictures_below(root)
    if all(len(words) == 1 for words in lines):
        check(
            len(lines) == len(paths),
            f"{listed} has {len(lines)} labels, but {root} has {len(paths)} images; one a line, in the order of names",
        )
        named = {Path(path).stem: words[0] for path, words in zip(paths, lines, strict=True)}
    else:
        check(all(len(words) > 1 for words in lines), f"{listed} must hold lines NAME CLASS, or CLASS alone, not both")
        named = {Path(words[0]).stem: words[1] for words in lines}
    unlabelled = [path for path in paths if Path(path).stem not in named]
    check(
        not unlabelled,
        f"{listed} has no label for {root / unlabelled[0] if unlabelled else ''} ({len(unlabelled)} such)",
    )
    check(
        len(named) == len(paths),
        f"{listed} labels {len(named)} images, but {root} holds {len(paths)}; fetch the missing ones",
    )
    numbers = {name: label for label, name in enumerate(classes)}
    return paths, np.array([_label(named[Path(path).stem], numbers, listed) for path in paths], dtype=np.int64)


def _label(word: str, numbers: dict[str, int], listed: Path) -> int:
    """Label of a class by its name, or by its number (from 0) in the order of names."""
    if word in numbers:
        return numbers[word]
    if word.isdecimal() and int(word) < len(numbers):
        return int(word)
    raise BivitError(
        f"{listed} has the label {word!r}, which is neither a class folder of train/ nor a number of 0 to "
        f"{len(numbers) - 1}"
    )
