"""Jobs of a softmax with windows: scores, and words of the memories from which they get bias and masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from softmax_bench import Job, unit_of
from windowed import window_limits

from bivit.sim.flow.softmax import BIAS_BITS, MASK_BITS, SoftmaxUnit
from helpers import join

Ints = NDArray[np.int64]

#: Of these only the words of bias and masks matter to the softmax.
LIMITS = window_limits(heads=4, bias_words=600, mask_words=300)
_BITS = {"bias": BIAS_BITS, "masks": MASK_BITS}


def windows_unit(*shape: int, **more: Any) -> SoftmaxUnit:
    """A unit as of `unit_of`, of an engine with windows."""
    return unit_of(*shape, windows=LIMITS, **more)


class Pairs:
    """What the memories hold, and jobs that take it.

    Rows beyond a tile's and columns beyond its keys are filled with anything; rows, whose m is compared too, with what
    scores may have.
    """

    def __init__(self, unit: SoftmaxUnit, seed: int):
        self.unit, self.rng = unit, np.random.default_rng(seed)
        self.contents: dict[str, list[int]] = {"bias": [], "masks": []}
        self._stored: dict[tuple[str, int], Ints] = {}

    def store(self, name: str, values: Ints) -> int:
        """Store the bias, or the masks, of a tile's rows and keys; return the first word."""
        first = len(self.contents[name])
        whole = self._whole(values, 33 if name == "bias" else 4, 1 << _BITS[name])
        self._stored[name, first] = whole
        self.contents[name] += self._words(whole, _BITS[name])
        return first

    def job(self, scores: Ints, number: int, *, bias: int, masks: int, kind: int) -> Job:
        """A tile's scores, before their bias, with these first words and kind."""
        sent = self._whole(scores, 33, 128)
        p = sent + self._stored["bias", bias]
        p[self._stored["masks", masks] & kind != 0] = -1
        return Job(*scores.shape, number, p.tolist(), sent.tolist(), (bias, masks, kind))

    def random_job(self, *, rows: int = 0, keys: int = 0, number: int | None = None, kind: int | None = None) -> Job:
        """A tile of anything: scores and bias small, large and between, few masked pairs or many."""
        rng, engine = self.rng, self.unit.flow.engine
        tokens = engine.max_tokens
        rows = rows or int(rng.choice((1, engine.rows, rng.integers(1, engine.rows + 1))))
        keys = keys or int(rng.choice((1, min(engine.columns, tokens), tokens, rng.integers(1, tokens + 1))))
        shape = rows, keys
        scores = rng.integers(rng.choice((0, 0, 30, 32)), 33, shape)
        bias = rng.integers(rng.choice((0, 28, 32)), 33, shape) * rng.choice((0, 1, 1))
        masks = rng.integers(0, 4, shape) * (rng.random(shape) < rng.choice((0, 0.2, 0.9, 1)))
        return self.job(
            scores,
            int(rng.integers(self.unit.tables)) if number is None else number,
            bias=self.store("bias", bias),
            masks=self.store("masks", masks),
            kind=int(rng.integers(4)) if kind is None else kind,
        )

    def _whole(self, values: Ints, most: int, beyond: int) -> Ints:
        """Fill up to whole words: rows with values below `most`, columns behind the last key with any."""
        flow, (rows, keys) = self.unit.flow, values.shape
        columns = flow.engine.columns
        whole = self.rng.integers(0, most, (flow.drain_cycles * flow.drain_rows, -(-keys // columns) * columns))
        whole[:, keys:] = self.rng.integers(0, beyond, whole[:, keys:].shape)
        whole[:rows, :keys] = values
        return whole

    def _words(self, whole: Ints, bits: int) -> list[int]:
        """Column group after column group, word after word, the first column of the first row least significant."""
        columns, side = self.unit.flow.engine.columns, self.unit.flow.drain_rows
        blocks = (
            whole[row : row + side, column : column + columns].ravel().tolist()
            for column in range(0, whole.shape[1], columns)
            for row in range(0, whole.shape[0], side)
        )
        return [join(block, [bits] * len(block)) for block in blocks]
