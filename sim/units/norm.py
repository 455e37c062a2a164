"""The norm units, SignNorm and HeadNorm (docs/semantics.md 2 and 6): ranges, widths in bits, stages in cycles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from ..engine.commands import HeadNorm, SignNorm
from ..engine.pipeline import Product, isqrt_cycles, multiply_cycles, partial_products, tree_cycles
from ..engine.timing import Activity
from ..engine.words import WORD, Memory
from .bit_store import BitStoreUnit
from .unit import Probe, Timings, Unit
from .uses import Extent, Uses, bits_reach, bits_to, bits_written, rows_reach
from .written import Bits, Scalars, Written

NormKind = Literal["sign_norm", "head_norm"]


class NormUnit(Unit):
    """What both norms share; what is normalised, and what follows for every width and stage."""

    #: What it is told; the two have the same fields.
    command: ClassVar[type[SignNorm | HeadNorm]]
    #: Readers of the row memory.
    row_readers: ClassVar[int]
    #: Memory of x, and the ports that are shared to read it.
    source: ClassVar[str]
    read_ports: ClassVar[Mapping[str, str]] = {}

    @property
    def word_bits(self) -> int:
        """Width of one lane in the memory of x."""
        raise NotImplementedError

    @property
    def shift(self) -> int:
        """Right shift that makes x of that lane."""
        return 0

    @property
    def value_min(self) -> int:
        """Lowest value of the lane after the shift."""
        raise NotImplementedError

    @property
    def value_max(self) -> int:
        """Highest value of the lane after the shift."""
        raise NotImplementedError

    @property
    def scale_bits(self) -> int:
        """Unsigned width of Scale; 0 where there is none."""
        return 0

    @property
    def max_channels(self) -> int:
        """Channels normalised together, at most."""
        return self.engine.max_embed_dim

    @property
    def theta_bits(self) -> int:
        """Signed width of Theta."""
        return self.engine.formats.theta_bits

    @property
    def theta_frac_bits(self) -> int:
        """Fraction bits of Theta."""
        return self.engine.formats.theta_frac_bits

    # Widths.

    @property
    def x_min(self) -> int:
        """Lowest x; an accumulator is twice the value that the array delivers."""
        return self.value_min * self._largest_factor

    @property
    def x_max(self) -> int:
        """Highest x."""
        return self.value_max * self._largest_factor

    @property
    def _largest_factor(self) -> int:
        return 2 * ((1 << self.scale_bits) - 1) if self.scale_bits else 1

    @property
    def value_bits(self) -> int:
        """Signed width of the lane after the shift."""
        return signed_bits(self.value_min, self.value_max)

    @property
    def x_bits(self) -> int:
        """Signed width of x."""
        return signed_bits(self.x_min, self.x_max)

    @property
    def channels_bits(self) -> int:
        """Unsigned width of the number of channels."""
        return self.max_channels.bit_length()

    @property
    def s1_bits(self) -> int:
        """Signed width of S1."""
        return signed_bits(self.max_channels * self.x_min, self.max_channels * self.x_max)

    @property
    def s2_bits(self) -> int:
        """Unsigned width of S2."""
        return (self.max_channels * max(self.x_min**2, self.x_max**2)).bit_length()

    @property
    def v_bits(self) -> int:
        """Unsigned width of V: N*S2 - S1^2 sums (x[i] - x[j])^2 over pairs, most with half of x at each end."""
        half, other_half = self.max_channels // 2, (self.max_channels + 1) // 2
        eps_max = (1 << self.command.layout()["eps"].width) - 1
        return (half * other_half * (self.x_max - self.x_min) ** 2 + eps_max).bit_length()

    @property
    def mean_r(self) -> int:
        """The constant R of mode `mean`."""
        return 1 << (self.theta_frac_bits + self.engine.formats.mean_shift)

    @property
    def r_bits(self) -> int:
        """Unsigned width of R, of either mode."""
        return max(isqrt_cycles(self.v_bits), self.mean_r.bit_length())

    # Stages.

    @property
    def multiply_cycles(self) -> int:
        """Latency of every product, that of the widest."""
        operands = self._lane_operands + self._row_operands
        return max(multiply_cycles(product, self.engine.block_bits) for product in operands)

    @property
    def x_stage(self) -> int:
        """Stage of x: the memory's word is registered, then multiplied by Scale."""
        return 2 + (self.multiply_cycles if self.scale_bits else 0)

    @property
    def sums_stage(self) -> int:
        """Stage of a row's S1 and S2, after its last chunk."""
        return self.x_stage + self.multiply_cycles + tree_cycles(self.lanes) + 1

    @property
    def root_stage(self) -> int:
        """Stage of V, the input of the square root: two products, their difference, Eps."""
        return self.sums_stage + self.multiply_cycles + 2

    @property
    def stats_write_stage(self) -> int:
        """Stage of the write of S1 and R, after a row's last chunk."""
        return self.root_stage + isqrt_cycles(self.v_bits)

    @property
    def stats_read_stage(self) -> int:
        """Stage of the read of S1 and R."""
        return self.x_stage

    @property
    def compare_stage(self) -> int:
        """Stage of both sides of the comparison: a product of N or R, and S1 subtracted."""
        return self.x_stage + self.multiply_cycles + 1

    @property
    def bits_stage(self) -> int:
        """Stage of a chunk's bits."""
        return self.compare_stage + 1

    # Views.

    @property
    def timings(self) -> Timings:
        """One pass over a tile."""
        return {self.command: self._pass}

    def _pass(self, command: SignNorm | HeadNorm) -> Activity:
        """One pass over `rows` x `chunks` words of x; the numbers do not depend on the mode.

        Windows: ``x.read`` (x and the parameters); with `apply` 0 ``stats.write`` (from the first row's S1 and R to the
        last's), with `apply` 1 ``stats.read`` and ``bits.write``.
        """
        words = command.rows * command.chunks
        first, end = 1, 1 + words
        windows = {"x.read": (first, end)}
        if command.apply:
            windows["stats.read"] = (first + self.stats_read_stage, end + self.stats_read_stage)
            windows["bits.write"] = (first + self.bits_stage, end + self.bits_stage)
        else:
            written = self.stats_write_stage
            windows["stats.write"] = (command.chunks + written, end + written)
        return Activity(words, windows)

    def uses(self, command: SignNorm | HeadNorm) -> Uses:
        """Where x is read, and where bits go."""
        activity, ports = self.timing(command), dict(self.read_ports)
        if command.apply:
            activity = bits_written(activity, BitStoreUnit.write_stage)
            ports |= bits_to(command.dst_mem, self.name)
        return Uses(self.name, activity, ports)

    def writes(self, command: SignNorm | HeadNorm) -> Iterator[Written]:
        """S1 and R of each row, or bits."""
        if command.apply:
            yield Bits("bits.write", "bits", memory=command.dst_mem, addr=command.dst_addr, token=command.token)
        else:
            yield from (Scalars("stats.write", what, f"{self.name}_{what}", 0, command.rows) for what in ("s1", "r"))

    def reach(self, command: SignNorm | HeadNorm) -> Iterator[Extent]:
        """X, Eps, and of the second pass the parameters and bits."""
        yield Extent(self.source, command.x_addr, rows_reach(command.rows, command.stride, command.chunks))
        yield Extent("norm_eps", command.eps, 1)
        if command.apply:
            yield Extent(self.name, command.param_addr, command.chunks)
            place = (command.dst_mem, command.dst_addr, command.token, command.rows, command.chunks)
            yield bits_reach(self.engine, *place)

    @property
    def memories(self) -> dict[str, Memory]:
        """S1 and R of each row of a tile."""
        return {f"{self.name}_rows": Memory(self.s1_bits + self.r_bits, self.engine.rows, readers=self.row_readers)}

    def features(self) -> dict[str, float]:
        """Grow with lanes, sums and the square of the root's digits."""
        return {
            "unit": 1,
            "lane": self.lanes,
            "lane_sum_bit": self.lanes * self.s1_bits,
            "root_bit_squared": self.v_bits**2,
            "row_bit": self.s1_bits + self.s2_bits + self.v_bits,
        }

    def products(self) -> list[Product]:
        """Those of each lane, and of a row."""
        operands = self._lane_operands * self.lanes + self._row_operands
        return [part for product in operands for part in partial_products(product, self.engine.block_bits)]

    @property
    def _lane_operands(self) -> list[Product]:
        """Square or N*x, Theta*R, Scale."""
        lane = [(self.x_bits, max(self.x_bits, self.channels_bits + 1)), (self.r_bits + 1, self.theta_bits)]
        return lane + ([(self.value_bits, self.scale_bits + 1)] if self.scale_bits else [])

    @property
    def _row_operands(self) -> list[Product]:
        """N*S2 and the square of S1."""
        return [(self.s2_bits + 1, self.channels_bits + 1), (self.s1_bits, self.s1_bits)]

    def probes(self) -> list[Probe]:
        """S1 and R of each row."""
        columns = (("s1", self.s1_bits, True), ("r", self.r_bits, False))
        return [
            self._probe(f"{self.name}_{what}", "stat_en", ("stat_row",), f"stat_{what}", bits, signed=signed)
            for what, bits, signed in columns
        ]


