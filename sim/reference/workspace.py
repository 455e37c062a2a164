"""Memory of a forward pass: arrays that are allocated once and used again for every few images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Bytes of a cache line and of the widest vector.
_LINE = 64


def aligned(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an uninitialised array that begins at a multiple of 64 bytes: no vector lies across two cache lines.

    >>> aligned((3, 5), np.int16).ctypes.data % 64
    0
    """
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    memory = np.empty(size + _LINE, dtype=np.uint8)
    first = -memory.ctypes.data % _LINE
    return memory[first : first + size].view(kind).reshape(shape)


class Workspace:
    """Arrays by name, uninitialised; one workspace serves one thread.

    Examples
    --------
    >>> workspace = Workspace()
    >>> a = workspace("acc", (4, 6), np.int16)
    >>> workspace("acc", (2, 6), np.int16).base is a.base
    True
    """

    def __init__(self) -> None:
        self._memory: dict[str, NDArray[np.uint8]] = {}
        self._arrays: dict[tuple[str, tuple[int, ...], DTypeLike], NDArray[Any]] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return the array of a name in a shape and type; an array of the same name before it is overwritten."""
        key = (name, shape, dtype)
        if key not in self._arrays:
            self._arrays[key] = self._view(name, shape, np.dtype(dtype))
        return self._arrays[key]

    def _view(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        needed = int(np.prod(shape)) * dtype.itemsize
        if name not in self._memory or self._memory[name].nbytes < needed:
            # Views of the smaller memory would live on beside the new one.
            self._arrays = {key: array for key, array in self._arrays.items() if key[0] != name}
            self._memory[name] = aligned((needed,), np.uint8)
        return self._memory[name][:needed].view(dtype).reshape(shape)

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return sum(memory.nbytes for memory in self._memory.values())
