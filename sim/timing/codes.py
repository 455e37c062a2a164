"""Numbers of what is named in `replay_state` and `sim.flow.streams`, for numba."""

from __future__ import annotations

from ..flow.streams import Part, Stream
from .replay_state import Cause, Job, Of, Ready, Ring, Unit

SCORES, CONTEXT, PROJ, FC1, FC2, QKV = (int(stream) for stream in Stream)
KEY, QUERY, VALUE = (int(part) for part in Part)
R_RESIDUAL, R_HEAD, R_SCORE, R_ATTENTION, R_NORM1, R_NORM2, R_QUERY = (int(ring) for ring in list(Ring)[:7])
R_KEYS, R_VALUES, R_CONTEXT, R_HIDDEN, R_STAGING1, R_STAGING2, R_TABLES = (int(ring) for ring in list(Ring)[7:])
NORM1, NORM2, CONTEXT_BITS, HIDDEN_BITS, QUERY_BITS = (int(ready) for ready in Ready)
RESIDUAL, SIGN, STATS, APPLY, SUM, COMPARE, ROOT, TABLES = (int(unit) for unit in Unit)
ADD_NEXT, ADD_READ, ADD_WRITTEN, ADD_SUMMED, ROOT_NEXT, ROOTED, SIGN_NEXT, SIGN_FULL = (
    int(one) for one in list(Of)[:8]
)
HEAD_NEXT, HEAD_ROOTED, APPLY_NEXT, APPLY_DONE, SUM_NEXT, SUM_COUNTED = (int(one) for one in list(Of)[8:14])
COMPARE_NEXT, SCORE_FREE, ATTENTION_FULL, WRITTEN = (int(one) for one in list(Of)[14:])
C_TURN, C_IDLE, C_OPERAND, C_TABLES, C_KEYS, C_VALUES, C_ATTENTION = (int(cause) for cause in list(Cause)[:7])
C_ROOM, C_DRAIN, C_WRITER, C_GHOST = (int(cause) for cause in list(Cause)[7:11])
JOB_PROJ, JOB_FC2, JOB_LAST, JOB_LOAD, JOB_MERGE = (int(job) for job in Job)
CAUSES = len(Cause)
