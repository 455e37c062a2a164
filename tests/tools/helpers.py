"""What several test files share."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bivit.sim.engine.words import LoadMemory

#: The repository, which is the package.
ROOT = Path(__file__).resolve().parents[2]

#: Clock of every simulation, in seconds.
CLK_PERIOD = 1e-8


@contextmanager
def started(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a process while the block lasts; it is killed where it goes on, as behind a signal that it did not get."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def join(fields: Sequence[int], widths: Sequence[int]) -> int:
    """Put fields, two's complement where negative, next to each other, the first in the least significant bits."""
    word, at = 0, 0
    for value, width in zip(fields, widths, strict=True):
        word |= (value % (1 << width)) << at
        at += width
    return word


async def load_memory(ctx: Any, load: Any, memory: LoadMemory, words: Sequence[int]) -> None:
    """Write `words` from word 0 on into the bank of a loadable memory that is not in use, over its load bus."""
    for addr, word in enumerate(words):
        for beat in range(memory.beats):
            data = word >> 64 * beat & (1 << 64) - 1
            ctx.set(load, {"en": 1, "memory": memory.id, "addr": addr, "beat": beat, "data": data})
            await ctx.tick()
    ctx.set(load, {"en": 0, "memory": 0, "addr": 0, "beat": 0, "data": 0})


def signed(word: int, bits: int) -> int:
    """Read the low `bits` of a word as two's complement."""
    word &= (1 << bits) - 1
    return word - (word >> bits - 1 << bits)
