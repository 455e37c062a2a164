"""The last norm: mean over the tokens, and pooled rows normalised for the classifier (docs/semantics.md 11)."""

from __future__ import annotations

from collections.abc import Iterator

from ..engine.commands import Normalise, Pool
from ..engine.pipeline import Product, divide_cycles, limbs, multiply_cycles, partial_products
from ..engine.timing import Activity
from ..engine.words import Memory, ceil_div
from .norm import SignNormUnit
from .unit import Probe, Timings, Unit
from .uses import Extent, Uses, rows_reach
from .written import Rows, Scalars, Written


class LastNormUnit(Unit):
    """Pools chunk by chunk, normalises channel by channel with S1 and R of `sign_norm`'s row memory."""

    name = "last_norm"
    #: Signed width of y; `hw.units.last_norm.check_y_range` checks that it is enough.
    y_bits = 16
    #: From the address of a chunk's last token to the write of its mean: word, x, sum, mean.
    pool_write_stage = 4
    #: Offset of R, from the issue of `normalise`: the division starts there.
    divide_offset = 2
    #: Stage of x: the memory's word is registered, then shifted to its channel.
    x_stage = 3

    @property
    def scaled_cycles(self) -> int:
        """Latency of N_c*x."""
        return multiply_cycles(self._scaled_operands, self.engine.block_bits)

    @property
    def normalised_cycles(self) -> int:
        """Latency of the product with Q."""
        return multiply_cycles(self._normalised_operands, self.engine.block_bits)

    @property
    def y_stage(self) -> int:
        """Stage of y: N_c*x, S1 subtracted, times Q."""
        return self.x_stage + self.scaled_cycles + 1 + self.normalised_cycles

    @property
    def _scaled_operands(self) -> Product:
        f = self.engine.formats
        return f.residual_bits - f.norm_shift, self.engine.max_embed_dim.bit_length() + 1

    @property
    def _normalised_operands(self) -> Product:
        return self.s1_bits + 1, self.q_bits + 1

    @property
    def s1_bits(self) -> int:
        """Signed width of S1."""
        return SignNormUnit(self.engine).s1_bits

    @property
    def r_bits(self) -> int:
        """Unsigned width of R."""
        return SignNormUnit(self.engine).r_bits

    @property
    def sum_bits(self) -> int:
        """Signed width of the sum of all tokens."""
        return self.engine.formats.residual_bits + (self.engine.max_tokens - 1).bit_length()

    @property
    def q_bits(self) -> int:
        """Unsigned width of Q = 2^head_m / R."""
        return self.engine.formats.head_m + 1

    @property
    def timings(self) -> Timings:
        """The mean, and a row."""
        return {Pool: self._pool, Normalise: self._normalise}

    def _pool(self, command: Pool) -> Activity:
        """Mean over `tokens` rows of `chunks` chunks. Windows: ``x.read``, ``x.write``."""
        end, write = 1 + command.tokens * command.chunks, self.pool_write_stage
        return Activity(end + write, {"x.read": (1, end), "x.write": (command.tokens + write, end + write)})

    def _normalise(self, command: Normalise) -> Activity:
        """Normalise one row. Windows: ``stats.read``; ``x.read``, a word every `lanes` cycles; ``y.write``."""
        first = self.divide_offset + divide_cycles(self.engine.formats.head_m) + 1
        last_word = (command.channels - 1) // self.lanes
        end = first + self.y_stage + command.channels
        windows = {
            "stats.read": (self.divide_offset - 1, self.divide_offset),
            "x.read": (first, first + last_word * self.lanes + 1),
            "y.write": (first + self.y_stage, end),
        }
        return Activity(end, windows)

    def uses(self, command: Pool | Normalise) -> Uses:
        """X is read; the mean goes back to it."""
        ports = {"x.read": "x.read"} | ({"x.write": "x.write"} if isinstance(command, Pool) else {})
        return Uses(self.name, self.timing(command), ports)

    def writes(self, command: Pool | Normalise) -> Iterator[Written]:
        """The pooled row; Q and y."""
        if isinstance(command, Pool):
            yield Rows("x.write", "rows", "x", command.dst_addr, command.stride)
        else:
            yield Scalars("stats.read", "q", "norm_q")
            yield Scalars("y.write", "y", "y", command.y_addr, command.channels)

    def reach(self, command: Pool | Normalise) -> Iterator[Extent]:
        """Tokens and their mean; a row and its y."""
        if isinstance(command, Pool):
            yield Extent("x", 0, rows_reach(command.tokens, command.stride, command.chunks))
            yield Extent("x", command.dst_addr, command.chunks)
        else:
            yield Extent("x", command.x_addr, ceil_div(command.channels, self.lanes))
            yield Extent("y", command.y_addr, command.channels)

    @property
    def memories(self) -> dict[str, Memory]:
        """What the classifier reads, of up to two rows."""
        return {"y": Memory(self.y_bits, 2 * self.engine.max_embed_dim)}

    def features(self) -> dict[str, float]:
        """Grow with lanes and their sums, and the row."""
        row_bits = self.s1_bits + self.r_bits
        return {"unit": 1, "lane": self.lanes, "lane_bit": self.lanes * self.sum_bits, "row_bit": row_bits}

    def products(self) -> list[Product]:
        """N_c*x, then times Q, of which only the bits of y and those below are kept."""
        f, block = self.engine.formats, self.engine.block_bits
        kept = f.head_m - f.head_frac_bits + self.y_bits
        q_limbs = len(limbs(self.q_bits + 1, block[1]))
        trimmed = []
        for k, (a, b) in enumerate(partial_products(self._normalised_operands, block)):
            at = (block[0] - 1) * (k // q_limbs) + (block[1] - 1) * (k % q_limbs)  # of the product's lowest bit
            if at < kept:
                trimmed.append((min(a, kept - at), b))
        return partial_products(self._scaled_operands, block) + trimmed

    def probes(self) -> list[Probe]:
        """Q and y."""
        return [
            self._probe("norm_q", "q_en", (), "q_value", self.q_bits, signed=False),
            self._probe("y", "y_write__en", ("y_write__addr",), "y_write__data", self.y_bits, signed=True),
        ]
