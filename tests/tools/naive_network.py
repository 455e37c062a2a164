"""The whole network in plain Python, one image at a time: composes `naive`, shares no code with the reference."""

from typing import Any

import numpy as np

import naive
from bivit.sim.bits import unpack
from bivit.sim.network.blocks import BlockShape, MergeShape
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.taps import tap_names, tap_shapes
from bivit.sim.reference.run import run_reference

Taps = dict[str, Any]


class NaiveNetwork:
    """Runs one image and leaves every tensor of docs/network.md, Taps, in `taps` as nested lists."""

    def __init__(self, network: IntNetwork) -> None:
        self.config = network.config
        self.formats = network.formats
        self.tensors = {name: tensor.tolist() for name, tensor in network.tensors.items()}
        for stage in self.config.stages:
            for block in stage.blocks:
                for layer, inputs in (
                    ("attn.qkv", block.embed_dim),
                    ("attn.proj", block.embed_dim),
                    ("mlp.fc1", block.embed_dim),
                    ("mlp.fc2", block.hidden_dim),
                ):
                    self.unpack(network, f"{block.name}.{layer}.weight", inputs)
            if stage.merge is not None:
                self.unpack(network, f"{stage.merge.name}.reduction.weight", 4 * stage.merge.embed_dim)
        self.taps: Taps = {}
        self.saturations = 0
        self.empty_rows = 0

    def unpack(self, network: IntNetwork, name: str, inputs: int) -> None:
        assert network.tensors[name].dtype == np.uint64
        self.tensors[name] = unpack(network.tensors[name], inputs).tolist()

    def run(self, image: np.ndarray) -> naive.Row:
        x = self.patch_embed(image.tolist())
        for stage in self.config.stages:
            if stage.merge is not None:
                x = self.merge(stage.merge, x)
            for block in stage.blocks:
                x = self.block(block, x)
        return self.head(x)

    def saturate(self, exact: naive.Row) -> naive.Row:
        row, saturations = naive.saturate_row(exact, self.formats.residual_bits)
        self.saturations += saturations
        return row

    def patch_embed(self, image: list[naive.Rows]) -> naive.Rows:
        weight, scale, bias, (shift,) = (
            self.tensors[f"patch_embed.proj.{name}"] for name in ("weight", "scale", "bias", "shift")
        )
        rows = [
            naive.patch_embed(patch, weight, scale, bias, shift)
            for patch in naive.patches(image, self.config.patch_size)
        ]
        if self.config.family == "swin":
            x = self.patch_norm([self.saturate(row) for row in rows])
        else:
            position = self.tensors["pos_embed"]
            prefix = len(position) - len(rows)
            x = position[:prefix] + [
                self.saturate([value + place for value, place in zip(row, position[prefix + index], strict=True)])
                for index, row in enumerate(rows)
            ]
        self.taps["patch_embed"] = x
        return x

    def patch_norm(self, rows: naive.Rows) -> naive.Rows:
        name, frac = "patch_embed.norm", self.formats.residual_frac_bits
        scale, bias, (eps,) = (self.tensors[f"{name}.{part}"] for part in ("scale", "bias", "eps"))
        normalised = self.normalise(name, rows, eps, frac)
        self.taps["patch_embed.proj"] = rows
        return [self.saturate(naive.affine(y, scale, bias, frac)) for y in normalised]

    def normalise(self, name: str, rows: naive.Rows, eps: int, frac_bits: int) -> naive.Rows:
        full = [naive.normalise(row, eps, self.formats.norm_shift, self.formats.head_m, frac_bits) for row in rows]
        for position, part in enumerate(("s1", "r", "q")):
            self.taps[f"{name}.{part}"] = [row[position] for row in full]
        return [row[3] for row in full]

    def merge(self, merge: MergeShape, x: naive.Rows) -> naive.Rows:
        bits = self.sign_norm(f"{merge.name}.norm", naive.merge_neighbours(x, merge.grid))
        nothing = [[0] * 2 * merge.embed_dim for _ in bits]
        x = self.taps[merge.name] = self.product_add(f"{merge.name}.reduction", nothing, bits)
        return x

    def block(self, block: BlockShape, x: naive.Rows) -> naive.Rows:
        name = block.name
        bits = self.attention(block, self.sign_norm(f"{name}.norm1", x))
        x = self.taps[f"{name}.add1"] = self.product_add(f"{name}.attn.proj", x, bits)
        fc1 = self.linear(f"{name}.mlp.fc1", self.sign_norm(f"{name}.norm2", x))
        act = [naive.threshold_sign(row, self.tensors[f"{name}.mlp.act.theta"]) for row in fc1]
        self.taps[f"{name}.mlp.act"] = act
        x = self.taps[f"{name}.add2"] = self.product_add(f"{name}.mlp.fc2", x, act)
        return x

    def sign_norm(self, name: str, x: naive.Rows) -> naive.Rows:
        formats, theta = self.formats, self.tensors[f"{name}.theta"]
        if self.config.norm_mode == "mean":
            rows = [naive.sign_norm_mean(row, theta, formats.norm_shift, formats.mean_shift) for row in x]
            r = [2 ** (formats.theta_frac_bits + formats.mean_shift)] * len(x)
        else:
            (eps,) = self.tensors[f"{name}.eps"]
            full = [naive.sign_norm(row, theta, eps, formats.norm_shift, formats.theta_frac_bits) for row in x]
            rows, r = [row[:2] for row in full], [row[2] for row in full]
        self.taps[f"{name}.s1"], self.taps[f"{name}.r"] = [s1 for _, s1 in rows], r
        self.taps[name] = [bits for bits, _ in rows]
        return self.taps[name]

    def linear(self, name: str, bits: naive.Rows) -> naive.Rows:
        self.taps[name] = [naive.binary_linear(row, self.tensors[f"{name}.weight"]) for row in bits]
        return self.taps[name]

    def product_add(self, name: str, x: naive.Rows, bits: naive.Rows) -> naive.Rows:
        scale, bias = self.tensors[f"{name}.scale"], self.tensors[f"{name}.bias"]
        rows = []
        for residual, acc in zip(x, self.linear(name, bits), strict=True):
            row, saturations = naive.residual_add(residual, acc, scale, bias, self.formats.residual_bits)
            rows.append(row)
            self.saturations += saturations
        return rows

    def attention(self, block: BlockShape, bits: naive.Rows) -> naive.Rows:
        attn = f"{block.name}.attn"
        qkv = self.linear(f"{attn}.qkv", bits)
        if block.window is None:
            taps, rows = self.window(block, qkv, None)
            self.taps |= taps
        else:
            rows = [[]] * len(qkv)
            members = naive.window_tokens(block.grid, block.window, block.shift)
            allowed = naive.window_allowed(block.grid, block.window, block.shift)
            for tokens, pairs in zip(members, allowed, strict=True):
                taps, contexts = self.window(block, [qkv[token] for token in tokens], pairs)
                for name, values in taps.items():
                    self.taps.setdefault(name, []).append(values)
                for token, row in zip(tokens, contexts, strict=True):
                    rows[token] = row
        self.taps[f"{attn}.context.c"] = [[c for c, _ in row] for row in rows]
        self.taps[f"{attn}.context"] = [[bit for _, bit in row] for row in rows]
        return self.taps[f"{attn}.context"]

    def window(
        self, block: BlockShape, qkv: naive.Rows, allowed: list[list[bool]] | None
    ) -> tuple[Taps, list[list[tuple[int, int]]]]:
        """Taps of one window, head by head, and c and bit of each of its tokens' channels."""
        attn, width, head_dim = f"{block.name}.attn", block.embed_dim, block.head_dim
        taps: Taps = {}
        contexts: list[list[tuple[int, int]]] = [[] for _ in qkv]
        for head in range(block.num_heads):
            start = head * head_dim
            acc_q, acc_k, acc_v = (
                [row[part * width + start : part * width + start + head_dim] for row in qkv] for part in range(3)
            )
            q = self.head_norm(taps, f"{attn}.q_norm", head, acc_q)
            k = self.head_norm(taps, f"{attn}.k_norm", head, acc_k)
            theta = self.tensors[f"{attn}.v_sign.theta"][start : start + head_dim]
            v = [naive.threshold_sign(row, theta) for row in acc_v]
            p = naive.scores(q, k)
            if block.window is not None and allowed is not None:
                bias = [row[head] for row in self.tensors[f"{attn}.relative_position_bias_table"]]
                p = naive.biased_scores(p, bias, block.window, allowed)
            put_head(taps, f"{attn}.v_sign", v)
            put_head(taps, f"{attn}.scores", p)
            for token, row in enumerate(self.attention_bits(taps, f"{attn}.attn_sign", head, p)):
                c, signs = naive.context(row, v)
                contexts[token] += list(zip(c, signs, strict=True))
        return taps, contexts

    def head_norm(self, taps: Taps, name: str, head: int, acc: naive.Rows) -> naive.Rows:
        if self.config.qk_mode == "threshold":
            bits = [naive.threshold_sign(row, self.tensors[f"{name}.theta"][head]) for row in acc]
        else:
            theta, scale, eps = (self.tensors[f"{name}.{part}"][head] for part in ("theta", "scale", "eps"))
            rows = [naive.head_norm(row, theta, scale, eps, self.formats.theta_frac_bits) for row in acc]
            put_head(taps, f"{name}.s1", [s1 for _, s1, _ in rows])
            put_head(taps, f"{name}.r", [r for _, _, r in rows])
            bits = [bits for bits, _, _ in rows]
        put_head(taps, name, bits)
        return bits

    def attention_bits(self, taps: Taps, name: str, head: int, p: naive.Rows) -> naive.Rows:
        if self.config.attn_mode == "score":
            bits = [naive.score_threshold(row, self.tensors[f"{name}.theta"][head]) for row in p]
        else:
            exp, tau = self.tensors[f"{name}.exp"][head], self.tensors[f"{name}.tau"][head]
            rows = [naive.attention_threshold(row, exp, tau) for row in p]
            put_head(taps, f"{name}.m", [m for _, m, _ in rows])
            put_head(taps, f"{name}.z", [z for _, _, z in rows])
            bits = [bits for bits, _, _ in rows]
        put_head(taps, name, bits)
        self.empty_rows += sum(not any(row) for row in bits)
        return bits

    def head(self, x: naive.Rows) -> naive.Row:
        config = self.config
        if config.mean_pool:
            pooled = [naive.pool_mean(x, config.pool_shift)]
        else:
            pooled = x[: config.num_prefix_tokens]
        (eps,) = self.tensors["norm.eps"]
        self.taps["pool"] = pooled
        self.taps["norm"] = self.normalise("norm", pooled, eps, self.formats.head_frac_bits)
        y = [value for row in self.taps["norm"] for value in row]
        self.taps["head"] = naive.classify(y, self.tensors["head.weight"], self.tensors["head.bias"])
        return self.taps["head"]


