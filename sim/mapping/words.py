"""The words of a network for the memories of a dataflow engine: what the load stream carries.

Nothing masks what lies beyond a network: columns without a channel begin so low that their bit is 0, or with 0 where
it must be 1, and their weights are 0. So every bit that the array reads is determined.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..bits import pack, unpack
from ..engine.fields import half_threshold, pack_fields
from ..engine.memories import TABLE_BITS, TABLE_WORDS
from ..engine.words import WORD, LoadMemory, ceil_div
from ..errors import check
from ..flow.config import FlowConfig
from ..flow.head_norm import HeadNormUnit
from ..flow.machine import load_memories
from ..flow.memories import head_eps
from ..flow.residual_add import ResidualAddUnit
from ..flow.settings import setting_bits, settings_of, table_words, weighted
from ..flow.sign_norm import SignNormUnit
from ..flow.streams import Part, Stream
from ..flow.table import SlotTable
from ..flow.weight_stream import WeightStreamUnit
from ..network.config import vit_only
from ..network.formats import EPS_BITS, EXP_BITS
from ..network.network import IntNetwork
from .layout import QKV_ROWS, FlowLayout

#: Memory name to words by the address of the first.
Words = dict[str, dict[int, list[int]]]
Array = np.ndarray[Any, Any]

#: Names of the tensors of a block: thresholds, layers, norms of heads.
SIGNS = {Stream.SCORES: "attn.attn_sign", Stream.CONTEXT: "attn.context", Stream.FC1: "mlp.act"}
LAYERS = {Stream.PROJ: "attn.proj", Stream.FC1: "mlp.fc1", Stream.FC2: "mlp.fc2", Stream.QKV: "attn.qkv"}
NORMS = {Part.QUERY: "attn.q_norm", Part.KEY: "attn.k_norm", Part.VALUE: "attn.v_sign"}
#: Eps of q and k, which lie behind the others.
_HEAD_EPS = "head_eps"


class Field(NamedTuple):
    """One field of the structs of a word, an element a column."""

    name: str
    values: Array
    bits: int
    signed: bool = True


def flow_words(network: IntNetwork, flow: FlowConfig, table: SlotTable) -> Words:
    """Return the words of a network's blocks, of its settings and of its slot table.

    Parameters
    ----------
    network : IntNetwork
    flow : FlowConfig
    table : SlotTable

    Raises
    ------
    BivitError
        When the network does not fit the engine, or a value not its field: which one, what is allowed, what was got.
    """
    blocks, config = block_words(network, flow), vit_only(network.config)
    values = settings_of(config, flow, table)
    settings = [pack_fields([values[name]], bits, f"settings.{name}") for name, bits in setting_bits(flow).items()]
    words = {"settings": {0: settings}, "slots": {0: table_words(table)}} | blocks
    if flow.streamed:
        del words["weights"]  # they are no part of what is loaded, see `weight_image`
        words["parts"] = {0: WeightStreamUnit(flow).list_words(config)}
    check_room(words, load_memories(flow))
    return words


def check_room(words: Words, memories: dict[str, LoadMemory]) -> None:
    """Check that every word has a place."""
    needs = {name: max(first + len(run) for first, run in runs.items()) for name, runs in words.items()}
    few = [(name, memories[name].depth, need) for name, need in needs.items() if need > memories[name].depth]
    said = "; ".join(f"its memory {name} holds {depth} words, the network needs {need}" for name, depth, need in few)
    check(not few, f"the engine is too small: {said}")


def block_words(network: IntNetwork, flow: FlowConfig) -> Words:
    """Return the words of all blocks of a network.

    Parameters
    ----------
    network : IntNetwork
    flow : FlowConfig

    Raises
    ------
    BivitError
        When the network does not fit the engine, or a value not its field: which one, what is allowed, what was got.
    """
    layout = FlowLayout(vit_only(network.config), network.formats, flow)
    return words_of_blocks(network, layout)


def words_of_blocks(network: IntNetwork, layout: FlowLayout) -> Words:
    """Return the words of the blocks of a network, or of a pass of it.

    Parameters
    ----------
    network : IntNetwork
    layout : FlowLayout

    Raises
    ------
    BivitError
        When a value does not fit its field: which one, what is allowed, what was got.
    """
    blocks = [_Block(network, layout, number) for number in range(layout.config.depth)]
    by_block = [block.words() for block in blocks]
    found = {name: {0: [word for words in by_block for word in words[name]]} for name in by_block[0]}
    of_heads = found.pop(_HEAD_EPS)
    if layout.flow.has_head_norm:
        found["norm_eps"][head_eps(layout.flow)] = of_heads[0]
    else:
        del found["head_norm"]
    if not layout.flow.has_softmax:
        del found["tables"]
    return found


def operation_words(packed: Array, columns: int) -> list[int]:
    """Return the words of an operation's weights: 64 bits of each column a step, 0 in columns without a channel.

    Parameters
    ----------
    packed : uint64 [channels, steps]
    columns : int
        Of the array, as many as channels or more.
    """
    of = np.zeros((columns, packed.shape[1]), "<u8")
    of[: len(packed)] = packed
    return [int.from_bytes(step.tobytes(), "little") for step in of.T]


class _Block:
    """The words of one block; memories hold those of the blocks one behind the other."""

    def __init__(self, network: IntNetwork, layout: FlowLayout, number: int):
        self.tensors, self.layout = network.tensors, layout
        self.config, self.formats = layout.config, network.formats
        self.name = f"{self.config.stages[0].blocks[number].name}."

    def words(self) -> dict[str, list[int]]:
        return {
            "weights": self._weights(),
            "preload": self._starts(),
            "residual": self._residual(),
            "sign_norm": self._sign_norm(),
            "norm_eps": self._eps(("norm1", "norm2"), 1),
            "head_norm": self._head_norm(),
            _HEAD_EPS: self._eps(("attn.k_norm", "attn.q_norm"), self.config.num_heads),
            "tables": self._tables(),
        }

    def _tensor(self, name: str) -> Array:
        return self.tensors[self.name + name]

    # The array.

    def _weights(self) -> list[int]:
        """Word: 64 bits of each column, of one step of an operation."""
        words = []
        for stream in weighted(self.layout.flow):
            packed = self._tensor(f"{LAYERS[stream]}.weight")
            if stream is Stream.PROJ:
                packed = self._by_context(packed)
            for rows in self._rows(stream):
                words += operation_words(packed[rows.start : rows.stop], self.layout.columns)
        return words

    def _by_context(self, packed: Array) -> Array:
        """Move the inputs of proj to where the context has them: each head begins a column group."""
        heads, inner = self.config.num_heads, self.config.head_dim
        bits = unpack(packed, self.config.embed_dim).reshape(-1, heads, inner)
        padded = np.zeros((len(bits), heads, self.layout.shape.head_groups * self.layout.columns), np.uint8)
        padded[:, :, :inner] = bits
        return pack(padded.reshape(len(bits), -1))

    def _rows(self, stream: Stream) -> list[range]:
        """Rows of the weights that each operation of a stream has as its first columns."""
        made = [self.layout.made(stream, number) for number in range(self.layout.shape.operations[stream])]
        if stream is not Stream.QKV:
            return [one.channels for one in made]
        bases = [QKV_ROWS[one.part] * self.config.embed_dim for one in made if one.part is not None]
        return [range(b + one.channels.start, b + one.channels.stop) for b, one in zip(bases, made, strict=True)]

    def _starts(self) -> list[int]:
        """Word: where each column's sum begins."""
        words = []
        for stream in Stream:
            for number in range(self.layout.shape.operations[stream]):
                name = f"the start of the sums of {self.name}{SIGNS.get(stream, LAYERS.get(stream))}"
                starts = self._start(stream, number)
                words.append(pack_fields(starts, self.layout.flow.engine.acc_bits, name, signed=True))
        return words

    def _start(self, stream: Stream, number: int) -> list[int]:
        """Where the sums of an operation begin.

        A word of the array counts equal bits p, of K + padding bits: less the padding and K/2, that is half of the dot
        product 2*p - K; less ceil(Theta / 2), it is 0 or more where the dot product is Theta or more.
        """
        config, steps = self.config, self.layout.shape.steps[stream] * WORD
        made = self.layout.made(stream, number)
        columns, low = self.layout.columns, -steps - 1
        if stream is Stream.CONTEXT:
            # With the ones of v that are added, 2*popcount(a & v) - popcount(a) is left.
            return [-steps] * columns
        if stream is Stream.SCORES:
            start = config.head_dim - WORD
            if self.layout.shape.softmax:
                return [start] * columns
            return self._beyond(
                [start - int(self._tensor("attn.attn_sign.theta")[made.head])] * len(made.channels), low
            )
        if stream is Stream.PROJ:
            # Where heads are padded, the context is 1 and the weight 0, which adds nothing.
            return [self.layout.context_columns - steps - config.embed_dim // 2] * columns
        inputs = config.hidden_dim if stream is Stream.FC2 else config.embed_dim
        start = inputs - steps - inputs // 2
        theta = self._theta(stream, made.part)
        if theta is None:
            return [start] * columns
        starts = [start - half_threshold(int(t)) for t in theta[made.channels.start : made.channels.stop]]
        return self._beyond(starts, 0 if made.part is Part.VALUE else low)

    def _beyond(self, starts: list[int], start: int) -> list[int]:
        return starts + [start] * (self.layout.columns - len(starts))

    def _theta(self, stream: Stream, part: Part | None) -> Array | None:
        """Thresholds on the sums of a layer, or None where they leave as sums."""
        if stream is Stream.FC1:
            return self._tensor("mlp.act.theta")
        if part is None or (part is not Part.VALUE and self.config.qk_mode == "layernorm"):
            return None
        return self._tensor(f"{NORMS[part]}.theta").reshape(-1)

    # Norms and attention.

    def _residual(self) -> list[int]:
        """Word: Scale and Bias of each column, of proj and then of fc2."""
        unit, formats = ResidualAddUnit(self.layout.flow), self.formats
        words = []
        for stream in (Stream.PROJ, Stream.FC2):
            scale = self._field(f"{LAYERS[stream]}.scale", formats.scale_bits)
            bias = self._field(f"{LAYERS[stream]}.bias", formats.residual_bits)
            words += structs([scale, bias], unit.columns, self.layout.layer_words)
        return words

    def _sign_norm(self) -> list[int]:
        """Word: Theta of each column, of norm1 and then of norm2."""
        unit, words = SignNormUnit(self.layout.flow), []
        for norm in ("norm1", "norm2"):
            theta = self._field(f"{norm}.theta", self.formats.theta_bits)
            words += structs([theta], unit.columns, self.layout.layer_words)
        return words

    def _head_norm(self) -> list[int]:
        """Word: Scale of each column, then Theta of each; of the heads of k and then of q."""
        if self.config.qk_mode != "layernorm":
            return []
        columns, words = HeadNormUnit(self.layout.flow).columns, []
        for part in (Part.KEY, Part.QUERY):
            scale = self._field(f"{NORMS[part]}.scale", self.formats.qk_scale_bits, signed=False)
            theta = self._field(f"{NORMS[part]}.theta", self.formats.theta_bits)
            for head in range(self.config.num_heads):
                low, high = (structs([one._replace(values=one.values[head])], columns) for one in (scale, theta))
                shift = columns * scale.bits
                words += [first | second << shift for first, second in zip(low, high, strict=True)]
        return words

    def _eps(self, norms: tuple[str, ...], count: int) -> list[int]:
        """Word: one Eps; 0 in modes that have none."""
        none = np.zeros(count, np.int64)
        return [
            pack_fields([eps], EPS_BITS, f"{self.name}{norm}.eps")
            for norm in norms
            for eps in self.tensors.get(f"{self.name}{norm}.eps", none)
        ]

    def _tables(self) -> list[int]:
        """Words of a head: Tau, then Exp[1] to Exp[64], 0 beyond E; in mode `score` none, or Theta beside a bias."""
        name = "attn.attn_sign"
        if self.config.attn_mode != "softmax":
            if not self.layout.shape.biased:
                return []
            thetas = self._tensor(f"{name}.theta")
            return [word for theta in thetas.tolist() for word in (theta, *[0] * (TABLE_WORDS - 1))]
        exp, tau, words = self._tensor(f"{name}.exp"), self._tensor(f"{name}.tau"), list[int]()
        for head in range(self.config.num_heads):
            found = [pack_fields([tau[head]], TABLE_BITS, f"{self.name}{name}.tau")]
            found += [pack_fields([entry], EXP_BITS, f"{self.name}{name}.exp") for entry in exp[head][1:]]
            words += found + [0] * (TABLE_WORDS - len(found))
        return words

    def _field(self, tensor: str, bits: int, *, signed: bool = True) -> Field:
        return Field(self.name + tensor, self._tensor(tensor), bits, signed)


def structs(fields: list[Field], columns: int, words: int | None = None) -> list[int]:
    """Pack fields side by side, `columns` elements a word, as an array of structs; columns beyond them are 0."""
    count = words or ceil_div(len(fields[0].values), columns)
    packed = [0] * count
    of = sum(field.bits for field in fields)
    shift = 0
    for name, values, bits, signed in fields:
        for at, value in enumerate(values):
            word, column = divmod(at, columns)
            packed[word] |= pack_fields([value], bits, name, signed=signed) << column * of + shift
        shift += bits
    return packed
