"""The instructions that the compiler writes and the sequencer walks: one table of fields for both.

An instruction is `INSTRUCTION_BITS` wide: the opcode, the delay (cycles from its issue to the issue of the next one,
at least `MIN_DELAY`), then the operation's own fields, first field in the least significant bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import check
from .fields import pack_field

INSTRUCTION_BITS = 256
OPCODE_BITS = 4
DELAY_BITS = 24
MIN_DELAY = 2

#: Memories that the array reads as its row operand, and that bits are written to.
ROW_MEMORIES = ("norm", "query", "attention", "context", "hidden")
#: Memories that the array reads as its column operand.
COLUMN_MEMORIES = ("weights", "key", "value")
#: Where thresholded bits may go.
BIT_DESTINATIONS = (*ROW_MEMORIES, "key", "value")
#: What happens to the drained accumulators.
EPILOGUES = ("bits", "residual", "head_norm", "scores")
#: Where the accumulator's start comes from, before the instruction's constant is added.
PRELOADS = ("none", "preload", "value_sums")

_NORM_FIELDS = {
    "apply": 1,  # 0: first pass, sums and root; 1: second pass, bits
    "rows": 7,
    "chunks": 7,  # of one row
    "x_addr": 20,
    "stride": 8,  # words from one row of x to the next
    "param_addr": 16,
    "channels": 11,
    "eps": 48,  # in the program: word of the memory `norm_eps`, which the sequencer puts in its place
    "mean": 1,  # mode `mean`: R is the constant
    "dst_mem": 3,  # index in BIT_DESTINATIONS
    "dst_addr": 16,
    "token": 12,  # first token of the tile, for destination `key`
}

#: Fields of every operation: name to width in bits.
OPERATIONS: dict[str, dict[str, int]] = {
    "end": {},
    "matmul": {
        "a_mem": 3,  # index in ROW_MEMORIES
        "a_addr": 16,
        "w_mem": 2,  # index in COLUMN_MEMORIES
        "w_addr": 20,
        "steps": 8,  # 64-bit words of the dot product
        "preload": 2,  # index in PRELOADS
        "preload_addr": 16,
        "preload_const": 14,  # two's complement, added to every column
        "epilogue": 2,  # index in EPILOGUES
        "rows": 7,
        "chunks": 4,  # drained chunks of one row
        "columns": 7,  # columns that count; bits of the others are 0
        "dst_mem": 3,  # index in BIT_DESTINATIONS
        "dst_addr": 16,
        "dst_chunk": 7,  # first chunk in the destination's row or word
        "token": 12,  # first token of the tile
        "stride": 8,  # words from one token of x to the next
        "param_addr": 16,  # residual: Scale and Bias of the first chunk
        "first": 1,  # value: start the column sums at 0
    },
    "sign_norm": _NORM_FIELDS,
    "head_norm": _NORM_FIELDS,
    "table": {"param_addr": 16},
    "attention": {"rows": 7, "keys": 12, "dst_addr": 16},
    "embed": {
        "token": 12,  # of the first patch
        "patches": 8,
        "groups": 8,  # of dense lanes, a token
        "chunks": 7,  # of one token
        "stride": 8,
        "patch_rows": 6,
        "patch_row_bytes": 10,
        "row_bytes": 16,  # of the image
        "shift": 6,
    },
    "prefix": {"words": 14},
    "logits": {"inputs": 12, "groups": 12, "weight_addr": 20},
    "pool": {"tokens": 12, "chunks": 7, "stride": 8, "shift": 4, "dst_addr": 20},
    "normalise": {"row": 7, "x_addr": 20, "channels": 11, "y_addr": 12},
    "output": {"classes": 12},
    "loop": {  # go back to `target` until the body has run `count` times, moving on to the next block's parameters
        "target": 16,
        "count": 8,
        "weights_step": 20,
        "preload_step": 16,
        "sign_norm_step": 16,
        "head_norm_step": 16,
        "residual_step": 16,
        "tables_step": 16,
        "eps_step": 16,
    },
}

#: Fields in two's complement; all others are unsigned.
SIGNED_FIELDS = ("preload_const",)

OPCODES = {name: code for code, name in enumerate(OPERATIONS)}


@dataclass(frozen=True)
class Instruction:
    """One operation with its fields and the delay to the next issue."""

    op: str
    fields: dict[str, int]
    delay: int = MIN_DELAY

    def encode(self) -> int:
        """Return the instruction word, an unsigned integer of `INSTRUCTION_BITS`.

        Raises
        ------
        BivitError
            When a field is unknown, missing or does not fit its width.
        """
        layout = OPERATIONS[self.op]
        check(set(self.fields) == set(layout), f"{self.op} has fields {sorted(layout)}, got {sorted(self.fields)}")
        check(
            MIN_DELAY <= self.delay < 1 << DELAY_BITS,
            f"{self.op}: delay must be {MIN_DELAY} to 2^{DELAY_BITS} - 1 cycles, got {self.delay}",
        )
        word = OPCODES[self.op] | self.delay << OPCODE_BITS
        at = OPCODE_BITS + DELAY_BITS
        for name, width in layout.items():
            word |= pack_field(self.fields[name], width, f"{self.op}.{name}", signed=name in SIGNED_FIELDS) << at
            at += width
        return word
