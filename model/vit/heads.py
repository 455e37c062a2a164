"""Binarizers of the attention heads: q, k, v and the attention itself (docs/semantics.md, paragraphs 5 to 8).

Integer-aware as `model.vit.layers`; each head has its own learnable scales. What starts from statistics of the first
batches (`model.train.calibrate`) keeps them in buffers.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...sim.network.blocks import BlockShape
from ...sim.network.formats import Formats
from . import fold, operators
from .binarize import Binarization, attention_step, fake_round, materialise, scale_gradient, sign_ste, straight_through
from .layers import ThresholdSign, standardise

#: Smallest gamma of HeadNorm and smallest learnable scale that `project` leaves: positive, and far from underflow.
SMALLEST_SCALE = 1e-3
#: Attention logit of a pair that may not attend, as in Swin.
MASKED_SCORE = -100.0


class Statistic(nn.Module):
    """Mean a head of what passes while `collecting`, over all batches seen; the first value of a learnable scale.

    Parameters
    ----------
    heads : int
    """

    total: Tensor
    batches: Tensor

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.collecting = False
        self.register_buffer("total", torch.zeros(heads))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, values: Tensor) -> None:
        """Take in the means of one batch, float[H]."""
        self.total += values.float()
        self.batches += 1

    def mean(self) -> Tensor:
        """Mean over the batches, float32[H]."""
        return self.total / self.batches


class HeadNorm(nn.Module):
    """Normalisation of q or k over a head's channels, then its binarizer with a learnable scale a head (paragraph 6).

    The output is ``sign(y + z * scale) - z`` for the normalised y and the zero point z, a constant 0: other values are
    computed, but docs/semantics.md cannot express them and export refuses. The scale enters through the attention only;
    it starts as the mean magnitude of y, with which ``scale * sign(y)`` is nearest to y. The baseline
    (`Binarization.attention` = "fixed") keeps it at 1, the plain sign.

    Parameters
    ----------
    block : BlockShape
    formats : Formats
    binarization : Binarization
    """

    zero_point: Tensor

    def __init__(self, block: BlockShape, formats: Formats, binarization: Binarization) -> None:
        super().__init__()
        self.block, self.formats, self.slope = block, formats, binarization.slope
        self.weight = nn.Parameter(torch.ones(block.num_heads, block.head_dim))
        self.bias = nn.Parameter(torch.zeros(block.num_heads, block.head_dim))
        self.scale = nn.Parameter(torch.ones(block.num_heads), requires_grad=binarization.attention == "learned")
        self.statistic = Statistic(block.num_heads)
        self.register_buffer("zero_point", torch.zeros(block.num_heads))

    def shifted_bias(self) -> Tensor:
        """Bias plus the zero point in units of the scale, float32[H, E]."""
        return self.bias + (self.zero_point * self.scale)[:, None]

    def theta(self, row_scale: Tensor) -> Tensor:
        """Integer thresholds, int64[H, E]; mode `threshold` puts them on the products and needs their row scales."""
        weight, bias = self.weight.detach(), self.shifted_bias().detach()
        if self.block.qk_mode == "layernorm":
            return fold.layernorm_theta(weight, bias, self.formats)
        return fold.sign_theta(weight.double() * row_scale.detach(), bias, self.block.embed_dim)

    def exact_bits(self, acc: Tensor, row_scale: Tensor) -> Tensor:
        """Bits (int64[B, H, N, E]) of the folded network for products `acc` and row scales float[H, E]."""
        theta = self.theta(row_scale)[:, None]
        if self.block.qk_mode == "threshold":
            return (acc.detach() >= theta).long()
        scale, unit = fold.head_scale(row_scale.detach(), self.formats)
        eps = fold.head_norm_eps(unit, self.block.head_dim, self.block.eps).view(-1, 1, 1)
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
        if self.block.qk_mode == "threshold":
            acc = acc.float()
            x = acc * materialise(row_scale[:, None].float())
            bits = acc.detach() >= materialise(self.theta(row_scale)[:, None].float())
        else:
            x, bits = self._normalise(acc.float(), row_scale)
        y = x * self.weight[:, None] + self.shifted_bias()[:, None]
        if self.statistic.collecting:
            self.statistic.add(y.detach().abs().mean((0, 2, 3)))
        return sign_ste(y, self.slope, 2 * bits.to(y.dtype) - 1) - self.zero_point.view(-1, 1, 1)

    def _normalise(self, acc: Tensor, row_scale: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised values, with the gradient of the unrounded row scales, and bits."""
        if not self.training:
            x = F.layer_norm(acc * row_scale[:, None].float(), acc.shape[-1:], eps=self.block.eps)
            return x, self.exact_bits(acc, row_scale)
        steps, unit = fold.head_scale(row_scale.detach(), self.formats)
        scale = materialise(straight_through((row_scale / unit[:, None]).float(), steps))
        eps = materialise((self.block.eps / unit.square()).float()).view(-1, 1, 1)
        x = standardise(acc * scale[:, None], eps)
        theta = self.theta(row_scale) * 2.0**-self.formats.theta_frac_bits
        return x, x.detach() >= materialise(theta.float())[:, None]

    @torch.no_grad()
    def project(self) -> None:
        """Keep gamma and the scale positive; call after each optimizer step."""
        self.weight.clamp_(min=SMALLEST_SCALE)
        self.scale.clamp_(min=SMALLEST_SCALE)


