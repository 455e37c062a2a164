"""The words of a network for the memories of an engine: what the load stream carries."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..engine.config import EngineConfig
from ..engine.fields import pack_field, pack_fields
from ..engine.memories import SETTINGS, TABLE_BITS
from ..engine.words import WORD
from ..network.file import network_hash
from ..network.formats import DENSE_WEIGHT_BITS, EPS_BITS, EXP_BITS, HEAD_BIAS_BITS, PATCH_BIAS_BITS, PATCH_SCALE_BITS
from ..network.network import IntNetwork
from .compiler import Program
from .layout import Group, Layout

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
    image = _Image(network, program.layout)
    return {
        "settings": {0: image.settings()},
        "program": {0: program.words()},
        "weights": {0: image.weights()},
        "preload": {0: image.preload()},
        "sign_norm": {0: image.sign_norm()},
        "head_norm": {0: image.head_norm()},
        "residual": {0: image.residual()},
        "tables": {0: image.tables()},
        "dense_weights": {0: image.dense_weights()},
        "patch_params": {0: image.patch_params()},
        "positions": {0: image.positions()},
        "norm_eps": {0: image.norm_eps()},
        "head_bias": {0: image.head_bias()},
    }


class _Image:
    """Builds the words of each memory from the network's tensors."""

    def __init__(self, network: IntNetwork, layout: Layout):
        self.network, self.layout = network, layout
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

    def _tensor(self, block: str, name: str) -> Array:
        return self.network.tensors[f"{block}.{name}"]

    def _qkv_groups(self) -> list[tuple[str, Group]]:
        """All groups of qkv in address order: part, and rows of the weight matrix."""
        d, groups = self.config.embed_dim, []
        for index, part in enumerate("qkv"):
            for head in range(self.config.num_heads):
                for g in self.layout.groups_of_head(head):
                    groups.append((part, Group(g.index, index * d + g.column, g.columns)))
        return groups

    # The array.

    def weights(self) -> list[int]:
        """Word: 64 bits of each of C output channels."""
        words: list[int] = []
        layout, config = self.layout, self.config
        layers = {
            "attn.qkv": [group for _, group in self._qkv_groups()],
            "attn.proj": layout.groups(config.embed_dim),
            "mlp.fc1": layout.groups(config.hidden_dim),
            "mlp.fc2": layout.groups(config.embed_dim),
        }
        for block in layout.blocks():
            for layer, groups in layers.items():
                matrix = self._tensor(block, f"{layer}.weight")
                for group in groups:
                    rows = matrix[group.column : group.column + group.columns]
                    words += [pack_fields(rows[:, step], WORD, f"{block}.{layer}") for step in range(matrix.shape[1])]
        return words

    def preload(self) -> list[int]:
        """Word: start of each column's sum, in halves of a dot product; see `sim.program.array_operations`."""
        layout, config = self.layout, self.config
        start = -(layout.embed_words * WORD - config.embed_dim) - config.embed_dim // 2
        words = []
        for block in layout.blocks():
            for part, group in self._qkv_groups():
                theta = self._qkv_theta(block, part)
                columns = theta[group.column % config.embed_dim :][: group.columns]
                words.append(self._starts(f"{block}.attn.qkv", start, columns))
            theta = self._tensor(block, "mlp.act.theta")
            words += [
                self._starts(f"{block}.mlp.act", start, theta[g.column : g.column + g.columns])
                for g in layout.groups(config.hidden_dim)
            ]
            if config.attn_mode == "score":
                for theta in self._tensor(block, "attn.attn_sign.theta"):
                    starts = [-int(theta)] * self.engine.columns
                    words.append(pack_fields(starts, self.engine.acc_bits, f"{block}.attn.attn_sign", signed=True))
        return words

    def _qkv_theta(self, block: str, part: str) -> Array:
        """Thresholds on the sums of q, k or v; 0 where a norm follows instead (its words are never read)."""
        if part == "v":
            return self._tensor(block, "attn.v_sign.theta")
        if self.config.qk_mode == "threshold":
            return self._tensor(block, f"attn.{part}_norm.theta").reshape(-1)
        return np.zeros(self.config.embed_dim, np.int64)

    def _starts(self, name: str, start: int, theta: Array) -> int:
        """Pack `start` - ceil(Theta / 2): acc = 2 * sum, so acc >= Theta is sum >= ceil(Theta / 2)."""
        starts = (start - half_threshold(int(t)) for t in theta)
        return pack_fields(starts, self.engine.acc_bits, f"the start of {name}'s sum", signed=True)

    # Norms, residual, attention.

    def sign_norm(self) -> list[int]:
        """Word: Theta of each lane."""
        names = [f"{block}.{norm}" for block in self.layout.blocks() for norm in ("norm1", "norm2")]
        return [word for name in names for word in self._chunks([self._column(name, "theta", self.formats.theta_bits)])]

    def head_norm(self) -> list[int]:
        """Word: Theta and Scale of each lane; empty when q and k are thresholded."""
        if self.config.qk_mode == "threshold":
            return []
        words = []
        for block in self.layout.blocks():
            for norm in ("q_norm", "k_norm"):
                theta = self._column(f"{block}.attn.{norm}", "theta", self.formats.theta_bits)
                scale = self._column(f"{block}.attn.{norm}", "scale", self.formats.qk_scale_bits, signed=False)
                words += self._chunks([theta, scale])
        return words

    def residual(self) -> list[int]:
        """Word: Scale and Bias of each lane."""
        words = []
        for block in self.layout.blocks():
            for layer in ("attn.proj", "mlp.fc2"):
                scale = self._column(f"{block}.{layer}", "scale", self.formats.scale_bits)
                words += self._chunks([scale, self._column(f"{block}.{layer}", "bias", self.formats.residual_bits)])
        return words

    def tables(self) -> list[int]:
        """Words of a head: Tau, then Exp[1] to Exp[64], 0 beyond E; empty in mode `score`."""
        if self.config.attn_mode == "score":
            return []
        words = []
        for block in self.layout.blocks():
            exp = self._tensor(block, "attn.attn_sign.exp")
            tau = self._tensor(block, "attn.attn_sign.tau")
            for head in range(self.config.num_heads):
                rest = exp[head][1:]
                words.append(pack_field(tau[head], TABLE_BITS, f"{block}.attn.attn_sign.tau"))
                words += [pack_field(entry, EXP_BITS, f"{block}.attn.attn_sign.exp") for entry in rest]
                words += [0] * (WORD - len(rest))
        return words

    def norm_eps(self) -> list[int]:
        """Word: one Eps; 0 in modes that have none."""
        words = []
        heads = self.config.num_heads
        for block in self.layout.blocks():
            for norm in ("norm1", "norm2"):
                words += self._eps(f"{block}.{norm}.eps", 1)
            for norm in ("q_norm", "k_norm"):
                words += self._eps(f"{block}.attn.{norm}.eps", heads)
        return words + self._eps("norm.eps", 1)

    def _eps(self, name: str, count: int) -> list[int]:
        return [pack_field(eps, EPS_BITS, name) for eps in self.network.tensors.get(name, np.zeros(count, np.int64))]

    # Patch embedding and classifier.

    def dense_weights(self) -> list[int]:
        """Word: int8 weights of one input for each dense lane; patch embedding by group, then classifier by group."""
        return self._dense("patch_embed.proj.weight") + self._dense("head.weight")

    def _dense(self, name: str) -> list[int]:
        matrix, lanes = self.network.tensors[name], self.engine.dense_lanes
        return [
            pack_fields(matrix[at : at + lanes, k], DENSE_WEIGHT_BITS, name, signed=True)
            for at in range(0, matrix.shape[0], lanes)
            for k in range(matrix.shape[1])
        ]

    def patch_params(self) -> list[int]:
        """Word: B and S of each lane."""
        bias = self._column("patch_embed.proj", "bias", PATCH_BIAS_BITS)
        return self._chunks([bias, self._column("patch_embed.proj", "scale", PATCH_SCALE_BITS)])

    def positions(self) -> list[int]:
        """Word: P of each lane, token by token."""
        values = self.network.tensors["pos_embed"].reshape(-1)
        return self._chunks([_Column("pos_embed", values, self.formats.residual_bits)])

    def head_bias(self) -> list[int]:
        """Word: int32 bias of each lane; classes padded to whole groups of dense lanes."""
        bias = self.network.tensors["head.bias"]
        padded = np.zeros(self.layout.class_groups * self.engine.dense_lanes, np.int64)
        padded[: len(bias)] = bias
        return self._chunks([_Column("head.bias", padded, HEAD_BIAS_BITS)])

    def _column(self, unit: str, name: str, bits: int, *, signed: bool = True) -> _Column:
        return _Column(f"{unit}.{name}", self._tensor(unit, name).reshape(-1), bits, signed)

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


def half_threshold(theta: int) -> int:
    """Return ceil(Theta / 2), the threshold on half a dot product.

    >>> [half_threshold(t) for t in (-3, -2, 0, 1, 2)]
    [-1, -1, 0, 1, 1]
    """
    return -(-theta // 2)
