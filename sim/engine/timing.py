"""When each command uses which port, in cycles after its issue: the contract between units, compiler and cycle model.

Offsets count from the issue cycle (`start` high) as 0. A window ``(first, end)`` is half open: the port is given an
address, or its write enable is high, in cycles ``first <= offset < end``. The unit tests assert every number here
against the RTL.
"""

from __future__ import annotations

from dataclasses import dataclass

from .config import EngineConfig
from .norm_params import NormParams, norm_params
from .pipeline import divide_cycles, tree_cycles
from .words import WORD, ceil_div


@dataclass(frozen=True)
class Activity:
    """What one command does: `busy` is the first offset at which its unit can be started again."""

    busy: int
    windows: dict[str, tuple[int, int]]


#: Matmul: offset of the first step's read, of the preload's read, and of the drain after the last of `steps`.
MATMUL_READ = 1
MATMUL_PRELOAD = 6
MATMUL_DRAIN = 9
#: From a drained chunk to the write of its bits, of its new residual, and of the column sums after the last chunk.
BITS_WRITE = 1
RESIDUAL_WRITE = 4
SUMS_WRITE = 1


def matmul(steps: int, rows: int, chunks: int) -> Activity:
    """One tile on the array: `steps` words of the dot product, then `rows` x `chunks` drained chunks.

    Windows: ``array`` (reads of both operands), ``preload.read``, ``drain`` (sums leave; scores and head_norm inputs
    are written in the same cycles, and the residual is read), ``bits.write``, ``x.write``, ``sums.read``,
    ``sums.write``.
    """
    drain = steps + MATMUL_DRAIN
    end = drain + rows * chunks
    return Activity(
        steps,
        {
            "array": (MATMUL_READ, MATMUL_READ + steps),
            "preload.read": (MATMUL_PRELOAD, MATMUL_PRELOAD + 1),
            "sums.read": (drain - 1, drain),
            "drain": (drain, end),
            "bits.write": (drain + BITS_WRITE, end + BITS_WRITE),
            "x.write": (drain + RESIDUAL_WRITE, end + RESIDUAL_WRITE),
            "sums.write": (end - 1 + SUMS_WRITE, end + SUMS_WRITE),
        },
    )


#: Dense: from the address of a group's last pixel to its sums in the shadow register, one chunk a cycle from there;
#: from there to the write of a chunk of x, and to the write of a chunk of logits.
DENSE_SUMS = 6
EMBED_WRITE = 8
LOGITS_WRITE = 2


def embed(engine: EngineConfig, patches: int, groups: int, chunks: int, patch_bytes: int) -> Activity:
    """Embed the patches of one strip, of `patch_bytes` pixels each; `groups` is ceil(chunks * lanes / dense_lanes).

    Windows: ``pixels.read``; ``strip``, in whose last cycle the strip is released; ``x.write``.
    """
    per_group = engine.dense_lanes // engine.lanes
    read_end = 1 + (patches * groups - 1) * max(patch_bytes, per_group) + patch_bytes
    last_chunks = chunks - (groups - 1) * per_group
    end = read_end - 1 + DENSE_SUMS + EMBED_WRITE + last_chunks
    first_write = patch_bytes + DENSE_SUMS + EMBED_WRITE
    return Activity(end, {"pixels.read": (1, read_end), "strip": (0, read_end), "x.write": (first_write, end)})


def prefix(engine: EngineConfig, words: int) -> Activity:
    """Write the first `words` words of x from the position memory. Windows: ``x.write``."""
    return Activity(1 + EMBED_WRITE + words, {"x.write": (1 + EMBED_WRITE, 1 + EMBED_WRITE + words)})


def logits(engine: EngineConfig, inputs: int, groups: int) -> Activity:
    """Classify `inputs` elements of y. Windows: ``y.read``; ``logits.w``, writes of the logits memory."""
    per_group = engine.dense_lanes // engine.lanes
    last = (groups - 1) * max(inputs, per_group) + inputs
    end = last + DENSE_SUMS + LOGITS_WRITE + per_group
    return Activity(end, {"y.read": (2, last + 2), "logits.w": (inputs + DENSE_SUMS + LOGITS_WRITE, end)})


