"""What the array of an engine waited for, as the engine counts it."""

from __future__ import annotations

from collections.abc import Sequence

from ..sim.engine.probe import Probe
from ..sim.timing.replay_state import Cause
from .session import Traces


def counted_stalls(probe: Probe, causes: Sequence[Cause], traces: Traces) -> dict[str, int]:
    """Return the cycles without a step by cause, up to the last operation, and all cycles up to there as `cycles`.

    Parameters
    ----------
    probe : Probe
        `hw.probes.stalls_probe` of the engine.
    causes : sequence of Cause
        Those that it has.
    traces : mapping of str to ProbeTrace
    """
    counts = traces[probe.name].keys
    last = counts[-1].tolist() if len(counts) else [0] * (len(causes) + 1)
    return {**{cause.name.lower(): count for cause, count in zip(causes, last, strict=False)}, "cycles": last[-1]}


def stalls_of_passes(probe: Probe, begun: Probe, causes: Sequence[Cause], traces: Traces) -> dict[str, int]:
    """Return the cycles without a step by cause in all passes, each up to its last operation; `cycles` as above.

    Between passes the array waits for the last windows, the settings and the core's reset: that is nobody's fault.

    Parameters
    ----------
    probe : Probe
        `hw.probes.stalls_probe` of the engine.
    begun : Probe
        `hw.probes.PASS_PROBE`.
    causes : sequence of Cause
        Those that the engine has.
    traces : mapping of str to ProbeTrace
    """
    jobs, passes = traces[probe.name], traces[begun.name]
    counted = [0] * len(causes)
    for at, (begin, before) in enumerate(zip(passes.cycles, passes.keys, strict=True)):
        end = passes.cycles[at + 1] if at + 1 < len(passes.cycles) else jobs.cycles[-1] + 1
        inside = jobs.keys[(jobs.cycles > begin) & (jobs.cycles < end)]
        if len(inside):
            counted = [sum_ + int(last - first) for sum_, last, first in zip(counted, inside[-1], before, strict=False)]
    cycles = int(jobs.keys[-1][-1]) if len(jobs.keys) else 0
    return {**{cause.name.lower(): count for cause, count in zip(causes, counted, strict=True)}, "cycles": cycles}
