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
    """Return the cycles without a step by cause in all passes, each up to its last operation; `cycles` are all of them.

    Between passes the array waits for the last windows, the settings and the core's reset: that is nobody's fault. It
    is no cycle of a pass either, as a group may wait there for its images.

    Parameters
    ----------
    probe : Probe
        `hw.probes.stalls_probe` of the engine.
    begun : Probe
        `hw.probes.pass_probe`.
    causes : sequence of Cause
        Those that the engine has.
    traces : mapping of str to ProbeTrace
    """
    jobs, passes = traces[probe.name], traces[begun.name]
    counted, cycles = [0] * len(causes), 0
    for at, (begin, before) in enumerate(zip(passes.cycles, passes.keys, strict=True)):
        end = passes.cycles[at + 1] if at + 1 < len(passes.cycles) else jobs.cycles[-1] + 1
        inside = (jobs.cycles > begin) & (jobs.cycles < end)
        if inside.any():
            last = jobs.keys[inside][-1]
            counted = [total + int(now - then) for total, now, then in zip(counted, last, before, strict=False)]
            cycles += int(jobs.cycles[inside][-1] - begin)
    return {**{cause.name.lower(): count for cause, count in zip(causes, counted, strict=True)}, "cycles": cycles}
