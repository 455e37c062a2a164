"""What `bivit bench` finds: rates of kernels, times of networks and of their units, and the machine."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...sim.system.result import INLINE, Result


@dataclass(frozen=True, kw_only=True)
class KernelRow(Result):
    """One shape of the binary product; each rate and ratio a median over the rounds.

    Parameters
    ----------
    name : str
    gmacs : float
        10^9 products a second.
    peak_ratio, peak_ratio_low, peak_ratio_high : float
        Over what the processor can do: median, lowest, highest.
    float32_ratio : float
        Time of torch's float32 product of the same shape over the kernel's.
    macs, bytes : int
        Of one call.
    """

    name: str
    gmacs: float
    peak_ratio: float
    peak_ratio_low: float
    peak_ratio_high: float
    float32_ratio: float
    macs: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """All kernels beside the processor's limits.

    Parameters
    ----------
    peak_gmacs : float
        10^9 products a second of xor, popcount and add on registers, median.
    copy_gbytes : float
        10^9 bytes a second that a large copy reads and writes.
    rows : tuple of KernelRow
    """

    peak_gmacs: float
    copy_gbytes: float
    rows: tuple[KernelRow, ...]


@dataclass(frozen=True, kw_only=True)
class ModelTimes(Result):
    """Times of one network, medians over the rounds.

    Parameters
    ----------
    name : str
    batch, threads : int
    ms_per_image, ms_low, ms_high : float
        Of the integer network.
    others : dict of str to float
        For each other engine `ms_ENGINE` and `ratio_ENGINE`: its time an image, and its time over the integer network's
        in the same round.
    """

    name: str
    batch: int
    threads: int
    ms_per_image: float
    ms_low: float
    ms_high: float
    others: dict[str, float] = field(metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class ModelRow(Result):
    """One network: its times, and what it adds to the memory of a bare interpreter, where the system tells."""

    times: ModelTimes = field(metadata=INLINE)
    peak_mib: float | None


@dataclass(frozen=True, kw_only=True)
class UnitRow(Result):
    """One unit's part of the time of a network; `rest` is what no unit took."""

    name: str
    unit: str
    ms_per_image: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Machine(Result):
    """Where it was measured; None for what the system does not tell."""

    processor: str | None
    target: str
    vectors: tuple[str, ...]
    cores: int | None
    memory_gib: float
    system: str


@dataclass(frozen=True, kw_only=True)
class BenchReport(Result):
    """What `bivit bench` writes."""

    command: str
    machine: Machine
    peak_gmacs: float
    copy_gbytes: float
    rows: tuple[KernelRow | ModelRow, ...]
    units: tuple[UnitRow, ...]
    versions: dict[str, str]

    @property
    def kernels(self) -> list[KernelRow]:
        """The rows of kernels."""
        return [row for row in self.rows if isinstance(row, KernelRow)]

    @property
    def models(self) -> list[ModelRow]:
        """The rows of networks."""
        return [row for row in self.rows if isinstance(row, ModelRow)]
