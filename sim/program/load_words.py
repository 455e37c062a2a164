"""The words of a network for the memories of an engine: what the load stream carries.

Each word is written at the address that the program's place gave its parameter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..engine.config import EngineConfig
from ..engine.fields import half_threshold, pack_field, pack_fields
from ..engine.memories import SETTINGS, TABLE_BITS, TABLE_WORDS
from ..engine.words import WORD
from ..network.file import network_hash
from ..network.formats import DENSE_WEIGHT_BITS, EPS_BITS, EXP_BITS, HEAD_BIAS_BITS, PATCH_BIAS_BITS, PATCH_SCALE_BITS
from ..network.network import IntNetwork
from .compiler import Program
from .graph import Param
from .layout import Layout
from .place import Place

Words = dict[str, dict[int, list[int]]]
Array = np.ndarray[Any, Any]


class _Column(NamedTuple):
    """Values of one field of the structs of a memory, an element a lane."""

    name: str
    values: Array
    bits: int
    signed: bool = True


def load_words(network: IntNetwork, program: Program) -> Words:
    """Return all words of `network` and its `program`: memory name to words by first address.

    Parameters
    ----------
    network : IntNetwork
        Network of the shape that `program` was compiled for.
    program : Program
        The compiled program.

    Raises
    ------
    BivitError
        When a value does not fit its field: which one, its range, what was got.
    """
    memories = _Memories(program.place)
    parameters = _Parameters(network, program.layout, memories)
    for number in range(program.layout.config.depth):
        parameters.block(number)
    parameters.once()
    first = {
        "settings": {0: parameters.settings()},
        "program": {0: program.words()},
        "edge_program": {0: program.edge_words()},
    }
    return first | {
        memory: memories.runs(memory) for memory in program.layout.engine.load_memories if memory not in first
    }


class _Memories:
    """Words by address, in each memory."""

    def __init__(self, place: Place):
        self.place = place
        self._words: dict[str, dict[int, int]] = {}

    def put(self, param: Param, block: int, words: list[int]) -> None:
        """Write the words of a run of parameters."""
        memory, first = self._words.setdefault(param.memory, {}), self.place.param(param, block)
        for address, word in enumerate(words, first):
            if address in memory:
                raise ValueError(f"word {address} of {param.memory} is written twice, the second time by {param}")
            memory[address] = word

    def runs(self, memory: str) -> dict[int, list[int]]:
        """Return words without gaps by the address of the first; one empty run when there is none."""
        runs: dict[int, list[int]] = {}
        first, run = 0, list[int]()
        for address, word in sorted(self._words.get(memory, {}).items()):
            if address != first + len(run):
                runs, first, run = runs | ({first: run} if run else {}), address, []
            run.append(word)
        return runs | {first: run}


class _Parameters:
    """Builds the words of each memory from the network's tensors."""

    def __init__(self, network: IntNetwork, layout: Layout, memories: _Memories):
        self.network, self.layout, self.memories = network, layout, memories
        self.config, self.formats = layout.config, network.formats
        self.engine: EngineConfig = layout.engine

    def settings(self) -> list[int]:
        """Word: one setting."""
        values = {
            "strip_beats": self.layout.strip_beats,
            "strips": self.config.grid_size,
            "network": int(network_hash(self.network)[:8], 16),
        }
        return [pack_field(values[name], bits, f"settings.{name}") for name, bits in SETTINGS]

    def block(self, number: int) -> None:
        """Write all parameters of a block."""
        prefix = f"{self.config.stages[0].blocks[number].name}."
        self._qkv(number, prefix)
        for layer, channels in (
            ("attn.proj", self.config.embed_dim),
            ("mlp.fc1", self.config.hidden_dim),
            ("mlp.fc2", self.config.embed_dim),
        ):
            for group in self.layout.groups(channels):
                self._weights(number, prefix, layer, group.index, group.channels)
        theta = self._tensor(f"{prefix}mlp.act.theta")
        for group in self.layout.groups(self.config.hidden_dim):
            starts = self._starts(f"{prefix}mlp.act", theta[group.channels.start : group.channels.stop])
            self._put("preload", "mlp.fc1", [starts], number, group.index)
        self._norms(number, prefix)
        for layer in ("attn.proj", "mlp.fc2"):
            # Word: Scale and Bias of each lane.
            scale = self._column(f"{prefix}{layer}.scale", self.formats.scale_bits)
            bias = self._column(f"{prefix}{layer}.bias", self.formats.residual_bits)
            self._put("residual", layer, self._chunks([scale, bias]), number)
        self._attention(number, prefix)

    def once(self) -> None:
        """Write all parameters outside of the blocks."""
        self._eps("norm.eps", "norm", 1, 0)
        for tensor, name in (("patch_embed.proj.weight", "patch_embed"), ("head.weight", "head")):
            self._dense(tensor, name)
        # Words: B and S of each lane; P of each lane, token by token; the bias of each lane.
        bias, scale = (
            self._column(f"patch_embed.proj.{name}", bits)
            for name, bits in (("bias", PATCH_BIAS_BITS), ("scale", PATCH_SCALE_BITS))
        )
        self._put("patch_params", "patch_embed", self._chunks([bias, scale]))
        positions = self._column("pos_embed", self.formats.residual_bits)
        self._put("positions", "pos_embed", self._chunks([positions]))
        # Classes are padded to whole groups of dense lanes.
        padded = np.zeros(self.layout.class_groups * self.engine.dense_lanes, np.int64)
        padded[: self.config.num_classes] = self._tensor("head.bias")
        self._put("head_bias", "head", self._chunks([_Column("head.bias", padded, HEAD_BIAS_BITS)]))

    def _put(self, memory: str, name: str, words: list[int], block: int = 0, item: int = 0) -> None:
        self.memories.put(Param(memory, name, item), block, words)

    def _tensor(self, name: str) -> Array:
        return self.network.tensors[name]

    # The array.

    def _qkv(self, block: int, prefix: str) -> None:
        """Weights and starts of q, k and v, group by group of each head."""
        for number, part in enumerate("qkv"):
            theta = self._qkv_theta(prefix, part)
            for head in range(self.config.num_heads):
                for group in self.layout.groups_of_head(head):
                    index, at = self.layout.qkv_group(number, head, group.index), group.channels
                    base = number * self.config.embed_dim
                    self._weights(block, prefix, "attn.qkv", index, range(base + at.start, base + at.stop))
                    starts = self._starts(f"{prefix}attn.qkv", theta[at.start : at.stop])
                    self._put("preload", "attn.qkv", [starts], block, index)

    def _weights(self, block: int, prefix: str, layer: str, index: int, channels: range) -> None:
        """Word: 64 bits of each of C output channels."""
        rows = self._tensor(f"{prefix}{layer}.weight")[channels.start : channels.stop]
        words = [pack_fields(rows[:, step], WORD, f"{prefix}{layer}") for step in range(rows.shape[1])]
        self._put("weights", layer, words, block, index)

    def _qkv_theta(self, prefix: str, part: str) -> Array:
        """Thresholds on the sums of q, k or v; 0 where a norm follows instead (its words are never read)."""
        if part == "v":
            return self._tensor(f"{prefix}attn.v_sign.theta")
        if self.config.qk_mode == "threshold":
            return self._tensor(f"{prefix}attn.{part}_norm.theta").reshape(-1)
        return np.zeros(self.config.embed_dim, np.int64)

    def _starts(self, name: str, theta: Array) -> int:
        """Word: start of each column's sum of D products, in halves of a dot product, less ceil(Theta / 2).

        acc = 2 * sum, so acc >= Theta is sum >= ceil(Theta / 2); see `sim.program.array_tasks`.
        """
        d = self.config.embed_dim
        start = -(self.layout.embed_words * WORD - d) - d // 2
        starts = (start - half_threshold(int(t)) for t in theta)
        return pack_fields(starts, self.engine.acc_bits, f"the start of {name}'s sum", signed=True)

    # Norms and attention.

    def _norms(self, block: int, prefix: str) -> None:
        """Words: Theta of each lane; Theta and Scale of each lane where q and k are normalised; Eps."""
        for norm in ("norm1", "norm2"):
            theta = self._column(f"{prefix}{norm}.theta", self.formats.theta_bits)
            self._put("sign_norm", norm, self._chunks([theta]), block)
            self._eps(f"{prefix}{norm}.eps", norm, 1, block)
        for norm in ("attn.q_norm", "attn.k_norm"):
            self._eps(f"{prefix}{norm}.eps", norm, self.config.num_heads, block)
            if self.config.qk_mode == "layernorm":
                theta = self._column(f"{prefix}{norm}.theta", self.formats.theta_bits)
                scale = self._column(f"{prefix}{norm}.scale", self.formats.qk_scale_bits, signed=False)
                self._put("head_norm", norm, self._chunks([theta, scale]), block)

    def _eps(self, tensor: str, name: str, count: int, block: int) -> None:
        """Word: one Eps; 0 in modes that have none."""
        for item, eps in enumerate(self.network.tensors.get(tensor, np.zeros(count, np.int64))):
            self._put("norm_eps", name, [pack_field(eps, EPS_BITS, tensor)], block, item)

    def _attention(self, block: int, prefix: str) -> None:
        """Words of a head: Tau, then Exp[1] to Exp[64], 0 beyond E; or, in mode `score`, a start."""
        name = f"{prefix}attn.attn_sign"
        if self.config.attn_mode == "score":
            for head, theta in enumerate(self._tensor(f"{name}.theta")):
                starts = [-int(theta)] * self.engine.columns
                word = pack_fields(starts, self.engine.acc_bits, name, signed=True)
                self._put("preload", "attn.attn_sign", [word], block, head)
            return
        exp, tau = self._tensor(f"{name}.exp"), self._tensor(f"{name}.tau")
        for head in range(self.config.num_heads):
            words = [pack_field(tau[head], TABLE_BITS, f"{name}.tau")]
            words += [pack_field(entry, EXP_BITS, f"{name}.exp") for entry in exp[head][1:]]
            self._put("tables", "attn.attn_sign", words + [0] * (TABLE_WORDS - len(words)), block, head)

    # Patch embedding and classifier.

    def _dense(self, tensor: str, name: str) -> None:
        """Word: int8 weights of one input for each dense lane, group by group."""
        matrix, lanes = self._tensor(tensor), self.engine.dense_lanes
        for item, at in enumerate(range(0, matrix.shape[0], lanes)):
            columns = (matrix[at : at + lanes, k] for k in range(matrix.shape[1]))
            words = [pack_fields(column, DENSE_WEIGHT_BITS, tensor, signed=True) for column in columns]
            self._put("dense_weights", name, words, item=item)

    def _column(self, tensor: str, bits: int, *, signed: bool = True) -> _Column:
        return _Column(tensor, self._tensor(tensor).reshape(-1), bits, signed)

    def _chunks(self, columns: list[_Column]) -> list[int]:
        """Pack columns side by side, `lanes` elements a word, as an array of structs."""
        lanes, word_bits = self.engine.lanes, sum(column.bits for column in columns)
        words = []
        for at in range(0, len(columns[0].values), lanes):
            word = 0
            for lane in range(lanes):
                shift = lane * word_bits
                for name, values, bits, signed in columns:
                    word |= pack_field(values[at + lane], bits, name, signed=signed) << shift
                    shift += bits
            words.append(word)
        return words