class SignNormUnit(NormUnit):
    """SignNorm: rows of the residual, shifted right by `norm_shift`; `last_norm` reads S1 and R as well."""

    name = "sign_norm"
    command = SignNorm
    loadable = ("sign_norm",)
    row_readers = 2
    source = "x"
    read_ports: ClassVar[Mapping[str, str]] = {"x.read": "x.read"}

    @property
    def word_bits(self) -> int:
        """Width of one lane of the residual."""
        return self.engine.formats.residual_bits

    @property
    def shift(self) -> int:
        """From the residual's grid to that of x."""
        return self.engine.formats.norm_shift

    @property
    def value_min(self) -> int:
        """Lowest x."""
        return -(1 << (self.engine.formats.norm_bits - 1))

    @property
    def value_max(self) -> int:
        """Highest x."""
        return -self.value_min - 1


class HeadNormUnit(NormUnit):
    """HeadNorm: buffered sums of one head, half of an accumulator each, times Scale."""

    name = "head_norm"
    command = HeadNorm
    loadable = ("head_norm",)
    row_readers = 1
    source = "head_buffer"

    @property
    def word_bits(self) -> int:
        """Width of a sum."""
        return self.engine.acc_bits

    @property
    def value_min(self) -> int:
        """Lowest sum; the array delivers half a dot product over the embedding dimension."""
        return -self.value_max

    @property
    def value_max(self) -> int:
        """Highest sum."""
        return self.engine.max_embed_dim // 2

    @property
    def scale_bits(self) -> int:
        """Unsigned width of Scale."""
        return self.engine.formats.qk_scale_bits

    @property
    def max_channels(self) -> int:
        """Channels of a head."""
        return min(WORD, self.engine.max_embed_dim)


#: The two norms by name.
NORM_UNITS: dict[NormKind, type[SignNormUnit | HeadNormUnit]] = {"sign_norm": SignNormUnit, "head_norm": HeadNormUnit}


def signed_bits(low: int, high: int) -> int:
    """Bits of the narrowest two's complement that holds low <= 0 to high >= 0.

    >>> signed_bits(-128, 127), signed_bits(-128, 128)
    (8, 9)
    """
    return max((~low).bit_length(), high.bit_length()) + 1
