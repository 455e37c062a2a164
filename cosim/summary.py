"""What runs of one case say together: values, registers, bus rules, and cycles beside their estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..sim.mapping.cycles import CycleEstimate
from ..sim.system.result import OPTIONAL, Result
from .session import CosimResult


@dataclass(frozen=True, kw_only=True)
class RunRow(Result):
    """One run beside its estimate.

    Parameters
    ----------
    run : str
        Names it.
    images, values, mismatches : int
        As in `CosimResult`.
    cycles_estimated, cycles_simulated : int
        With streams that never stall, and as counted.
    cycles_stalled : int
        Cycles beyond the estimate: what pauses of the ports cost, which is less than they last, as the engine works on.
    cycles_accounted : bool
        Every cycle up to the last operation is a step or a stall of a known cause, behind as many as in the first run.
    stall_pixels, stall_logits : int
        All cycles that it waited.
    stall_edge : int, optional
        All cycles in which the edge waited for words of the memory; None where these are resident.
    stalls : mapping of str to int
        Cycles without a step of the array by cause, up to the last operation.
    array_utilisation : float
        Useful products over those that the array could have done, 0 to 1.
    kcycles_per_s : float
    """

    run: str
    images: int
    values: int
    mismatches: int
    cycles_estimated: int
    cycles_stalled: int
    cycles_simulated: int
    cycles_accounted: bool
    stall_pixels: int
    stall_logits: int
    stall_edge: int | None = field(default=None, metadata=OPTIONAL)
    stalls: Mapping[str, int]
    array_utilisation: float
    kcycles_per_s: float


@dataclass(frozen=True, kw_only=True)
class CosimSummary(Result):
    """All runs; cycles, utilisation, stalls and speed are those of the first, whose streams never stall.

    Parameters
    ----------
    cosim_images, cosim_mismatches : int
        Images of a run, and those with any difference, over all runs.
    cycles_estimated, cycles_simulated : int
    cycles_explained : bool
        `cycles_accounted` of every run.
    array_utilisation, kcycles_per_s : float
    generate_s, build_s : float
        Seconds for the Verilog, and for building the simulation of it; short where they were in a cache.
    in_flight : int
        Images that the engine works on at a time.
    memory_bytes_a_cycle : float, optional
        What streamed weights take of the memory in a long run; None where they are resident.
    stalls : mapping of str to int
        Cycles without a step of the array by cause, of the first run.
    simulator : str
    first_mismatch : str or None
    register_differences : tuple of str
        Registers that do not hold what they must.
    bus_violations : tuple of str
        Rules of the ports that were broken.
    waveform : Path or None
        Around the first difference.
    runs : tuple of RunRow
    """

    cosim_images: int
    cosim_mismatches: int
    cycles_estimated: int
    cycles_simulated: int
    cycles_explained: bool
    array_utilisation: float
    kcycles_per_s: float
    generate_s: float
    build_s: float
    in_flight: int
    memory_bytes_a_cycle: float | None = field(default=None, metadata=OPTIONAL)
    stalls: Mapping[str, int]
    simulator: str
    first_mismatch: str | None
    register_differences: tuple[str, ...]
    bus_violations: tuple[str, ...]
    waveform: Path | None
    runs: tuple[RunRow, ...]

    @property
    def agrees(self) -> bool:
        """Whether no difference was found, in values, registers, bus rules or cycles."""
        return (
            self.cosim_mismatches == 0
            and not self.register_differences
            and not self.bus_violations
            and (self.late or self.cycles_estimated == self.cycles_simulated)
            and self.cycles_explained
        )

    @property
    def late(self) -> bool:
        """Whether the array or the edge waited for the memory beside the engine, which no estimate knows of."""
        return self.stalls.get("memory", 0) > 0 or (self.runs[0].stall_edge or 0) > 0

    @property
    def differences(self) -> tuple[str, ...]:
        """One line for the first value that differs, for each register, and for the first broken rule."""
        first = () if self.first_mismatch is None else (self.first_mismatch,)
        return (*first, *self.register_differences, *self.bus_violations[:1])


def summarise(
    results: Mapping[str, CosimResult],
    estimate: CycleEstimate,
    *,
    generate_s: float = 0.0,
    in_flight: int = 1,
    memory_bytes: float | None = None,
) -> CosimSummary:
    """Put runs of the same images beside their estimate.

    Parameters
    ----------
    results : mapping of str to CosimResult
        By the name of the run; the streams of the first never stall.
    estimate : CycleEstimate
    generate_s : float
        Seconds for the Verilog.
    in_flight : int
        Images that the engine works on at a time.
    memory_bytes : float, optional
        As in `CosimSummary`.
    """
    runs = tuple(results.values())
    rows = tuple(_row(name, result, estimate, runs[0].before) for name, result in results.items())
    return CosimSummary(
        cosim_images=runs[0].images,
        cosim_mismatches=sum(run.mismatches for run in runs),
        cycles_estimated=estimate.cycles,
        cycles_simulated=runs[0].cycles,
        cycles_explained=all(row.cycles_accounted for row in rows),
        array_utilisation=rows[0].array_utilisation,
        kcycles_per_s=rows[0].kcycles_per_s,
        generate_s=round(generate_s, 3),
        build_s=round(sum(run.build_seconds for run in runs), 3),
        in_flight=in_flight,
        memory_bytes_a_cycle=memory_bytes,
        stalls=runs[0].stalls,
        simulator=runs[0].simulator,
        first_mismatch=next((str(run.first_mismatch) for run in runs if run.first_mismatch is not None), None),
        register_differences=tuple(str(difference) for run in runs for difference in run.registers),
        bus_violations=tuple(str(violation) for run in runs for violation in run.violations),
        waveform=next((run.waveform for run in runs if run.waveform is not None), None),
        runs=rows,
    )


def _row(name: str, result: CosimResult, estimate: CycleEstimate, before: int) -> RunRow:
    return RunRow(
        run=name,
        images=result.images,
        values=result.values,
        mismatches=result.mismatches,
        cycles_estimated=estimate.cycles,
        cycles_stalled=result.cycles - estimate.cycles,
        cycles_simulated=result.cycles,
        cycles_accounted=result.before == before,
        stall_pixels=result.stall_pixels,
        stall_logits=result.stall_logits,
        stall_edge=result.stall_edge,
        stalls=result.stalls,
        array_utilisation=estimate.useful_macs / (result.cycles * estimate.peak_macs),
        kcycles_per_s=result.kcycles_per_s,
    )
