"""What the array of an engine waited for, as the engine counts it."""

from __future__ import annotations

from ..hw.probes import STALLS
from ..sim.timing.replay_state import Cause
from .session import Traces


def counted_stalls(traces: Traces) -> dict[str, int]:
    """Return the cycles without a step by cause, up to the last operation, and all cycles up to there as `cycles`.

    Parameters
    ----------
    traces : mapping of str to ProbeTrace
        With that of `STALLS`.
    """
    counts = traces[STALLS.name].keys
    last = counts[-1].tolist() if len(counts) else [0] * (len(Cause) + 1)
    return {**{cause.name.lower(): last[cause] for cause in Cause}, "cycles": last[len(Cause)]}