def put_head(taps: Taps, name: str, value: list[Any]) -> None:
    taps.setdefault(name, []).append(value)


def run_naive(network: IntNetwork, images: np.ndarray) -> list[NaiveNetwork]:
    """One twin an image, each with the taps and counters of its run."""
    twins = [NaiveNetwork(network) for _ in images]
    for twin, image in zip(twins, images, strict=True):
        twin.run(image)
    return twins


def wrong_taps(network: IntNetwork, images: np.ndarray, twins: list[NaiveNetwork]) -> list[str]:
    """Names of the network's taps that differ from those of the twins in any element, in hardware order."""
    taps = run_reference(network, images, taps="all").taps
    return [name for name, tap in taps.items() if tap.tolist() != [twin.taps[name] for twin in twins]]


def assert_equals_naive(network: IntNetwork, images: np.ndarray) -> tuple[int, int]:
    """Compare every tap and counter with the twins'; return the saturations and the empty rows."""
    result, twins = run_reference(network, images, taps="all"), run_naive(network, images)
    assert list(result.taps) == tap_names(network.config)
    assert set(twins[0].taps) == set(result.taps)
    for name, tap in result.taps.items():
        assert tap.dtype == np.int64
        assert tap.shape == (len(images), *tap_shapes(network.config)[name]), name
    assert wrong_taps(network, images, twins) == []
    assert np.array_equal(result.logits, result.taps["head"])
    assert result.saturations == sum(twin.saturations for twin in twins)
    assert result.empty_rows == sum(twin.empty_rows for twin in twins)
    return result.saturations, result.empty_rows