def sign_norm(engine: EngineConfig, apply: int, rows: int, chunks: int) -> Activity:
    """One pass of SignNorm over `rows` x `chunks` words of the residual; the numbers do not depend on the mode.

    Windows: ``x.read`` (x and the parameters); with `apply` 0 ``stats.write`` (from the first row's S1 and R to the
    last's), with `apply` 1 ``stats.read`` and ``bits.write``.
    """
    return _norm(norm_params(engine, "sign_norm"), apply, rows, chunks)


def head_norm(engine: EngineConfig, apply: int, rows: int, chunks: int) -> Activity:
    """One pass of HeadNorm over `rows` x `chunks` words of accumulators; windows as `sign_norm`."""
    return _norm(norm_params(engine, "head_norm"), apply, rows, chunks)


def _norm(params: NormParams, apply: int, rows: int, chunks: int) -> Activity:
    first, end = 1, 1 + rows * chunks
    windows = {"x.read": (first, end)}
    if apply:
        windows["stats.read"] = (first + params.stats_read_stage, end + params.stats_read_stage)
        windows["bits.write"] = (first + params.bits_stage, end + params.bits_stage)
    else:
        written = params.stats_write_stage
        windows["stats.write"] = (chunks + written, end + written)
    return Activity(rows * chunks, windows)


#: Head: from the address of a chunk's last token to the write of its mean; of `normalise`, the offset of R, and from
#: the address of a word of x to the write of its first y.
POOL_WRITE = 4
NORMALISE_DIVIDE = 2
NORMALISE_WRITE = 9


def pool(engine: EngineConfig, tokens: int, chunks: int) -> Activity:
    """Mean over `tokens` rows of `chunks` chunks. Windows: ``x.read``, ``x.write``."""
    end = 1 + tokens * chunks
    windows = {"x.read": (1, end), "x.write": (tokens + POOL_WRITE, end + POOL_WRITE)}
    return Activity(end + POOL_WRITE, windows)


def normalise(engine: EngineConfig, channels: int) -> Activity:
    """Normalise one row. Windows: ``stats.read``; ``x.read``, a word every `lanes` cycles; ``y.write``."""
    first = NORMALISE_DIVIDE + divide_cycles(engine.formats.head_m) + 1
    last_word = (channels - 1) // engine.lanes
    end = first + NORMALISE_WRITE + channels
    windows = {
        "stats.read": (NORMALISE_DIVIDE - 1, NORMALISE_DIVIDE),
        "x.read": (first, first + last_word * engine.lanes + 1),
        "y.write": (first + NORMALISE_WRITE, end),
    }
    return Activity(end, windows)


#: Logits: offset of the first one that goes into the queue.
OUTPUT_WRITE = 3


def output(engine: EngineConfig, classes: int) -> Activity:
    """Send the logits. Window: ``logits.write``, logits into the queue, in cycles that do not wait for room there."""
    end = OUTPUT_WRITE + classes
    return Activity(end, {"logits.write": (OUTPUT_WRITE, end)})


#: Attention: from the address of a row's last chunk to the address of the row in the next pass, at least, less the
#: cycles of a tree over the lanes: after the pass for m, and after the pass for Z.
ATTENTION_TOP = 3
ATTENTION_SUM = 7
#: From the address of a chunk to its lookup and to its bits.
ATTENTION_LOOKUP = 3
ATTENTION_BITS = 5
#: Table: from the issue to the write of Tau; Exp[k] follows k cycles later.
TABLE_WRITE = 3


def table(engine: EngineConfig) -> Activity:
    """Load Tau and Exp of one head. Windows: ``tables.write``."""
    words = WORD + 1
    return Activity(words, {"tables.write": (TABLE_WRITE, TABLE_WRITE + words)})


def attention(engine: EngineConfig, rows: int, keys: int) -> Activity:
    """Binarize the scores of one tile and head in three passes; a pass waits for the first row of the one before.

    Windows: ``scores.read``, over all passes; ``tables.read``, in the last two; ``bits.write``.
    """
    chunks = ceil_div(keys, engine.lanes)
    tree = tree_cycles(engine.lanes)
    second = 1 + max(rows * chunks, chunks - 1 + ATTENTION_TOP + tree)
    third = second + max(rows * chunks, chunks - 1 + ATTENTION_SUM + tree)
    end = third + rows * chunks
    return Activity(
        end - 1,
        {
            "scores.read": (1, end),
            "tables.read": (second + ATTENTION_LOOKUP, end + ATTENTION_LOOKUP),
            "bits.write": (third + ATTENTION_BITS, end + ATTENTION_BITS),
        },
    )
