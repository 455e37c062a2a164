"""Integer mode of the torch model: the network of docs/semantics.md on dense tensors of +1 and -1.

It reads the artefact's tensors and shares no arithmetic with `sim`, so that equality of the two on every tap says that
two implementations agree. It favours plain matrix algebra over speed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...sim.network.blocks import BlockShape, MergeShape
from ...sim.network.network import IntNetwork
from ...sim.network.run_result import RunResult, check_images, wanted_taps
from ..vit import operators
from . import windows

#: Images that go through together.
IMAGES_A_PASS = 32


def run_integer(
    network: IntNetwork, images: NDArray[np.uint8], taps: Collection[str] | Literal["all"] | None = "all"
) -> RunResult:
    """Run images through a folded network in torch.

    Parameters
    ----------
    network : IntNetwork
    images : uint8[B, img_size, img_size, in_chans]
        B at least 1.
    taps : collection of str, "all" or None
        Names of docs/network.md to return.

    Returns
    -------
    RunResult
        Equal to that of ``sim.reference.run.run_reference``.

    Raises
    ------
    BivitError
        When the images do not fit the network or a tap's name is unknown.
    """
    check_images(images, network.config)
    wanted = wanted_taps(taps, network.config)
    groups = [images[start : start + IMAGES_A_PASS] for start in range(0, len(images), IMAGES_A_PASS)]
    passes = [_Pass(network) for _ in groups]
    logits = [one(torch.from_numpy(group)) for one, group in zip(passes, groups, strict=True)]
    return RunResult(
        logits=torch.cat(logits).numpy(),
        taps={name: torch.cat([one.taps[name] for one in passes]).numpy() for name in wanted},
        saturations=sum(one.saturations for one in passes),
        empty_rows=sum(one.empty_rows for one in passes),
    )


class _Pass:
    """One pass of a few images, with every tap kept (int64, batch first) and with what it counts."""

    def __init__(self, network: IntNetwork) -> None:
        self.config, self.formats, self.tensors = network.config, network.formats, network.tensors
        self.taps: dict[str, Tensor] = {}
        self.saturations = 0
        self.empty_rows = 0

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        x = self._patch_embed(images)
        for stage in self.config.stages:
            if stage.merge is not None:
                x = self._merge(stage.merge, x)
            for block in stage.blocks:
                x = self._block(block, x)
        return self._head(x)

    def _block(self, block: BlockShape, x: Tensor) -> Tensor:
        name, mode = block.name, block.norm_mode
        context = self._attention(f"{name}.attn", block, self._sign_norm(f"{name}.norm1", x, mode))
        x = self._residual_add(f"{name}.attn.proj", f"{name}.add1", x, context)
        hidden = self._linear(f"{name}.mlp.fc1", self._sign_norm(f"{name}.norm2", x, mode))
        bits = self._tap(f"{name}.mlp.act", (hidden >= self._get(f"{name}.mlp.act.theta")).long())
        return self._residual_add(f"{name}.mlp.fc2", f"{name}.add2", x, bits)

    def _merge(self, merge: MergeShape, x: Tensor) -> Tensor:
        bits = self._sign_norm(f"{merge.name}.norm", operators.merge_neighbours(x, merge.grid), merge.norm_mode)
        return self._residual_add(f"{merge.name}.reduction", merge.name, torch.zeros(1, dtype=torch.int64), bits)

    def _get(self, name: str) -> Tensor:
        return torch.from_numpy(self.tensors[name].astype(np.int64))

    def _tap(self, name: str, values: Tensor) -> Tensor:
        self.taps[name] = values
        return values

    def _saturate(self, values: Tensor) -> Tensor:
        result = operators.saturate(values, self.formats.residual_bits)
        self.saturations += int((result != values).sum())
        return result

    def _patch_embed(self, images: Tensor) -> Tensor:
        name, config = "patch_embed.proj", self.config
        pixels = operators.patches(images, config.patch_size).long()
        weight, scale, bias = (self._get(f"{name}.{key}") for key in ("weight", "scale", "bias"))
        patches = operators.patch_embed(pixels, weight, scale, bias, int(self._get(f"{name}.shift")))
        if config.patch_norm:
            x = self._patch_norm("patch_embed.norm", self._tap(name, self._saturate(patches)))
        else:
            prefix = patches.new_zeros(len(patches), config.num_prefix_tokens, config.embed_dim)
            x = torch.cat([prefix, patches], 1) + self._get("pos_embed")
        return self._tap("patch_embed", self._saturate(x))

    def _patch_norm(self, name: str, x: Tensor) -> Tensor:
        frac_bits = self.formats.residual_frac_bits
        y = self._normalise(name, x, frac_bits)
        return operators.affine(y, self._get(f"{name}.scale"), self._get(f"{name}.bias"), frac_bits)

    def _normalise(self, name: str, x: Tensor, frac_bits: int) -> Tensor:
        shifted, formats = x >> self.formats.norm_shift, self.formats
        y, s1, root, quotient = operators.normalise(shifted, self._get(f"{name}.eps"), frac_bits, formats)
        for key, value in (("s1", s1), ("r", root), ("q", quotient)):
            self._tap(f"{name}.{key}", value[..., 0])
        return y

    def _sign_norm(self, name: str, x: Tensor, mode: str) -> Tensor:
        eps = self._get(f"{name}.eps") if mode == "layernorm" else None
        bits, s1, root = operators.sign_norm(
            x >> self.formats.norm_shift, self._get(f"{name}.theta"), eps, self.formats
        )
        self._tap(f"{name}.s1", s1[..., 0])
        self._tap(f"{name}.r", root[..., 0])
        return self._tap(name, bits)

    def _linear(self, name: str, bits: Tensor) -> Tensor:
        weight = _signs(self.tensors[f"{name}.weight"], bits.shape[-1])
        return self._tap(name, operators.signed_matmul(2 * bits - 1, weight))

    def _residual_add(self, name: str, add: str, x: Tensor, bits: Tensor) -> Tensor:
        acc = self._linear(name, bits)
        return self._tap(add, self._saturate(x + self._get(f"{name}.scale") * acc + self._get(f"{name}.bias")))

    def _attention(self, attn: str, block: BlockShape, bits: Tensor) -> Tensor:
        heads, head_dim = block.num_heads, block.head_dim
        rows = windows.split(self._linear(f"{attn}.qkv", bits), block)
        # [..., n, 3 * D] to three of [..., H, n, E]; the leading axes are images, and windows where there are any.
        acc = rows.unflatten(-1, (3, heads, head_dim)).movedim(-3, 0).transpose(-2, -3)
        q, k = (self._query_or_key(f"{attn}.{part}", acc[i], block) for i, part in enumerate(("q_norm", "k_norm")))
        v = self._tap(f"{attn}.v_sign", (acc[2] >= self._get(f"{attn}.v_sign.theta").view(heads, 1, head_dim)).long())
        # Popcounts of agreement: half of the dot product of signs plus the length.
        p = (operators.signed_matmul(2 * q - 1, 2 * k - 1) + head_dim) >> 1
        if block.window is not None:
            p = windows.add_bias(p, self._get(f"{attn}.relative_position_bias_table"), block)
        a = self._attention_bits(f"{attn}.attn_sign", self._tap(f"{attn}.scores", p), block)
        c = operators.signed_matmul(a, (2 * v - 1).transpose(-1, -2)).transpose(-2, -3).flatten(-2)
        c = self._tap(f"{attn}.context.c", windows.join(c, block))
        return self._tap(f"{attn}.context", (c >= 0).long())

    def _query_or_key(self, name: str, acc: Tensor, block: BlockShape) -> Tensor:
        theta = self._get(f"{name}.theta")[:, None]
        if block.qk_mode == "threshold":
            return self._tap(name, (acc >= theta).long())
        x = acc * self._get(f"{name}.scale")[:, None]
        bits, s1, root = operators.sign_norm(x, theta, self._get(f"{name}.eps").view(-1, 1, 1), self.formats)
        self._tap(f"{name}.s1", s1[..., 0])
        self._tap(f"{name}.r", root[..., 0])
        return self._tap(name, bits)

    def _attention_bits(self, name: str, p: Tensor, block: BlockShape) -> Tensor:
        allowed = p >= 0
        if block.attn_mode == "score":
            bits = (p >= self._get(f"{name}.theta").view(-1, 1, 1)) & allowed
        else:
            highest = p.amax(-1, keepdim=True)
            head = torch.arange(block.num_heads).view(-1, 1, 1)
            weights = self._get(f"{name}.exp")[head, torch.where(allowed, highest - p, 0)] * allowed
            above, z = operators.attention_threshold(weights, self._get(f"{name}.tau"))
            bits = (above == 1) & allowed
            self._tap(f"{name}.m", highest[..., 0])
            self._tap(f"{name}.z", z[..., 0])
        self.empty_rows += int((~bits.any(-1)).sum())
        return self._tap(name, bits.long())

    def _head(self, x: Tensor) -> Tensor:
        config = self.config
        rows = x.sum(1, keepdim=True) >> config.pool_shift if config.mean_pool else x[:, : config.num_prefix_tokens]
        y = self._tap("norm", self._normalise("norm", self._tap("pool", rows), self.formats.head_frac_bits))
        logits = operators.signed_matmul(y.flatten(1), self._get("head.weight")) + self._get("head.bias")
        return self._tap("head", logits)


def _signs(words: NDArray[Any], length: int) -> Tensor:
    """Unpack rows of bits (docs/network.md, Bit order) into int64 +1 and -1."""
    index = torch.arange(length)
    bits = torch.from_numpy(words.astype(np.int64))[:, index // 64] >> (index % 64) & 1
    return 2 * bits - 1
