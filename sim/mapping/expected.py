"""What a dataflow engine must make of images: the reference's taps as sums, bits and x of its operations and jobs.

Everything is of the tile's own tokens. Columns beyond the network are determined as well, where the array makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.fields import half_threshold
from ..engine.words import WORD, ceil_div
from ..errors import check
from ..flow.config import FlowConfig
from ..flow.operation import Way
from ..flow.streams import Part, Stream
from ..network.config import vit_only
from ..network.network import IntNetwork
from .layout import QKV_ROWS, FlowLayout, Made
from .words import LAYERS, NORMS

Ints = NDArray[np.int64]

#: Taps of a patch merging as a pass has them: its norm, its sums, and what it makes.
MERGED_NORM, MERGED_SUMS, MERGED = "norm", "reduction", ""


@dataclass(frozen=True, eq=False)
class Sums:
    """What an operation makes.

    Parameters
    ----------
    tap : str
        Tensor of docs/network.md.
    channels : range
        Of the tap's last axis, that the first columns are.
    way : Way
        How they leave the array.
    sums : int64 [rows, columns]
        As the array has them: half a dot product, less the threshold where bits are made.
    """

    tap: str
    channels: range
    way: Way
    sums: Ints

    @property
    def bits(self) -> Ints:
        """Sign bits [rows, columns], of what leaves as bits."""
        return (self.sums >= 0).astype(np.int64)


class Expected:
    """What an engine must make of images, or of the windows of a pass.

    Parameters
    ----------
    layout : FlowLayout
    tensors : mapping of str to ndarray
        Of the network.
    taps : mapping of str to int64 [images, ...]
        All taps of the reference; of a pass those of `pass_taps`, whose images are windows.
    """

    def __init__(self, layout: FlowLayout, tensors: Mapping[str, Any], taps: Mapping[str, Ints]):
        self.layout = layout
        self.config, self.shape = self.layout.config, self.layout.shape
        self._tensors, self._taps = tensors, taps

    @classmethod
    def of(cls, network: IntNetwork, flow: FlowConfig, taps: Mapping[str, Ints]) -> Expected:
        """Return what an engine must make of a DeiT's images.

        Parameters
        ----------
        network : IntNetwork
        flow : FlowConfig
        taps : mapping of str to int64 [images, ...]
        """
        return cls(FlowLayout(vit_only(network.config), network.formats, flow), network.tensors, taps)

    # Operations of the array.

    def operation(self, image: int, block: int, stream: Stream, tile: int, number: int) -> Sums:
        """Return what an operation makes.

        Parameters
        ----------
        image, block : int
        stream : Stream
        tile, number : int
            Of the image's tiles; of the tile's operations.
        """
        made = self.layout.made(stream, number)
        if self.shape.merges:
            return self._merged(image, tile, made)
        if stream is Stream.SCORES:
            return self._scores(image, block, tile, made)
        if stream is Stream.CONTEXT:
            return self._context(image, block, tile, made)
        name, operand = LAYERS[stream], self._operand(image, block, stream, tile)
        first = 0 if made.part is None else QKV_ROWS[made.part] * self.config.embed_dim
        channels = range(first + made.channels.start, first + made.channels.stop)
        way, theta = self._leaves(block, stream, made)
        half = self._of(image, block, name, tile)[:, channels.start : channels.stop] // 2 - theta
        zeros = operand.shape[1] - operand.sum(axis=1)
        # Beyond the channels weights are 0, so that each 0 of the operand counts.
        beyond = zeros - operand.shape[1] // 2
        if way in (Way.SIGN, Way.ROWS):
            padding = self.layout.shape.steps[stream] * WORD - operand.shape[1]
            start = 0 if made.part is Part.VALUE else -self.layout.shape.steps[stream] * WORD - 1
            beyond = start + zeros + padding
        return Sums(f"{self._prefix(block)}{name}", channels, way, self._wide(half, beyond))

    def _operand(self, image: int, block: int, stream: Stream, tile: int) -> Ints:
        """Bits of the row operand of a linear layer."""
        names = {Stream.PROJ: "attn.context", Stream.FC1: "norm2", Stream.FC2: "mlp.act", Stream.QKV: "norm1"}
        return self._of(image, block, names[stream], tile)

    def _leaves(self, block: int, stream: Stream, made: Made) -> tuple[Way, Any]:
        """How the sums of a linear layer leave, and what they are lowered by."""
        at = slice(made.channels.start, made.channels.stop)
        if stream in (Stream.PROJ, Stream.FC2):
            return Way.RESIDUAL, 0
        if stream is Stream.FC1:
            return Way.SIGN, self._halves(block, "mlp.act.theta")[at]
        assert made.part is not None
        if made.part is not Part.VALUE and self.config.qk_mode == "layernorm":
            return Way.HEAD, 0
        way = Way.SIGN if made.part is Part.QUERY else Way.ROWS
        return way, self._halves(block, f"{NORMS[made.part]}.theta")[at]

    def _scores(self, image: int, block: int, tile: int, made: Made) -> Sums:
        """Popcounts with keys; keys beyond the last one are all 0."""
        name, softmax = "attn.scores", self.shape.softmax
        ones = self._of_head(image, block, NORMS[Part.QUERY], tile, made.head).sum(axis=1)
        found = self._of_head(image, block, name, tile, made.head)[:, made.channels.start : made.channels.stop]
        if not softmax:
            found = found - int(self._tensor(block, "attn.attn_sign.theta")[made.head])
        beyond = self.config.head_dim - ones if softmax else -ones - 1
        way = Way.SCORE if softmax else Way.SIGN
        return Sums(f"{self._prefix(block)}{name}", made.channels, way, self._wide(found, beyond))

    def _merged(self, image: int, tile: int, made: Made) -> Sums:
        """Sums of a patch merging; weights beyond its channels are 0, so that each 0 of the operand counts."""
        operand, rows = self._taps[MERGED_NORM][image][self._tokens(tile)], self._taps[MERGED_SUMS]
        half = rows[image][self._tokens(tile), made.channels.start : made.channels.stop] // 2
        beyond = operand.shape[1] // 2 - operand.sum(axis=1)
        return Sums(MERGED_SUMS, made.channels, Way.RESIDUAL, self._wide(half, beyond))

    def _context(self, image: int, block: int, tile: int, made: Made) -> Sums:
        """Context c; values beyond the channels of a head are all 1."""
        name = "attn.context.c"
        ones = self._of_head(image, block, "attn.attn_sign", tile, made.head).sum(axis=1)
        found = self._of(image, block, name, tile)[:, made.channels.start : made.channels.stop]
        return Sums(f"{self._prefix(block)}{name}", made.channels, Way.SIGN, self._wide(found, ones))

    def _wide(self, found: Ints, beyond: Ints) -> Ints:
        """Fill the columns beyond the channels with a value a row."""
        wide = np.repeat(beyond[:, None], self.layout.columns, axis=1)
        wide[:, : found.shape[1]] = found
        return wide

    # Jobs of the units.

    def added(self, image: int, block: int, stream: Stream, tile: int, number: int) -> Ints:
        """Return the new x of a job of ResidualAdd: [rows, channels of the column group].

        Parameters
        ----------
        image, block : int
        stream : Stream
            PROJ or FC2.
        tile, number : int
            As of `operation`.
        """
        channels = self.layout.made(stream, number).channels
        if self.shape.merges:
            return self._taps[MERGED][image][self._tokens(tile), channels.start : channels.stop]
        name = {Stream.PROJ: "add1", Stream.FC2: "add2"}[stream]
        return self._of(image, block, name, tile)[:, channels.start : channels.stop]

    def embedded(self, image: int, tile: int) -> Ints:
        """Return x of a tile before the first block: [rows, channels].

        Parameters
        ----------
        image, tile : int
        """
        return self._taps["patch_embed"][image][self._tokens(tile)]

    def sign_norm(self, image: int, block: int, second: bool, tile: int) -> Ints:
        """Return the bits of norm1 or norm2: [rows, channels].

        Parameters
        ----------
        image, block : int
        second : bool
            Whether it is norm2.
        tile : int
        """
        if self.shape.merges:
            return self._taps[MERGED_NORM][image][self._tokens(tile)]
        return self._of(image, block, "norm2" if second else "norm1", tile)

    def head_norm(self, image: int, block: int, part: Part, tile: int, head: int) -> Ints:
        """Return the bits of a head of q, k or v, from HeadNorm or from the array: [rows, channels of a head].

        Parameters
        ----------
        image, block : int
        part : Part
        tile, head : int
        """
        return self._of_head(image, block, NORMS[part], tile, head)

    def softmax(self, image: int, block: int, tile: int, head: int) -> Ints:
        """Return the attention bits of a head, from the softmax or from the array: [rows, keys].

        Parameters
        ----------
        image, block, tile, head : int
        """
        return self._of_head(image, block, "attn.attn_sign", tile, head)

    # Tensors.

    def _tokens(self, tile: int) -> slice:
        first = tile * self.shape.rows
        return slice(first, first + self.shape.tile_rows[tile])

    def _prefix(self, block: int) -> str:
        return f"{self.config.stages[0].blocks[block].name}."

    def _of(self, image: int, block: int, name: str, tile: int) -> Ints:
        """A tile's rows of a tap of a block."""
        return self._taps[self._prefix(block) + name][image][self._tokens(tile)]

    def _of_head(self, image: int, block: int, name: str, tile: int, head: int) -> Ints:
        return self._taps[self._prefix(block) + name][image][head][self._tokens(tile)]

    def _tensor(self, block: int, name: str) -> Ints:
        return self._tensors[self._prefix(block) + name]

    def _halves(self, block: int, name: str) -> Ints:
        """Thresholds on half a dot product."""
        return half_threshold(self._tensor(block, name).reshape(-1).astype(np.int64))


def lane_words(values: Ints, side: int, columns: int) -> tuple[Ints, NDArray[np.bool_]]:
    """Cut a matrix into the words of a unit: rows side by side, the words of each row group one after the other.

    Parameters
    ----------
    values : int64 [rows, n]
    side, columns : int
        Rows and columns of a word.

    Returns
    -------
    tuple of int64 [words, side * columns] and bool [words, side * columns]
        Lanes of each word, row by row, 0 beyond the matrix; and which of them are of the matrix.

    Examples
    --------
    >>> lane_words(np.array([[1, 2, 3], [4, 5, 6]]), 2, 2)[0].tolist()
    [[1, 2, 4, 5], [3, 0, 6, 0]]
    """
    check(side > 0 and columns > 0, f"a word must have rows and columns, got {side} x {columns}")
    rows, width = values.shape
    groups, words = ceil_div(rows, side), ceil_div(width, columns)
    wide = np.zeros((2, groups * side, words * columns), np.int64)
    wide[0, :rows, :width], wide[1, :rows, :width] = values, 1
    cut = wide.reshape(2, groups, side, words, columns).swapaxes(2, 3).reshape(2, groups * words, side * columns)
    return cut[0], cut[1].astype(bool)
