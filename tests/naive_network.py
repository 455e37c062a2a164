"""The whole network in plain Python, one image at a time: composes `naive`, shares no code with `bivit.sim.forward`."""

from typing import Any

import numpy as np

import naive
from bivit.sim.bits import unpack
from bivit.sim.network import IntNetwork

Taps = dict[str, Any]


class NaiveNetwork:
    """Runs one image and leaves every tensor of docs/network.md, Taps, in `taps` as nested lists."""

    def __init__(self, network: IntNetwork) -> None:
        self.config = network.config
        self.formats = network.formats
        self.tensors = {name: tensor.tolist() for name, tensor in network.tensors.items()}
        for name, tensor in network.tensors.items():
            if tensor.dtype == np.uint64:
                inputs = self.config.hidden_dim if name.endswith("fc2.weight") else self.config.embed_dim
                self.tensors[name] = unpack(tensor, inputs).tolist()
        self.taps: Taps = {}
        self.saturations = 0
        self.empty_rows = 0

    def run(self, image: np.ndarray) -> naive.Row:
        x = self.patch_embed(image.tolist())
        self.taps["patch_embed"] = x
        for index in range(self.config.depth):
            block = f"blocks.{index}"
            bits = self.attention(f"{block}.attn", self.sign_norm(f"{block}.norm1", x))
            x = self.taps[f"{block}.add1"] = self.product_add(f"{block}.attn.proj", x, bits)
            fc1 = self.linear(f"{block}.mlp.fc1", self.sign_norm(f"{block}.norm2", x))
            act = [naive.threshold_sign(row, self.tensors[f"{block}.mlp.act.theta"]) for row in fc1]
            self.taps[f"{block}.mlp.act"] = act
            x = self.taps[f"{block}.add2"] = self.product_add(f"{block}.mlp.fc2", x, act)
        return self.head(x)

    def patch_embed(self, image: list[naive.Rows]) -> naive.Rows:
        position = self.tensors["pos_embed"]
        prefix = self.config.num_prefix_tokens
        x = list(position[:prefix])
        for index, patch in enumerate(naive.patches(image, self.config.patch_size)):
            weight, scale, bias, (shift,) = (
                self.tensors[f"patch_embed.proj.{name}"] for name in ("weight", "scale", "bias", "shift")
            )
            row, saturations = naive.patch_embed(
                patch, weight, scale, bias, shift, position[prefix + index], self.formats.residual_bits
            )
            x.append(row)
            self.saturations += saturations
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

    def attention(self, attn: str, bits: naive.Rows) -> naive.Rows:
        width, head_dim = self.config.embed_dim, self.config.head_dim
        qkv = self.linear(f"{attn}.qkv", bits)
        heads = []
        for head in range(self.config.num_heads):
            start = head * head_dim
            acc_q, acc_k, acc_v = (
                [row[part * width + start : part * width + start + head_dim] for row in qkv] for part in range(3)
            )
            q = self.head_norm(f"{attn}.q_norm", head, acc_q)
            k = self.head_norm(f"{attn}.k_norm", head, acc_k)
            theta = self.tensors[f"{attn}.v_sign.theta"][start : start + head_dim]
            v = [naive.threshold_sign(row, theta) for row in acc_v]
            self.put_head(f"{attn}.v_sign", v)
            heads.append([naive.context(row, v) for row in self.attention_bits(attn, head, naive.scores(q, k))])
        for name, part in (("context.c", 0), ("context", 1)):
            self.taps[f"{attn}.{name}"] = [
                [value for rows in heads for value in rows[token][part]] for token in range(len(bits))
            ]
        return self.taps[f"{attn}.context"]

    def head_norm(self, name: str, head: int, acc: naive.Rows) -> naive.Rows:
        theta = self.tensors[f"{name}.theta"][head]
        if self.config.qk_mode == "threshold":
            bits = [naive.threshold_sign(row, theta) for row in acc]
        else:
            scale, eps = self.tensors[f"{name}.scale"][head], self.tensors[f"{name}.eps"][head]
            rows = [naive.head_norm(row, theta, scale, eps, self.formats.theta_frac_bits) for row in acc]
            self.put_head(f"{name}.s1", [s1 for _, s1, _ in rows])
            self.put_head(f"{name}.r", [r for _, _, r in rows])
            bits = [bits for bits, _, _ in rows]
        self.put_head(name, bits)
        return bits

    def attention_bits(self, attn: str, head: int, p: naive.Rows) -> naive.Rows:
        self.put_head(f"{attn}.scores", p)
        name = f"{attn}.attn_sign"
        if self.config.attn_mode == "score":
            bits = [naive.score_threshold(row, self.tensors[f"{name}.theta"][head]) for row in p]
        else:
            exp, tau = self.tensors[f"{name}.exp"][head], self.tensors[f"{name}.tau"][head]
            rows = [naive.attention_threshold(row, exp, tau) for row in p]
            self.put_head(f"{name}.m", [m for _, m, _ in rows])
            self.put_head(f"{name}.z", [z for _, _, z in rows])
            bits = [bits for bits, _, _ in rows]
        self.put_head(name, bits)
        self.empty_rows += sum(not any(row) for row in bits)
        return bits

    def put_head(self, name: str, value: list[Any]) -> None:
        self.taps.setdefault(name, []).append(value)

    def head(self, x: naive.Rows) -> naive.Row:
        formats = self.formats
        if self.config.pool == "mean":
            pooled = [naive.pool_mean(x, self.config.pool_shift)]
        else:
            pooled = x[: 1 + self.config.dist_token]
        (eps,) = self.tensors["norm.eps"]
        rows = [naive.head_row(row, eps, formats.norm_shift, formats.head_m, formats.head_frac_bits) for row in pooled]
        self.taps["pool"] = pooled
        for position, name in enumerate(("norm.s1", "norm.r", "norm.q", "norm")):
            self.taps[name] = [row[position] for row in rows]
        y = [value for row in rows for value in row[3]]
        self.taps["head"] = naive.classify(y, self.tensors["head.weight"], self.tensors["head.bias"])
        return self.taps["head"]
