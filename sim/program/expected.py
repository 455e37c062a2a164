"""What an engine must write where while it runs a network: the reference's taps as the hardware's writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import singledispatchmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.commands import (
    Attention,
    Command,
    Embed,
    HeadNorm,
    Logits,
    Matmul,
    Normalise,
    OperandMemory,
    Output,
    Pool,
    Prefix,
    SignNorm,
    Table,
)
from ..network.network import IntNetwork
from .compiler import Program
from .load_words import half_threshold
from .schedule import Op

Ints = NDArray[np.int64]


def as_is(write: int, element: int, value: int) -> int:
    """Return a value that is the same on the wire and in the tensor."""
    return value


@dataclass(frozen=True)
class Writes:
    """Consecutive writes on one probe that hold a piece of one tensor.

    Parameters
    ----------
    probe : str
        Name of the observed port (`hw.probes`).
    tap : str
        Tensor of docs/network.md.
    keys : int64 [n, k]
        Addresses that each write must have.
    values : int64 [n, e]
        Elements that each write must carry, as they are on the wire.
    valid : bool [n, e]
        Elements that mean something; others are padding of a last chunk.
    index : callable
        (write, element) to the tensor's index.
    to_tap : callable
        (write, element, value on the wire) to the value in the tensor's own units.
    """

    probe: str
    tap: str
    keys: Ints
    values: Ints
    valid: NDArray[np.bool_]
    index: Callable[[int, int], tuple[int, ...]]
    to_tap: Callable[[int, int, int], int] = as_is


def expected_writes(network: IntNetwork, program: Program, taps: Mapping[str, Ints], image: int) -> Iterator[Writes]:
    """Yield everything that the engine writes for one image, operation by operation.

    Parameters
    ----------
    network, program : IntNetwork, Program
        What runs.
    taps : mapping of str to int64 [B, ...]
        All taps of the reference.
    image : int
        Which image of the batch.
    """
    writer = _Writer(network, program, {name: tap[image] for name, tap in taps.items()})
    for entry in program.unrolled():
        yield from writer.writes(entry.op.command, entry.op)


def commands_with_writes() -> set[type[Command]]:
    """Return the commands of which this module says what they write, if only that it is nothing."""
    return set(_Writer.__dict__["writes"].dispatcher.registry) - {object}


class _Writer:
    """Turns one operation and the taps into writes."""

    def __init__(self, network: IntNetwork, program: Program, taps: Mapping[str, Ints]):
        self.network, self.layout, self.taps = network, program.layout, taps
        self.config, self.engine = program.layout.config, program.layout.engine
        self.lanes = self.engine.lanes

    @singledispatchmethod
    def writes(self, command: Command, op: Op) -> Iterator[Writes]:
        """Yield the writes of one operation; every command has its method, those that write no tensor too."""
        raise NotImplementedError(f"nothing says what {command.name} writes")

    @writes.register
    def _(self, command: Table, op: Op) -> Iterator[Writes]:
        return iter(())  # loads parameters

    @writes.register
    def _(self, command: Output, op: Op) -> Iterator[Writes]:
        return iter(())  # reads

    def _name(self, op: Op, name: str) -> str:
        return name if op.block is None else f"blocks.{op.block}.{name}"

    def _tap(self, op: Op, name: str) -> Ints:
        return self.taps[self._name(op, name)]

    # Front and back.

    @writes.register
    def _(self, command: Prefix, op: Op) -> Iterator[Writes]:
        yield self._rows_of_x(op, "patch_embed", 0, self.config.num_prefix_tokens)

    @writes.register
    def _(self, command: Embed, op: Op) -> Iterator[Writes]:
        yield self._rows_of_x(op, "patch_embed", op.token, command.patches)

    @writes.register
    def _(self, command: Pool, op: Op) -> Iterator[Writes]:
        yield self._rows_of_x(op, "pool", op.token, 1, first_row=0)

    def _rows_of_x(
        self,
        op: Op,
        name: str,
        token: int,
        rows: int,
        *,
        first_row: int | None = None,
        column: int = 0,
        chunks: int = 0,
    ) -> Writes:
        """Words of the residual: `rows` tokens, `chunks` chunks of each from channel `column` (0: all)."""
        chunks = chunks or self.layout.row_chunks
        source = token if first_row is None else first_row
        tensor = self._tap(op, name)
        values = tensor[source : source + rows, column : column + chunks * self.lanes]
        base = np.arange(token, token + rows)[:, None] * self.layout.row_chunks + column // self.lanes
        return self._writes(
            "x",
            self._name(op, name),
            (base + np.arange(chunks)).reshape(-1, 1),
            values.reshape(-1, self.lanes),
            lambda w, e: (source + w // chunks, column + w % chunks * self.lanes + e),
        )

    @writes.register
    def _(self, command: Normalise, op: Op) -> Iterator[Writes]:
        row, d = command.row, self.config.embed_dim
        yield self._scalar("norm_q", "norm.q", (), self.taps["norm.q"][row : row + 1], lambda w, e: (row,))
        yield self._writes(
            "y",
            "norm",
            command.y_addr + np.arange(d)[:, None],
            self.taps["norm"][row][:, None],
            lambda w, e: (row, w),
        )

    @writes.register
    def _(self, command: Logits, op: Op) -> Iterator[Writes]:
        classes, lanes = self.config.num_classes, self.lanes
        padded = self.layout.class_groups * self.engine.dense_lanes
        values = np.zeros(padded, np.int64)
        values[:classes] = self.taps["head"]
        yield self._writes(
            "logits",
            "head",
            np.arange(padded // lanes)[:, None],
            values.reshape(-1, lanes),
            lambda w, e: (w * lanes + e,),
            valid=(np.arange(padded) < classes).reshape(-1, lanes),
        )

    # Norms and attention.

    @writes.register
    def _(self, command: SignNorm, op: Op) -> Iterator[Writes]:
        rows = command.rows
        if op.part == "stats":
            first = 0 if op.layer == "norm" else op.token
            for what in ("s1", "r"):
                name = self._name(op, f"{op.layer}.{what}")
                values = self.taps[name][first : first + rows]
                yield self._scalar(f"sign_norm_{what}", name, range(rows), values, lambda w, e: (first + w,))
        else:
            values = self._tap(op, op.layer)[op.token : op.token + rows]
            yield self._row_bits(
                op, command.dst_mem, op.layer, command.dst_addr, 0, values, lambda r, c: (op.token + r, c)
            )

    @writes.register
    def _(self, command: HeadNorm, op: Op) -> Iterator[Writes]:
        rows, head, token = command.rows, op.head, op.token
        if op.part == "stats":
            for what in ("s1", "r"):
                name = self._name(op, f"{op.layer}.{what}")
                values = self.taps[name][head, token : token + rows]
                yield self._scalar(f"head_norm_{what}", name, range(rows), values, lambda w, e: (head, token + w))
        else:
            values = self._tap(op, op.layer)[head, token : token + rows]
            yield self._bits(command, op, op.layer, values, lambda r, c: (head, token + r, c))

    @writes.register
    def _(self, command: Attention, op: Op) -> Iterator[Writes]:
        rows, head, token = command.rows, op.head, op.token
        for what in ("m", "z"):
            name = self._name(op, f"attn.attn_sign.{what}")
            values = self.taps[name][head, token : token + rows]
            yield self._scalar(f"attention_{what}", name, range(rows), values, lambda w, e: (head, token + w))
        values = self._tap(op, "attn.attn_sign")[head, token : token + rows]
        yield self._row_bits(
            op,
            OperandMemory.ATTENTION,
            "attn.attn_sign",
            command.dst_addr,
            0,
            values,
            lambda r, c: (head, token + r, c),
        )

    # The array.

    @writes.register
    def _(self, command: Matmul, op: Op) -> Iterator[Writes]:
        rows, chunks, columns = command.rows, command.chunks, command.columns
        name, tensor, theta, index = self._sums(command, op)
        padded = np.zeros((rows, chunks * self.lanes), np.int64)
        offsets = np.zeros(chunks * self.lanes, np.int64)
        offsets[:columns] = [half_threshold(int(t)) for t in theta]
        factor = 1 if op.layer in ("attn.scores", "attn.context") else 2
        padded[:, :columns] = tensor // factor - offsets[:columns]
        keys = np.stack(np.divmod(np.arange(rows * chunks), chunks), axis=1)
        lanes = self.lanes

        def to_tap(write: int, element: int, value: int) -> int:
            return factor * (value + int(offsets[write % chunks * lanes + element]))

        yield self._writes(
            "sums",
            name,
            keys,
            padded.reshape(-1, lanes),
            lambda w, e: index(w // chunks, w % chunks * lanes + e),
            valid=np.broadcast_to(np.arange(chunks * lanes) < columns, padded.shape).reshape(-1, lanes),
            to_tap=to_tap,
        )
        yield from self._epilogue(command, op)

    def _sums(self, command: Matmul, op: Op) -> tuple[str, Ints, Any, Callable[[int, int], tuple[int, ...]]]:
        """Return name, piece and thresholds of the tensor that a tile's sums stand for, and its index."""
        token, column, head = op.token, op.column, op.head
        rows = slice(token, token + command.rows)
        columns = slice(column, column + command.columns)
        none = np.zeros(command.columns, np.int64)
        if op.layer == "attn.scores":
            tensor = self._tap(op, "attn.scores")[head, rows, columns]
            if self.config.attn_mode == "score":
                # The sums of scores have no factor of two: give the threshold so that half of it is exact.
                none += 2 * int(self.network.tensors[self._name(op, "attn.attn_sign.theta")][head])
            return self._name(op, "attn.scores"), tensor, none, lambda r, c: (head, token + r, column + c)
        if op.layer == "attn.context":
            name = "attn.context.c"
            return self._name(op, name), self._tap(op, name)[rows, columns], none, lambda r, c: (token + r, column + c)
        base, theta = column, none
        if op.layer == "attn.qkv":
            base = "qkv".index(op.part) * self.config.embed_dim + column
            if op.part == "v":
                theta = self.network.tensors[self._name(op, "attn.v_sign.theta")][columns]
            elif self.config.qk_mode == "threshold":
                theta = self.network.tensors[self._name(op, f"attn.{op.part}_norm.theta")].reshape(-1)[columns]
        elif op.layer == "mlp.fc1":
            theta = self.network.tensors[self._name(op, "mlp.act.theta")][columns]
        tensor = self._tap(op, op.layer)[rows, base : base + command.columns]
        return self._name(op, op.layer), tensor, theta, lambda r, c: (token + r, base + c)

    def _epilogue(self, command: Matmul, op: Op) -> Iterator[Writes]:
        """What becomes of the sums: bits, or the new residual; scores and buffered sums are seen by their readers."""
        token, rows, head = op.token, command.rows, op.head
        columns = slice(op.column, op.column + command.columns)
        e = self.config.head_dim
        in_head = slice(op.column - head * e, op.column - head * e + command.columns)
        where = slice(token, token + rows)
        chunk = command.dst_chunk
        if op.layer in ("attn.proj", "mlp.fc2"):
            name = "add1" if op.layer == "attn.proj" else "add2"
            yield self._rows_of_x(op, name, token, rows, column=op.column, chunks=command.chunks)
        elif op.layer == "attn.qkv" and (op.part == "v" or self.config.qk_mode == "threshold"):
            name = "attn.v_sign" if op.part == "v" else f"attn.{op.part}_norm"
            values = self._tap(op, name)[head, where, in_head]
            yield self._bits(command, op, name, values, lambda r, c: (head, token + r, in_head.start + c), chunk)
        elif op.layer == "attn.scores" and self.config.attn_mode == "score":
            values = self._tap(op, "attn.attn_sign")[head, where, columns]
            yield self._bits(
                command, op, "attn.attn_sign", values, lambda r, c: (head, token + r, op.column + c), chunk=chunk
            )
        elif op.layer in ("attn.context", "mlp.fc1"):
            name = "attn.context" if op.layer == "attn.context" else "mlp.act"
            values = self._tap(op, name)[where, columns]
            yield self._bits(command, op, name, values, lambda r, c: (token + r, op.column + c), chunk)

    # Bits.

    def _bits(
        self,
        command: Matmul | SignNorm | HeadNorm,
        op: Op,
        name: str,
        values: Ints,
        index: Callable[[int, int], tuple[int, ...]],
        chunk: int = 0,
    ) -> Writes:
        """Bits of a tile in whichever memory the operation writes."""
        memory, addr = command.dst_mem, command.dst_addr
        if memory not in (OperandMemory.KEY, OperandMemory.VALUE):
            return self._row_bits(op, memory, name, addr, chunk, values, index)
        rows, columns = values.shape
        chunks = -(-columns // self.lanes)
        row, part = np.divmod(np.arange(rows * chunks), chunks)
        tokens = op.token + row
        if memory == OperandMemory.KEY:
            per_word, slots = self.engine.columns, self.engine.chunks_per_word
            part = part + chunk
        else:
            per_word, slots = 64, self.engine.tile_chunks
        keys = np.stack([addr + tokens // per_word, tokens % per_word * slots + part], axis=1)
        return self._padded_bits(memory, self._name(op, name), keys, values, chunks, index)

    def _row_bits(
        self,
        op: Op,
        memory: OperandMemory,
        name: str,
        addr: int,
        chunk: int,
        values: Ints,
        index: Callable[[int, int], tuple[int, ...]],
    ) -> Writes:
        """Bits of a tile in a row memory, from chunk `chunk` of each row."""
        rows, columns = values.shape
        per_word = self.engine.chunks_per_word
        chunks = -(-columns // self.lanes)
        row, part = np.divmod(np.arange(rows * chunks), chunks)
        part = part + chunk
        keys = np.stack([addr + part // per_word, row * per_word + part % per_word], axis=1)
        return self._padded_bits(memory, self._name(op, name), keys, values, chunks, index)

    def _padded_bits(
        self,
        memory: OperandMemory,
        name: str,
        keys: Ints,
        values: Ints,
        chunks: int,
        index: Callable[[int, int], tuple[int, ...]],
    ) -> Writes:
        """Bits beyond the tensor are written as 0, and compared: operands rely on it."""
        rows, columns = values.shape
        padded = np.zeros((rows, chunks * self.lanes), np.int64)
        padded[:, :columns] = values
        lanes = self.lanes
        return self._writes(
            str(memory), name, keys, padded.reshape(-1, lanes), lambda w, e: index(w // chunks, w % chunks * lanes + e)
        )

    @staticmethod
    def _writes(
        probe: str,
        tap: str,
        keys: Ints,
        values: Ints,
        index: Callable[[int, int], tuple[int, ...]],
        valid: NDArray[np.bool_] | None = None,
        to_tap: Callable[[int, int, int], int] | None = None,
    ) -> Writes:
        valid = np.ones(values.shape, bool) if valid is None else valid
        return Writes(probe, tap, keys, values, valid, index, *([to_tap] if to_tap else []))

    def _scalar(
        self, probe: str, tap: str, keys: Any, values: Ints, index: Callable[[int, int], tuple[int, ...]]
    ) -> Writes:
        """One value a write; no keys when `keys` is empty."""
        rows = len(values)
        table = np.asarray(list(keys), np.int64).reshape(rows, -1) if len(keys) else np.zeros((rows, 0), np.int64)
        return self._writes(probe, tap, table, np.asarray(values, np.int64)[:, None], index)