class ValueSign(ThresholdSign):
    """The binarizer of v: a ThresholdSign with a zero point a head, which only as 0 can be exported.

    Parameters
    ----------
    block : BlockShape
    slope : str
    """

    zero_point: Tensor

    def __init__(self, block: BlockShape, slope: str) -> None:
        super().__init__(block.embed_dim, block.embed_dim, slope)
        self.register_buffer("zero_point", torch.zeros(block.num_heads))

    def forward(self, acc: Tensor, row_scale: Tensor) -> Tensor:
        """Return +-1 minus the zero point, float32[B, H, N, E], for products and row scales float64[H, 1, E]."""
        return super().forward(acc, row_scale) - self.zero_point.view(-1, 1, 1)


class AttentionBinarizer(nn.Module):
    """Softmax and its binarizer with a learnable scaling factor a head, or a threshold on the score (paragraph 8).

    Levels are {0, s} with the threshold s/2, which is the zero point z = -1 of ``s/2 * (sign(P / (s/2) + z) - z)``.
    The scale starts at twice the mean probability (2/n without a mask), so that the threshold is the mean, and no head
    starts constant. The baseline (`Binarization.attention` = "fixed") keeps s = 1, the rounding of P.

    Parameters
    ----------
    block : BlockShape
    binarization : Binarization
    """

    zero_point: Tensor

    def __init__(self, block: BlockShape, binarization: Binarization) -> None:
        super().__init__()
        self.block, self.slope = block, binarization.slope
        heads, learned = block.num_heads, binarization.attention == "learned"
        self.statistic = Statistic(heads)
        if block.attn_mode == "softmax":
            start = torch.full((heads,), 2 / block.window_tokens if learned else 1.0)
            self.scale = nn.Parameter(start, requires_grad=learned)
            self.register_buffer("zero_point", torch.full((heads,), -1.0))
        else:
            # One standard deviation of independent signs: about one pair in six passes at the start.
            self.threshold = nn.Parameter(torch.ones(heads), requires_grad=learned)

    def sharpness(self, q_scale: Tensor, k_scale: Tensor) -> Tensor:
        """Lambda: what one unit of the dot product is worth in the softmax, float32[H]."""
        return q_scale * k_scale / math.sqrt(self.block.head_dim)

    def tau(self) -> Tensor:
        """Integer Tau of mode `softmax`, int64[H]."""
        return fold.attention_tau(-self.zero_point * self.scale.detach() / 2)

    def theta(self, sharpness: Tensor, lowest_bias: Tensor | float = 0.0) -> Tensor:
        """Integer Theta of mode `score`, int64[H]; `lowest_bias` is the head's smallest relative position bias."""
        threshold = self.threshold.detach() - lowest_bias
        return fold.score_theta(threshold, sharpness.detach(), self.block.head_dim, self.block.largest_score)

    def output_scale(self) -> Tensor:
        """Real value of a 1, float32[H, 1, 1]; it only sets the window of the context's sign gradient."""
        if self.block.attn_mode == "softmax":
            return self.scale.view(-1, 1, 1)
        heads = self.block.num_heads
        return torch.full((heads, 1, 1), 2 / self.block.window_tokens, device=self.threshold.device)

    def forward(
        self,
        dots: Tensor,
        q_scale: Tensor,
        k_scale: Tensor,
        table: Tensor | None = None,
        index: Tensor | None = None,
        allowed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Binarize the attention.

        Parameters
        ----------
        dots : float32[B, H, N, N]
            Exact dot products of q and k.
        q_scale, k_scale : float32[H]
        table : float32[R, H], optional
            Relative position bias, a row for each offset.
        index : int64[N, N], optional
            The row of `table` for each pair.
        allowed : bool, broadcastable to `dots`, optional
            Which pairs may attend.

        Returns
        -------
        bits : float32[B, H, N, N]
            0 and 1.
        scores : float32[B, H, N, N]
            What the softmax is taken of, `MASKED_SCORE` for pairs that may not attend.
        """
        sharpness = self.sharpness(q_scale, k_scale)
        agreement, lowest = dots.float(), torch.zeros_like(sharpness)
        if table is not None:
            # In units of the dot product a whole popcount is worth 2.
            steps, lowest = fold.relative_bias(table.detach(), sharpness.detach(), self.block.head_dim)
            real = (table - lowest) / (2 * sharpness.detach())
            agreement = agreement + 2 * straight_through(real, steps)[index].movedim(-1, 0)
        scores = agreement * sharpness.view(-1, 1, 1)
        if allowed is not None:
            scores = scores.masked_fill(~allowed, MASKED_SCORE)
        if self.block.attn_mode == "score":
            return self._by_score(scores, agreement.detach(), sharpness, lowest, allowed), scores
        return self._by_softmax(scores, agreement.detach(), sharpness.detach(), allowed), scores

    def _by_score(
        self, scores: Tensor, agreement: Tensor, sharpness: Tensor, lowest: Tensor, allowed: Tensor | None
    ) -> Tensor:
        popcounts = (agreement + self.block.head_dim) / 2
        bits = popcounts >= self.theta(sharpness, lowest).view(-1, 1, 1)
        if allowed is not None:
            bits = bits & allowed
        threshold = (self.threshold - lowest).view(-1, 1, 1)
        return (sign_ste(scores - threshold, self.slope, 2 * bits.to(scores.dtype) - 1) + 1) / 2

    def _by_softmax(self, scores: Tensor, agreement: Tensor, sharpness: Tensor, allowed: Tensor | None) -> Tensor:
        weights, bits = self._training_bits(scores, allowed)
        if not self.training:
            bits = self._exact_bits(agreement, sharpness, allowed)
        probabilities = weights / weights.sum(-1, keepdim=True)
        if self.statistic.collecting:
            pairs = torch.ones_like(scores) if allowed is None else allowed.expand_as(scores)
            self.statistic.add(probabilities.sum((0, 2, 3)) / pairs.sum((0, 2, 3)))
        # The gradient of s sums over n^2 entries; learned step sizes divide by the root of that number.
        scale = scale_gradient(self.scale, 1 / self.block.window_tokens).view(-1, 1, 1)
        shift = (self.zero_point.view(-1, 1, 1) + 1) / 2
        return attention_step(probabilities + shift * scale, scale, bits) - shift

    def _training_bits(self, scores: Tensor, allowed: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weights of the softmax, rounded as in the table, and bits; in float32, of which the sums are exact."""
        weights = fake_round(torch.exp(scores - scores.detach().amax(-1, keepdim=True)), fold.EXP_FRAC_BITS)
        if allowed is not None:
            weights = weights.masked_fill(~allowed, 0.0)
        limit = materialise((self.tau() * 2.0**-fold.TAU_FRAC_BITS).float()).view(-1, 1, 1)
        bits = weights.detach() >= limit * weights.detach().sum(-1, keepdim=True)
        return weights, bits if allowed is None else bits & allowed

    def _exact_bits(self, agreement: Tensor, sharpness: Tensor, allowed: Tensor | None) -> Tensor:
        if allowed is not None:
            agreement = agreement.masked_fill(~allowed, -torch.inf)
        distance = agreement.amax(-1, keepdim=True) - agreement
        # The table has no entry for a pair that may not attend: its distance is infinite and its weight 0.
        bits, _ = operators.attention_threshold(fold.exp_weights(distance, sharpness.view(-1, 1, 1)), self.tau())
        return bits if allowed is None else bits * allowed

    @torch.no_grad()
    def project(self) -> None:
        """Keep the scaling factor positive; call after each optimizer step."""
        if self.block.attn_mode == "softmax":
            self.scale.clamp_(min=SMALLEST_SCALE)
