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

from ..sim.errors import check
from ..sim.network import IntNetwork, RunResult, check_images
from ..sim.taps import tap_names
from . import operators

#: Images that go through together.
CHUNK = 32


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
        Equal to that of ``network.run(images, taps)``.

    Raises
    ------
    BivitError
        When the images do not fit the network or a tap's name is unknown.
    """
    check_images(images, network.config)
    known = tap_names(network.config)
    wanted = set(known if taps == "all" else taps or ())
    unknown = sorted(wanted - set(known))
    check(not unknown, f"there are no taps {', '.join(unknown)}; `bivit.sim.taps.tap_names` lists the names")
    passes = [_Pass(network) for _ in range(0, len(images), CHUNK)]
    logits = [one(torch.from_numpy(images[i * CHUNK : (i + 1) * CHUNK])) for i, one in enumerate(passes)]
    return RunResult(
        logits=torch.cat(logits).numpy(),
        taps={name: torch.cat([one.taps[name] for one in passes]).numpy() for name in known if name in wanted},
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
        for index in range(self.config.depth):
            block = f"blocks.{index}"
            context = self._attention(f"{block}.attn", self._sign_norm(f"{block}.norm1", x))
            x = self._residual_add(f"{block}.attn.proj", f"{block}.add1", x, context)
            hidden = self._linear(f"{block}.mlp.fc1", self._sign_norm(f"{block}.norm2", x))
            bits = self._tap(f"{block}.mlp.act", (hidden >= self._get(f"{block}.mlp.act.theta")).long())
            x = self._residual_add(f"{block}.mlp.fc2", f"{block}.add2", x, bits)
        return self._head(x)

    def _get(self, name: str) -> Tensor:
        return torch.from_numpy(self.tensors[name].astype(np.int64))

    def _optional(self, name: str) -> Tensor | None:
        return self._get(name) if name in self.tensors else None

    def _tap(self, name: str, values: Tensor) -> Tensor:
        self.taps[name] = values
        return values

    def _saturate(self, values: Tensor) -> Tensor:
        result = operators.saturate(values, self.formats.residual_bits)
        self.saturations += int((result != values).sum())
        return result

    def _patch_embed(self, images: Tensor) -> Tensor:
        name = "patch_embed.proj"
        pixels = operators.patches(images, self.config.patch_size).long()
        weight, scale, bias = (self._get(f"{name}.{key}") for key in ("weight", "scale", "bias"))
        patches = operators.patch_embed(pixels, weight, scale, bias, int(self._get(f"{name}.shift")))
        prefix = patches.new_zeros(len(patches), self.config.num_prefix_tokens, self.config.embed_dim)
        return self._tap("patch_embed", self._saturate(torch.cat([prefix, patches], 1) + self._get("pos_embed")))

    def _sign_norm(self, name: str, x: Tensor) -> Tensor:
        bits, s1, root = operators.sign_norm(
            x >> self.formats.norm_shift, self._get(f"{name}.theta"), self._optional(f"{name}.eps"), self.formats
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

    def _attention(self, attn: str, bits: Tensor) -> Tensor:
        batch, tokens, channels = bits.shape
        heads, head_dim = self.config.num_heads, self.config.head_dim
        acc = self._linear(f"{attn}.qkv", bits).view(batch, tokens, 3, heads, head_dim).permute(2, 0, 3, 1, 4)
        q, k = self._query_or_key(f"{attn}.q_norm", acc[0]), self._query_or_key(f"{attn}.k_norm", acc[1])
        v = self._tap(f"{attn}.v_sign", (acc[2] >= self._get(f"{attn}.v_sign.theta").view(heads, 1, head_dim)).long())
        # Popcounts of agreement: half of the dot product of signs plus the length.
        p = self._tap(f"{attn}.scores", (operators.signed_matmul(2 * q - 1, 2 * k - 1) + head_dim) >> 1)
        a = self._attention_bits(f"{attn}.attn_sign", p)
        c = operators.signed_matmul(a, (2 * v - 1).transpose(-1, -2)).transpose(1, 2).reshape(batch, tokens, channels)
        self._tap(f"{attn}.context.c", c)
        return self._tap(f"{attn}.context", (c >= 0).long())

    def _query_or_key(self, name: str, acc: Tensor) -> Tensor:
        theta = self._get(f"{name}.theta")[:, None]
        if self.config.qk_mode == "threshold":
            return self._tap(name, (acc >= theta).long())
        x = acc * self._get(f"{name}.scale")[:, None]
        bits, s1, root = operators.sign_norm(x, theta, self._get(f"{name}.eps").view(-1, 1, 1), self.formats)
        self._tap(f"{name}.s1", s1[..., 0])
        self._tap(f"{name}.r", root[..., 0])
        return self._tap(name, bits)

    def _attention_bits(self, name: str, p: Tensor) -> Tensor:
        if self.config.attn_mode == "score":
            bits = (p >= self._get(f"{name}.theta").view(-1, 1, 1)).long()
        else:
            highest = p.amax(-1, keepdim=True)
            head = torch.arange(self.config.num_heads).view(-1, 1, 1)
            bits, z = operators.attention_threshold(
                self._get(f"{name}.exp")[head, highest - p], self._get(f"{name}.tau")
            )
            self._tap(f"{name}.m", highest[..., 0])
            self._tap(f"{name}.z", z[..., 0])
        self.empty_rows += int((bits.sum(-1) == 0).sum())
        return self._tap(name, bits)

    def _head(self, x: Tensor) -> Tensor:
        config, formats = self.config, self.formats
        mean = config.pool == "mean"
        rows = x.sum(1, keepdim=True) >> config.pool_shift if mean else x[:, : config.num_prefix_tokens]
        self._tap("pool", rows)
        y, s1, root, quotient = operators.normalise(rows >> formats.norm_shift, self._get("norm.eps"), formats)
        for key, value in (("s1", s1), ("r", root), ("q", quotient)):
            self._tap(f"norm.{key}", value[..., 0])
        self._tap("norm", y)
        logits = operators.signed_matmul(y.flatten(1), self._get("head.weight")) + self._get("head.bias")
        return self._tap("head", logits)


def _signs(words: NDArray[Any], length: int) -> Tensor:
    """Unpack rows of bits (docs/network.md, Bit order) into int64 +1 and -1."""
    index = torch.arange(length)
    bits = torch.from_numpy(words.view(np.int64))[:, index // 64] >> (index % 64) & 1
    return 2 * bits - 1
