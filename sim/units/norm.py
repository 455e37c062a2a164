"""The norm units, SignNorm and HeadNorm (docs/semantics.md 2 and 6): stages in cycles, and what they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal

from ..engine.commands import HeadNorm, SignNorm
from ..engine.norm_widths import HeadNormWidths, NormWidths, SignNormWidths
from ..engine.pipeline import Product, partial_products, tree_cycles
from ..engine.timing import Activity
from ..engine.words import Memory
from .bit_store import BitStoreUnit
from .unit import Probe, Timings, Unit
from .uses import Extent, Uses, bits_reach, bits_to, bits_written, rows_reach
from .written import Bits, Scalars, Written

NormKind = Literal["sign_norm", "head_norm"]


class NormUnit(NormWidths, Unit):
    """What both norms share; what is normalised, and what follows for every stage."""

    #: What it is told; the two have the same fields.
    command: ClassVar[type[SignNorm | HeadNorm]]
    #: Readers of the row memory.
    row_readers: ClassVar[int]
    #: Memory of x, and the ports that are shared to read it.
    source: ClassVar[str]
    read_ports: ClassVar[Mapping[str, str]] = {}

    # Stages.

    @property
    def x_stage(self) -> int:
        """Stage of x: the memory's word is registered, then multiplied by Scale."""
        return 2 + (self.multiply_cycles if self.scale_bits else 0)

    @property
    def sums_stage(self) -> int:
        """Stage of a row's S1 and S2, after its last chunk."""
        return self.x_stage + self.multiply_cycles + tree_cycles(self.lanes) + 1

    @property
    def stats_write_stage(self) -> int:
        """Stage of the write of S1 and R, after a row's last chunk."""
        return self.sums_stage + self.root_cycles

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
        operands = self.lane_operands * self.lanes + self.row_operands
        return [part for product in operands for part in partial_products(product, self.engine.block_bits)]

    def probes(self) -> list[Probe]:
        """S1 and R of each row."""
        columns = (("s1", self.s1_bits, True), ("r", self.r_bits, False))
        return [
            self._probe(f"{self.name}_{what}", "stat_en", ("stat_row",), f"stat_{what}", bits, signed=signed)
            for what, bits, signed in columns
        ]


class SignNormUnit(SignNormWidths, NormUnit):
    """SignNorm: rows of the residual, shifted right by `norm_shift`; `last_norm` reads S1 and R as well."""

    name = "sign_norm"
    command = SignNorm
    loadable = ("sign_norm",)
    row_readers = 2
    source = "x"
    read_ports: ClassVar[Mapping[str, str]] = {"x.read": "x.read"}


class HeadNormUnit(HeadNormWidths, NormUnit):
    """HeadNorm: buffered sums of one head, half of an accumulator each, times Scale."""

    name = "head_norm"
    command = HeadNorm
    loadable = ("head_norm",)
    row_readers = 1
    source = "head_buffer"


#: The two norms by name.
NORM_UNITS: dict[NormKind, type[SignNormUnit | HeadNormUnit]] = {"sign_norm": SignNormUnit, "head_norm": HeadNormUnit}
