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
