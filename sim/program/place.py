"""Where everything lies: values in slots of memories by how long they live, parameters in runs of words.

The only owner of addresses. Words of parameters are written at the addresses that are given out here, and the steps
from one block's parameters to the next one's follow from the same table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ..engine.commands import ColumnMemory, Command, OperandMemory
from ..engine.config import EngineConfig
from ..engine.memories import TABLE_WORDS
from ..engine.words import WORD, ceil_div
from ..errors import BivitError
from ..units.bit_store import BitStoreUnit
from ..units.machine import memory_depths
from ..units.uses import Uses
from .graph import At, Param, Task, Value
from .layout import Layout
from .uses import uses_of


class Slot(NamedTuple):
    """Room for one value: the `number`-th of its memory, or part of it where values share words."""

    memory: str
    number: int
    part: int = 0

    def __str__(self) -> str:
        return f"{self.memory}[{self.number}{f'.{self.part}' if self.part else ''}]"


class Access(NamedTuple):
    """A value in its slot."""

    slot: Slot
    value: Value


def whole(at: tuple[int, ...]) -> int:
    """Part of a slot of a value that shares its words with no other."""
    return 0


@dataclass(frozen=True, kw_only=True)
class Lives:
    """Where values of one kind live.

    Parameters
    ----------
    memory : str
        The memory.
    slots, words : int
        Slots that they take turns in, and words of each.
    index, part : callable
        Slot and part of a slot, from what says which value it is.
    resident : bool
        Whether each value has a slot of its own; else the slots are a ring.
    """

    memory: str
    slots: int
    words: int = 1
    index: Callable[[tuple[int, ...]], int]
    part: Callable[[tuple[int, ...]], int] = whole
    resident: bool = True

    def __str__(self) -> str:
        return f"{self.memory}: {'resident, ' if self.resident else 'ring of '}{self.slots} x {self.words} words"


@dataclass(frozen=True)
class Run:
    """Words of a tensor in a loadable memory: `items` runs of `words` from `first`, in each block or once."""

    first: int
    items: int
    words: int

    @property
    def end(self) -> int:
        """First word behind it."""
        return self.first + self.items * self.words


@dataclass(frozen=True, kw_only=True)
class Op:
    """A task in its place: all of its command is known, and what it occupies; only its time is not.

    Parameters
    ----------
    task : Task
        What it is for.
    command : Command
        What the unit is told.
    uses : Uses
        What it occupies.
    reads, writes : dict of str to tuple of Access
        Values that are read and written during each window, in their slots.
    """

    task: Task
    command: Command
    uses: Uses
    reads: Mapping[str, tuple[Access, ...]]
    writes: Mapping[str, tuple[Access, ...]]

    def __str__(self) -> str:
        return f"{self.command.name} of {self.task.where}"


class Place:
    """Addresses of a network in an engine; those of a block's parameters are relative to the block.

    Parameters
    ----------
    layout : Layout
        Network shape and engine.

    Raises
    ------
    BivitError
        When a memory is too small: which one, what it holds, what the network needs.
    """

    def __init__(self, layout: Layout):
        self.layout, self.engine, self.config = layout, layout.engine, layout.config
        self._slots: dict[Value, Access] = {}
        self._groups: dict[tuple[Value, ...], tuple[Access, ...]] = {}
        self._check_room()

    # Values.

    @cached_property
    def lives(self) -> dict[str, Lives]:
        """Where values live, by kind."""
        layout, config, engine = self.layout, self.config, self.engine
        tiles, heads = len(layout.tiles()), config.num_heads
        chunks, groups = layout.row_chunks, heads * layout.head_groups

        def by_tile(memory: OperandMemory, words: int) -> Lives:
            return Lives(memory=str(memory), slots=tiles, words=words, index=lambda at: at[0])

        def ring(memory: str, words: int, slots: int) -> Lives:
            return Lives(memory=memory, slots=slots, words=words, index=lambda at: at[0] % slots, resident=False)

        def one(memory: str, words: int = 1) -> Lives:
            return Lives(memory=memory, slots=1, words=words, index=lambda at: 0, resident=False)

        pooled = config.num_tokens  # the row behind the tokens
        x = Lives(memory="x", slots=pooled + 1, words=chunks, index=lambda at: at[0] if at else pooled)
        norm, keys = by_tile(OperandMemory.NORM, layout.embed_words), len(layout.key_groups())
        query = Lives(memory="query", slots=tiles * heads, index=lambda at: at[0] * heads + at[1])
        key = Lives(memory="key", slots=heads, words=keys, index=lambda at: at[1], part=lambda at: at[0])
        value = Lives(
            memory="value",
            slots=groups,
            words=layout.token_words,
            index=lambda at: layout.value_group(*at[:2]),
            part=lambda at: at[2],
        )
        sums = Lives(memory="value_sums", slots=groups, index=lambda at: layout.value_group(*at[:2]))
        y = Lives(memory="y", slots=config.head_rows, words=config.embed_dim, index=lambda at: at[0])
        stats, head_stats = one("sign_stats"), one("head_stats")
        return {
            **dict.fromkeys(("x", "add1", "add2", "pool"), x),
            **dict.fromkeys(("norm1", "norm2"), norm),
            **dict.fromkeys(("norm1.stats", "norm2.stats", "norm.stats"), stats),
            "head_sums": one("head_buffer", engine.rows * engine.chunks_per_word),
            **dict.fromkeys(("attn.q_norm.stats", "attn.k_norm.stats"), head_stats),
            "attn.q_norm": query,
            "attn.k_norm": key,
            "attn.v_sign": value,
            "value_sums": sums,
            "table": one("table"),
            "attn.scores": one("scores"),
            "attn.attn_sign": ring("attention", layout.token_words, _tiles_held(engine, "attention")),
            "attn.context": by_tile(OperandMemory.CONTEXT, layout.embed_words),
            "mlp.act": ring("hidden", layout.hidden_words, _tiles_held(engine, "hidden")),
            "norm": y,
            "head": one("logits"),
        }

    def access(self, value: Value) -> Access:
        """Return a value in its slot."""
        if value not in self._slots:
            lives = self.lives[value.name]
            self._slots[value] = Access(Slot(lives.memory, lives.index(value.at), lives.part(value.at)), value)
        return self._slots[value]

    def _together(self, values: tuple[Value, ...]) -> tuple[Access, ...]:
        if values not in self._groups:
            self._groups[values] = tuple(map(self.access, values))
        return self._groups[values]

    # Parameters.

    @cached_property
    def params(self) -> dict[str, dict[str, Run]]:
        """Runs of a block's parameters, by memory and tensor; addresses from the block's first."""
        layout, config = self.layout, self.config
        heads, chunks, words = config.num_heads, layout.row_chunks, layout.embed_words
        d_groups, m_groups = len(layout.groups(config.embed_dim)), len(layout.groups(config.hidden_dim))
        qkv = 3 * heads * layout.head_groups
        thresholds = {"attn.attn_sign": (heads, 1)} if config.attn_mode == "score" else {}
        sizes = {
            "weights": {
                "attn.qkv": (qkv, words),
                "attn.proj": (d_groups, words),
                "mlp.fc1": (m_groups, words),
                "mlp.fc2": (d_groups, layout.hidden_words),
            },
            "preload": {"attn.qkv": (qkv, 1), "mlp.fc1": (m_groups, 1), **thresholds},
            "sign_norm": {"norm1": (1, chunks), "norm2": (1, chunks)},
            "head_norm": {f"attn.{part}_norm": (heads, layout.head_chunks) for part in "qk"},
            "residual": {"attn.proj": (1, chunks), "mlp.fc2": (1, chunks)},
            "tables": {"attn.attn_sign": (heads, TABLE_WORDS)},
            "norm_eps": {"norm1": (1, 1), "norm2": (1, 1), "attn.q_norm": (heads, 1), "attn.k_norm": (heads, 1)},
        }
        return {memory: _runs(of) for memory, of in sizes.items()}

    @cached_property
    def once(self) -> dict[str, dict[str, Run]]:
        """Runs of parameters outside of the blocks, by memory and tensor; behind those of all blocks."""
        layout, config = self.layout, self.config
        sizes = {
            "norm_eps": {"norm": (1, 1)},
            "dense_weights": {
                "patch_embed": (layout.dense_groups, config.patch_dim),
                "head": (layout.class_groups, layout.head_inputs),
            },
            "patch_params": {"patch_embed": (1, layout.row_chunks)},
            "positions": {"pos_embed": (config.num_tokens, layout.row_chunks)},
            "head_bias": {"head": (layout.class_groups, self.engine.dense_lanes // self.engine.lanes)},
        }
        return {memory: _runs(of, config.depth * self.block_words(memory)) for memory, of in sizes.items()}

    def block_words(self, memory: str) -> int:
        """Words of one block in a loadable memory."""
        return max((run.end for run in self.params.get(memory, {}).values()), default=0)

    def block_steps(self) -> dict[str, int]:
        """Words of one block in each parameter memory, under the names of the ``loop`` instruction's fields."""
        names = {"norm_eps": "eps"}
        return {f"{names.get(memory, memory)}_step": self.block_words(memory) for memory in self.params}

    def param(self, param: Param, block: int = 0) -> int:
        """First word of a run of parameters, of block `block` if it is one of a block's."""
        runs = self.params.get(param.memory, {})
        if param.name in runs:
            run, base = runs[param.name], block * self.block_words(param.memory)
        else:
            run, base = self.once[param.memory][param.name], 0
        if not 0 <= param.item < run.items:
            raise IndexError(f"{param}: there are {run.items}")
        return base + run.first + param.item * run.words

    # Tasks.

    def realise(self, task: Task) -> Op:
        """Return a task with every address of its command, and what it occupies."""
        layout, fields = task.command.layout(), dict(task.fields)
        for name, at in task.at.items():
            fields[f"{name}_addr" if f"{name}_addr" in layout else name] = self.address(at)
            if f"{name}_mem" in layout and (memory := self._memory(name, at)) is not None:
                fields[f"{name}_mem"] = memory
        command = task.command(**fields)
        return Op(
            task=task,
            command=command,
            uses=uses_of(self.engine, command),
            reads={window: self._together(values) for window, values in task.reads.items()},
            writes={window: self._together(values) for window, values in task.writes.items()},
        )

    def address(self, at: At) -> int:
        """Word at which a value or parameters lie, and as many more as `at` says."""
        if isinstance(at.what, Param):
            return self.param(at.what) + at.offset
        return self.access(at.what).slot.number * self.lives[at.what.name].words + at.offset

    def _memory(self, name: str, at: At) -> int | None:
        """Number of the memory of an operand or of bits, or None for what is neither."""
        memory = at.what.memory if isinstance(at.what, Param) else self.lives[at.what.name].memory
        numbers: type[ColumnMemory] | type[OperandMemory] = ColumnMemory if name == "w" else OperandMemory
        return numbers.__members__.get(memory.upper())

    # Room.

    def needs(self) -> dict[str, int]:
        """Words that are taken in each memory."""
        found = {lives.memory: lives.slots * lives.words for lives in self.lives.values()}
        for memory, runs in self.params.items():
            found[memory] = self.config.depth * max(run.end for run in runs.values())
        return found | {memory: max(run.end for run in runs.values()) for memory, runs in self.once.items()}

    def _check_room(self) -> None:
        depths = memory_depths(self.engine)
        few = [(memory, need) for memory, need in self.needs().items() if need > depths.get(memory, need)]
        if few:
            raise BivitError(
                "the engine is too small: "
                + "; ".join(f"its memory {name} holds {depths[name]} words, the network needs {n}" for name, n in few)
            )

    def __str__(self) -> str:
        slots = [f"  {kind}: {lives}" for kind, lives in self.lives.items()]
        runs = [
            f"  {memory}:{name} {run.first} .. {run.end - 1} {when}"
            for table, when in ((self.params, "in each block"), (self.once, "once"))
            for memory, of in table.items()
            for name, run in of.items()
        ]
        return "\n".join(["values", *slots, "parameters", *runs])


def _tiles_held(engine: EngineConfig, memory: str) -> int:
    """Tiles of the largest network that a memory of bits of some tiles holds."""
    most = {"attention": engine.max_tokens, "hidden": engine.max_hidden_dim}[memory]
    return BitStoreUnit(engine).memories[memory].depth // ceil_div(most, WORD)


def _runs(sizes: Mapping[str, tuple[int, int]], at: int = 0) -> dict[str, Run]:
    """Put tensors of so many items of so many words one after the other."""
    runs = {}
    for name, (items, words) in sizes.items():
        runs[name] = Run(at, items, words)
        at = runs[name].end
    return runs
