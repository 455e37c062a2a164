"""Records of what an engine must write where, and how pieces of tensors become them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..engine.commands import OperandMemory
from ..engine.config import EngineConfig
from ..engine.words import WORD, ceil_div
from .graph import Piece

Ints = NDArray[np.int64]


def as_is(write: int, element: int, value: int) -> int:
    """Return a value that is the same on the wire and in the tensor."""
    return value


@dataclass(frozen=True)
class Writes:
    """Consecutive writes at one probe that hold a piece of one tensor.

    Parameters
    ----------
    probe : str
        Name of the observed port (`hw.probes`).
    tap : str
        Tensor of docs/network.md.
    keys : int64 [n, k]
        Addresses that each write must have.
    values : int64 [n, e]
        Elements that each write must carry, as they are on the wire.
    valid : bool [n, e]
        Elements that mean something; others are padding of a last chunk.
    index : callable
        (write, element) to the tensor's index.
    to_tap : callable
        (write, element, value on the wire) to the value in the tensor's own units.
    """

    probe: str
    tap: str
    keys: Ints
    values: Ints
    valid: NDArray[np.bool_]
    index: Callable[[int, int], tuple[int, ...]]
    to_tap: Callable[[int, int, int], int] = as_is


class Source:
    """Tensors of one image and one block, and the engine's way to lay them out.

    Parameters
    ----------
    engine : EngineConfig
        Which engine writes.
    taps, tensors : mapping of str to int64
        Taps of one image, and the network's parameters.
    prefix : str
        What comes before the names of a block's tensors.
    """

    def __init__(self, engine: EngineConfig, taps: Mapping[str, Ints], tensors: Mapping[str, Ints], prefix: str = ""):
        self.engine, self.lanes = engine, engine.lanes
        self._taps, self._tensors, self.prefix = taps, tensors, prefix

    def tap(self, piece: Piece) -> Ints:
        """Return a piece of a tap."""
        return self._taps[self.prefix + piece.name][_slices(piece)]

    def parameter(self, piece: Piece) -> Ints:
        """Return a piece of a parameter."""
        return self._tensors[self.prefix + piece.name][_slices(piece)]

    def chunks(self, probe: str, piece: Piece, keys: Ints, *, padded: bool = False) -> Writes:
        """Return writes of a rectangle in chunks of lanes, row by row.

        Parameters
        ----------
        probe, piece, keys
            Where, what, and each write's address.
        padded : bool
            Whether elements beyond the tensor are compared, as 0: operands rely on that.
        """
        values = np.atleast_2d(self.tap(piece))
        rows, columns = values.shape
        chunks, lanes = ceil_div(columns, self.lanes), self.lanes
        wide = np.zeros((rows, chunks * lanes), np.int64)
        wide[:, :columns] = values
        valid = np.broadcast_to(padded | (np.arange(chunks * lanes) < columns), wide.shape)

        def index(write: int, element: int) -> tuple[int, ...]:
            at = (write // chunks, write % chunks * lanes + element)
            return piece.where(*at[-len(piece.shape) :])

        return Writes(probe, self.prefix + piece.name, keys, wide.reshape(-1, lanes), valid.reshape(-1, lanes), index)

    def scalars(self, probe: str, piece: Piece, keys: Sequence[int] | Ints = ()) -> Writes:
        """Return writes of one value each; without keys, at no address."""
        values = np.asarray(self.tap(piece)).reshape(-1, 1)
        table = np.asarray(keys, np.int64).reshape(len(values), -1)
        tap, valid = self.prefix + piece.name, np.ones(values.shape, bool)
        return Writes(probe, tap, table, values, valid, lambda write, element: piece.where(write))

    def bits(self, piece: Piece, memory: OperandMemory, addr: int, token: int, chunk: int = 0) -> Writes:
        """Return writes of a tile's bits, from chunk `chunk` of each row, in whichever memory they go to."""
        rows, columns = piece.shape
        chunks = ceil_div(columns, self.lanes)
        row, part = np.divmod(np.arange(rows * chunks), chunks)
        if memory == OperandMemory.KEY:
            word, inner = np.divmod(token + row, self.engine.columns)
            at, slot = addr + word, inner * self.engine.chunks_per_word + part + chunk
        elif memory == OperandMemory.VALUE:
            word, inner = np.divmod(token + row, WORD)
            at, slot = addr + word, inner * self.engine.tile_chunks + part
        else:
            word, inner = np.divmod(part + chunk, self.engine.chunks_per_word)
            at, slot = addr + word, row * self.engine.chunks_per_word + inner
        return self.chunks(str(memory), piece, np.stack([at, slot], axis=1), padded=True)

    def rows(self, piece: Piece, addr: int, stride: int) -> Writes:
        """Return writes of rows of the residual; without a stride they lie one behind the other."""
        rows, columns = piece.shape
        chunks = columns // self.lanes
        keys = addr + np.arange(rows)[:, None] * (stride or chunks) + np.arange(chunks)
        return self.chunks("x", piece, keys.reshape(-1, 1))

    def sums(self, piece: Piece, theta: Piece | None) -> Writes:
        """Return the drained sums of a tile: in `units` of the tensor's, less the threshold that they start at."""
        rows, columns = piece.shape
        chunks, lanes, units = ceil_div(columns, self.lanes), self.lanes, piece.units
        offsets = np.zeros(chunks * lanes, np.int64)
        if theta is not None:
            offsets[:columns] = -(-np.asarray(self.parameter(theta), np.int64) // units)
        of_write = np.tile(offsets.reshape(chunks, lanes), (rows, 1))
        plain = self.chunks("sums", piece, np.stack(np.divmod(np.arange(rows * chunks), chunks), axis=1))

        def to_tap(write: int, element: int, value: int) -> int:
            return units * (value + int(offsets[write % chunks * lanes + element]))

        values = plain.values // units - of_write
        return replace(plain, values=values, to_tap=to_tap)

    def logits(self, piece: Piece, groups: int) -> Writes:
        """Return writes of the logits, padded to whole groups of dense lanes."""
        words = np.arange(groups * self.engine.dense_lanes // self.lanes)
        plain = self.chunks("logits", piece, words[:, None])
        values = np.zeros((len(words), self.lanes), np.int64)
        values[: len(plain.values)] = plain.values
        valid = np.zeros(values.shape, bool)
        valid[: len(plain.valid)] = plain.valid
        return replace(plain, values=values, valid=valid, index=lambda w, e: piece.where(w * self.lanes + e))


def _slices(piece: Piece) -> tuple[int | slice, ...]:
    return tuple(axis if isinstance(axis, int) else slice(axis.start, axis.stop) for axis in piece.index)
