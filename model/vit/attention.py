"""Multi-head self-attention of both families: over all tokens (DeiT) or inside shifted windows (Swin)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...sim.network.blocks import BlockShape
from ...sim.network.windows import relative_positions, window_mask, window_tokens
from .parts import Parts


class Attention(nn.Module):
    """Multi-head self-attention.

    Parameters
    ----------
    block : BlockShape
    parts : Parts
    """

    members: Tensor
    places: Tensor
    positions: Tensor
    mask: Tensor

    def __init__(self, block: BlockShape, parts: Parts) -> None:
        super().__init__()
        self.block = block
        self.qkv = parts.linear(block.embed_dim, 3 * block.embed_dim)
        self.q_norm = parts.head_norm(block)
        self.k_norm = parts.head_norm(block)
        self.v_sign = parts.value_sign(block)
        self.attn_sign = parts.attention(block)
        self.context = parts.context_sign()
        self.proj = parts.residual_linear(block.embed_dim, block.embed_dim)
        self.relative_position_bias_table: nn.Parameter | None = None
        if block.window is not None:
            self._add_windows(block, block.window)

    def _add_windows(self, block: BlockShape, window: int) -> None:
        self.relative_position_bias_table = nn.Parameter(torch.zeros(block.bias_entries, block.num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        members = torch.from_numpy(window_tokens(block)).flatten()
        mask = window_mask(block)
        # Shapes, not parameters: they stay out of the state dict, whose keys are timm's.
        for name, value in (
            ("members", members),
            ("places", members.argsort()),
            ("positions", torch.from_numpy(relative_positions(window))),
            ("mask", None if mask is None else torch.from_numpy(mask)),
        ):
            self.register_buffer(name, value, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend.

        Parameters
        ----------
        x : float32[B, N, D]

        Returns
        -------
        out : float32[B, N, D]
            The contribution to the residual.
        scores : float32[B * W, H, n, n]
            What the softmax is taken of.
        """
        heads = (3, self.block.num_heads, self.block.head_dim)
        q, k, v = self._split(self.qkv(x))
        q_scale, k_scale, v_scale = self.qkv.row_scale().view(heads)
        q, k = self.q_norm(q, q_scale), self.k_norm(k, k_scale)
        v = self.v_sign(v, v_scale[:, None])
        attention, scores = self.attn_sign(
            q @ k.transpose(-1, -2), self.q_norm.scale, self.k_norm.scale, *self._position_and_mask(len(x))
        )
        context = (attention @ v) * self.attn_sign.output_scale()
        return self.proj(self.context(self._join(context))), scores

    def _position_and_mask(self, batch: int) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        if self.relative_position_bias_table is None:
            return None, None, None
        allowed = None
        if self.mask is not None:
            allowed = self.mask.repeat(batch, 1, 1)[:, None]
        return self.relative_position_bias_table, self.positions, allowed

    def _split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, N, 3 * D] to three of [B * W, H, n, E]."""
        block = self.block
        rows = qkv if block.window is None else qkv[:, self.members]
        parts = rows.reshape(-1, block.window_tokens, 3, block.num_heads, block.head_dim)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        return q, k, v

    def _join(self, context: Tensor) -> Tensor:
        """[B * W, H, n, E] to [B, N, D]."""
        rows = context.transpose(1, 2).reshape(-1, self.block.tokens, self.block.embed_dim)
        return rows if self.block.window is None else rows[:, self.places]
