"""CIFAR-10 and CIFAR-100 as Krizhevsky publishes them: pickled batches ("python") and plain bytes ("binary")."""

from __future__ import annotations

import codecs
import pickle
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sim.errors import BivitError, check
from .dataset import MOST_CLASSES
from .lists import read_names

#: Bytes of one image: a red, a green and a blue plane of 32 x 32.
_PLANES = (3, 32, 32)
_IMAGE_BYTES = 3 * 32 * 32


@dataclass(frozen=True)
class _Layout:
    """Names of the files and fields of one of the four published folders."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    #: Pickles: keys of the labels and of the classes' names.
    label_key: bytes = b""
    names_key: bytes = b""
    #: Plain bytes: bytes before each image, of which the last is the label; 0 for pickles.
    head: int = 0


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_LAYOUTS = (
    _Layout(_BATCHES, ("test_batch",), "batches.meta", label_key=b"labels", names_key=b"label_names"),
    _Layout(("train",), ("test",), "meta", label_key=b"fine_labels", names_key=b"fine_label_names"),
    _Layout(tuple(f"{name}.bin" for name in _BATCHES), ("test_batch.bin",), "batches.meta.txt", head=1),
    _Layout(("train.bin",), ("test.bin",), "fine_label_names.txt", head=2),
)


def is_cifar_folder(folder: Path) -> bool:
    """Return whether a folder holds files of one of the layouts."""
    return _layout(folder) is not None


def read_cifar(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64], tuple[str, ...]]:
    """Read one split; of CIFAR-100 the fine labels.

    Parameters
    ----------
    folder : Path
        `cifar-10-batches-py`, `cifar-10-batches-bin`, `cifar-100-python` or `cifar-100-binary`.
    split : str
        `train` or `test`.

    Returns
    -------
    images, labels, classes : uint8[n, 32, 32, 3], int64[n], tuple[str, ...]

    Raises
    ------
    BivitError
        When a file is missing or damaged, or a pickle asks for anything but arrays and plain values.
    """
    layout = _layout(folder)
    assert layout is not None
    files = layout.train if split == "train" else layout.test
    missing = [name for name in (*files, layout.names) if not (folder / name).is_file()]
    check(not missing, f"{folder} lacks {', '.join(missing)}; unpack the archive again")
    parts = [
        _read_binary(folder / name, layout) if layout.head else _read_python(folder / name, layout) for name in files
    ]
    planes = np.concatenate([images for images, _ in parts]).reshape(-1, *_PLANES)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return images, np.concatenate([labels for _, labels in parts]), _class_names(folder / layout.names, layout)


def _layout(folder: Path) -> _Layout | None:
    """The layout that has batches here; CIFAR-100's have such common names that its list of classes must be there."""
    for layout in _LAYOUTS:
        common = not layout.train[0].startswith("data_batch")
        present = any((folder / name).is_file() for name in (*layout.train, *layout.test))
        if present and (not common or (folder / layout.names).is_file()):
            return layout
    return None


def _read_binary(path: Path, layout: _Layout) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    record = layout.head + _IMAGE_BYTES
    check(
        len(data) > 0 and len(data) % record == 0,
        f"{path} is cut short: it has {len(data)} bytes, which is no multiple of {record}; unpack the archive again",
    )
    rows = data.reshape(-1, record)
    return rows[:, layout.head :], rows[:, layout.head - 1].astype(np.int64)


def _read_python(path: Path, layout: _Layout) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    batch = load_plain_pickle(path)
    images, labels = batch.get(b"data"), batch.get(layout.label_key)
    if (
        isinstance(images, np.ndarray)
        and images.dtype == np.uint8
        and isinstance(labels, list)
        and all(type(label) is int for label in labels)
        and images.shape == (len(labels), _IMAGE_BYTES)
    ):
        names = f"{layout.label_key.decode()} of {path}"
        # Integers of a pickle may have any number of digits.
        check(all(0 <= label < MOST_CLASSES for label in labels), f"{names} must be 0 to the number of classes - 1")
        return images, np.array(labels, dtype=np.int64)
    raise BivitError(
        f"{path} must hold 'data' uint8 [n, {_IMAGE_BYTES}] and {layout.label_key.decode()!r}, one integer an image; "
        "unpack the archive again"
    )


def _class_names(path: Path, layout: _Layout) -> tuple[str, ...]:
    if layout.head:
        return read_names(path)
    names = load_plain_pickle(path).get(layout.names_key)
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise BivitError(f"{path} must hold the list {layout.names_key.decode()!r}; unpack the archive again")
    return tuple(name.decode("utf-8", errors="replace") for name in names)


def load_plain_pickle(path: Path) -> dict[Any, Any]:
    """Load a pickled dictionary of arrays and plain values; text of Python 2 becomes bytes.

    Raises
    ------
    BivitError
        When the file is no such pickle, or names any function or class but those that build an array.
    """
    try:
        loaded = _ArraysOnly(BytesIO(path.read_bytes()), encoding="bytes").load()
    except BivitError as error:
        raise BivitError(f"{path} is refused: {error}") from error
    except Exception as error:  # A damaged pickle can make its loader raise anything.
        raise BivitError(f"{path} is no readable pickle ({error}); unpack the archive again") from error
    check(isinstance(loaded, dict), f"{path} must hold a dictionary, got {type(loaded).__name__}")
    return loaded


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that can build numpy arrays and cannot reach anything else."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): _empty_array,
            ("numpy._core.multiarray", "_reconstruct"): _empty_array,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _latin1_bytes,
        }
        if (module, name) not in allowed:
            raise BivitError(f"it asks for {module}.{name}, and only arrays and plain values are loaded")
        return allowed[module, name]


def _empty_array(kind: type, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """What a pickled array starts from, before its state is filled in."""
    return np.ndarray(shape, dtype)


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into a pickle that Python 2 can read."""
    return codecs.encode(text, "latin1")
