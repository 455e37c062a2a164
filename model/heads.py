"""Binarizers of the attention heads: q, k, v and the attention itself (docs/semantics.md, paragraphs 5, 6 and 8).

Integer-aware as `model.layers`; each head has its own learnable scales.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..sim.config import Formats, ViTConfig
from . import fold, operators
from .binarize import attention_step, scale_gradient, sign_ste
from .layers import ThresholdSign

#: Smallest gamma of HeadNorm and smallest learnable scale that `project` leaves: positive, and far from underflow.
SMALLEST_SCALE = 1e-3


class HeadNorm(nn.Module):
    """Normalisation of q or k over a head's channels, then its binarizer with a learnable scale a head (paragraph 6).

    The output is ``sign(y + z * scale) - z`` for the normalised y and the zero point z, a constant 0: other values are
    computed, but docs/semantics.md cannot express them and export refuses. The scale enters through the attention only.

    Parameters
    ----------
    config : ViTConfig
    formats : Formats
    slope : str
    """

    zero_point: Tensor

    def __init__(self, config: ViTConfig, formats: Formats, slope: str) -> None:
        super().__init__()
        self.config, self.formats, self.slope = config, formats, slope
        self.weight = nn.Parameter(torch.ones(config.num_heads, config.head_dim))
        self.bias = nn.Parameter(torch.zeros(config.num_heads, config.head_dim))
        self.scale = nn.Parameter(torch.ones(config.num_heads))
        self.register_buffer("zero_point", torch.zeros(config.num_heads))

    def shifted_bias(self) -> Tensor:
        """Bias plus the zero point in units of the scale, float32[H, E]."""
        return self.bias + (self.zero_point * self.scale)[:, None]

    def theta(self, row_scale: Tensor) -> Tensor:
        """Integer thresholds, int64[H, E]; mode `threshold` puts them on the products and needs their row scales."""
        weight, bias = self.weight.detach(), self.shifted_bias().detach()
        if self.config.qk_mode == "layernorm":
            return fold.layernorm_theta(weight, bias, self.formats)
        return fold.sign_theta(weight.double() * row_scale.detach(), bias, self.config.embed_dim)

    def exact_bits(self, acc: Tensor, row_scale: Tensor) -> Tensor:
        """Bits (int64[B, H, N, E]) of the folded network for products `acc` and row scales float[H, E]."""
        theta = self.theta(row_scale)[:, None]
        if self.config.qk_mode == "threshold":
            return (acc.detach() >= theta).long()
        scale, unit = fold.head_scale(row_scale.detach(), self.formats)
        eps = fold.head_norm_eps(unit, self.config.head_dim, self.config.eps).view(-1, 1, 1)
        bits, _, _ = operators.sign_norm(acc.detach().long() * scale[:, None], theta, eps, self.formats)
        return bits

    def forward(self, acc: Tensor, row_scale: Tensor) -> Tensor:
        """Return the binarized q or k.

        Parameters
        ----------
        acc : float32[B, H, N, E]
            Integer products.
        row_scale : float64[H, E]

        Returns
        -------
        float32[B, H, N, E]
            +1 and -1 (minus the zero point).
        """
        x = acc * row_scale[:, None].to(acc.dtype)
        if self.config.qk_mode == "layernorm":
            x = F.layer_norm(x, x.shape[-1:], eps=self.config.eps)
        x = x * self.weight[:, None] + self.shifted_bias()[:, None]
        exact = 2 * self.exact_bits(acc, row_scale) - 1
        return sign_ste(x, self.slope, exact) - self.zero_point.view(-1, 1, 1)

    @torch.no_grad()
    def project(self) -> None:
        """Keep gamma and the scale positive; call after each optimizer step."""
        self.weight.clamp_(min=SMALLEST_SCALE)
        self.scale.clamp_(min=SMALLEST_SCALE)


class ValueSign(ThresholdSign):
    """The binarizer of v: a ThresholdSign with a zero point a head, which only as 0 can be exported.

    Parameters
    ----------
    config : ViTConfig
    slope : str
    """

    zero_point: Tensor

    def __init__(self, config: ViTConfig, slope: str) -> None:
        super().__init__(config.embed_dim, config.embed_dim, slope)
        self.register_buffer("zero_point", torch.zeros(config.num_heads))

    def forward(self, acc: Tensor, row_scale: Tensor) -> Tensor:
        """Return +-1 minus the zero point, float32[B, H, N, E], for products and row scales float64[H, 1, E]."""
        return super().forward(acc, row_scale) - self.zero_point.view(-1, 1, 1)


class AttentionBinarizer(nn.Module):
    """Softmax and its binarizer with a learnable scaling factor a head, or a threshold on the score (paragraph 8).

    Levels are {0, s} with the threshold s/2, which is the zero point z = -1 of ``s/2 * (sign(P / (s/2) + z) - z)``.
    The scale starts at 2/N, so that the threshold is the mean probability.

    Parameters
    ----------
    config : ViTConfig
    slope : str
        Gradient of the sign in mode `score`.
    """

    zero_point: Tensor

    def __init__(self, config: ViTConfig, slope: str) -> None:
        super().__init__()
        self.config, self.slope = config, slope
        heads = config.num_heads
        if config.attn_mode == "softmax":
            self.scale = nn.Parameter(torch.full((heads,), 2 / config.num_tokens))
            self.register_buffer("zero_point", torch.full((heads,), -1.0))
        else:
            # One standard deviation of independent signs: about one pair in six passes at the start.
            self.threshold = nn.Parameter(torch.ones(heads))

    def sharpness(self, q_scale: Tensor, k_scale: Tensor) -> Tensor:
        """Lambda: what one unit of the dot product is worth in the softmax, float32[H]."""
        return q_scale * k_scale / math.sqrt(self.config.head_dim)

    def tau(self) -> Tensor:
        """Integer Tau of mode `softmax`, int64[H]."""
        return fold.attention_tau(-self.zero_point * self.scale.detach() / 2)

    def theta(self, sharpness: Tensor) -> Tensor:
        """Integer Theta of mode `score`, int64[H]."""
        return fold.score_theta(self.threshold.detach(), sharpness.detach(), self.config.head_dim)

    def output_scale(self) -> Tensor:
        """Real value of a 1, float32[H, 1, 1]; it only sets the window of the context's sign gradient."""
        if self.config.attn_mode == "softmax":
            return self.scale.view(-1, 1, 1)
        return torch.full((self.config.num_heads, 1, 1), 2 / self.config.num_tokens, device=self.threshold.device)

    def forward(self, dots: Tensor, q_scale: Tensor, k_scale: Tensor) -> Tensor:
        """Return 0 and 1 (float32[B, H, N, N]) for exact dot products of q and k and their scales (float32[H])."""
        sharpness = self.sharpness(q_scale, k_scale)
        scores = dots * sharpness.view(-1, 1, 1)
        if self.config.attn_mode == "score":
            popcounts = (dots.detach().long() + self.config.head_dim) >> 1
            bits = popcounts >= self.theta(sharpness).view(-1, 1, 1)
            signs = sign_ste(scores - self.threshold.view(-1, 1, 1), self.slope, 2 * bits.to(dots.dtype) - 1)
            return (signs + 1) / 2
        distance = dots.detach().amax(-1, keepdim=True) - dots.detach()
        weights = fold.exp_weights(distance, sharpness.detach().view(-1, 1, 1))
        bits, _ = operators.attention_threshold(weights, self.tau())
        # The gradient of s sums over N^2 entries; learned step sizes divide by the root of that number.
        scale = scale_gradient(self.scale, 1 / self.config.num_tokens).view(-1, 1, 1)
        shift = (self.zero_point.view(-1, 1, 1) + 1) / 2
        return attention_step(scores.softmax(-1) + shift * scale, scale, bits) - shift

    @torch.no_grad()
    def project(self) -> None:
        """Keep the scaling factor positive; call after each optimizer step."""
        if self.config.attn_mode == "softmax":
            self.scale.clamp_(min=SMALLEST_SCALE)
