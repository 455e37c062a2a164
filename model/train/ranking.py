"""Ranking-aware distillation: the student keeps the order of the teacher's attention scores (arXiv 2305.12354).

A reconstruction: the paper says that the loss keeps the relative order of the teacher's attention scores in the
student, and its released code has no such loss, so the formula below is this project's. For one row of one head, with
the teacher's scores t and the student's s, both before the softmax,

    z = (s - mean(s)) / std(s)
    L = 2 / (n * (n - 1)) * sum over pairs j < k of log(1 + exp(-y * (z_j - z_k))),   y = sign(t_j - t_k)

Pairs that the teacher ties (y = 0) count as 0. Scores and probabilities of a softmax have the same order, so it does
not matter on which side of the softmax the teacher is read. The normalisation keeps the loss from growing all scores.

Pairs are walked by their lag r, the distance k - j of their columns. Short rows take every lag, 1 .. n-1. Long rows
draw a few lags, each with its complement n - r: together these hold n pairs for any r (a cyclic shift of the columns),
so that every pair is as likely as any other and the expectation is the exact loss. A row costs O(n) memory at either
length, because the gradient is summed up lag by lag in the forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...sim.errors import check

#: Rows up to this length compare all of their pairs, unless asked otherwise.
EXACT_LENGTH = 64
#: Scores below this are those of masked pairs (-100) and are left out.
_MASKED = -50.0
#: Added to a row's variance: a row of equal scores stays finite.
_EPS = 1e-6


class Ranking(NamedTuple):
    """Loss and agreement of a batch."""

    #: float32[B], the mean over blocks, heads and rows of an image.
    loss: Tensor
    #: float32[B], the share of the compared pairs that the student has in the teacher's order, 0 .. 1; a tie of the
    #: student counts half, so that equal scores have 0.5. It carries no gradient.
    agreement: Tensor


def ranking_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    images: int,
    draws: int,
    generator: torch.Generator,
    exact_length: int = EXACT_LENGTH,
) -> Ranking:
    """Compare the attention scores of all blocks.

    Parameters
    ----------
    student, teacher : sequence of float[B * W, H, n, n]
        One a block, with W windows an image; masked pairs hold -100.
    images : int
        B.
    draws : int
        How many lags, each with its complement, a row longer than `exact_length` is compared at.
    generator : torch.Generator
        Of the draws, on the CPU whatever device the scores are on.
    exact_length : int
        Rows up to this length compare all of their pairs.

    Returns
    -------
    Ranking

    Raises
    ------
    BivitError
        When the two have not the same blocks, heads and tokens.
    """
    check(
        [s.shape for s in student] == [t.shape for t in teacher],
        "teacher and student need the same blocks, heads and tokens for the ranking loss, got scores "
        f"{[list(t.shape) for t in teacher]} and {[list(s.shape) for s in student]}; take a teacher of the same config",
    )
    losses, agreements = [], []
    for s, t in zip(student, teacher, strict=True):
        loss, agreement = row_ranking(s, t, draw_lags(s.shape[-1], draws, generator, exact_length))
        losses.append(loss.view(images, -1).mean(1))
        agreements.append(agreement.view(images, -1).mean(1))
    return Ranking(torch.stack(losses).mean(0), torch.stack(agreements).mean(0))


def draw_lags(length: int, draws: int, generator: torch.Generator, exact_length: int = EXACT_LENGTH) -> list[int]:
    """Lags at which rows of a length are compared: all of them when it is short, else `draws` with their complements.

    >>> draw_lags(5, 2, torch.Generator())
    [1, 2, 3, 4]
    >>> len(draw_lags(197, 8, torch.Generator()))
    16
    """
    if length <= exact_length:
        return list(range(1, length))
    drawn = (torch.randperm(length - 1, generator=generator)[:draws] + 1).tolist()
    return [lag for shift in drawn for lag in (shift, length - shift)]


def row_ranking(student: Tensor, teacher: Tensor, lags: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Loss and agreement of each row.

    Parameters
    ----------
    student, teacher : float[..., n]
        Scores; -100 in the teacher's masks a column.
    lags : sequence of int
        As `draw_lags` returns them.

    Returns
    -------
    loss, agreement : float32[...]
        As in `Ranking`. A row without a pair to compare has loss 0 and agreement 0.5.
    """
    length, teacher = student.shape[-1], teacher.float()
    valid = teacher > _MASKED
    columns = valid.sum(-1)
    total, agreement = _Pairs.apply(_normalise(student.float(), valid), teacher.where(valid, torch.nan), lags)
    taken = sum(length - lag for lag in lags) / max(1, length * (length - 1) / 2)
    return total / (taken * columns * (columns - 1) / 2).clamp(min=1), agreement


def _normalise(scores: Tensor, valid: Tensor) -> Tensor:
    """Subtract the mean and divide by the standard deviation of a row's valid columns; the others become 0."""
    columns = valid.sum(-1, keepdim=True).clamp(min=1)
    centred = (scores - (scores * valid).sum(-1, keepdim=True) / columns) * valid
    return centred * (centred.square().sum(-1, keepdim=True) / columns + _EPS).rsqrt()


class _Pairs(torch.autograd.Function):
    """Sum of the pairs' losses and share of agreeing pairs of each row; the teacher's masked columns are NaN."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, teacher: Tensor, lags: Sequence[int]) -> tuple[Tensor, Tensor]:
        # Columns first: the slices of a lag are then whole pieces of memory. In place, because this is bound by memory.
        scores, teacher = (x.movedim(-1, 0).contiguous() for x in (scores, teacher))
        gradient = torch.zeros_like(scores)
        total, agreeing, compared = (scores.new_zeros(scores.shape[1:]) for _ in range(3))
        for lag in lags:
            order = (teacher[:-lag] - teacher[lag:]).sign_().nan_to_num_()
            kept = (scores[:-lag] - scores[lag:]).mul_(order)
            untied = order.abs()
            agreeing += torch.sign(kept).sum(0)
            compared += untied.sum(0)
            against = kept.neg_().sigmoid_()
            slope = order.mul_(against)
            gradient[:-lag] -= slope
            gradient[lag:] += slope
            # log(1 + exp(-x)) is -log(1 - sigmoid(-x)).
            total -= torch.log1p(against.neg_()).mul_(untied).sum(0)
        ctx.save_for_backward(gradient.movedim(0, -1))
        agreement = (1 + agreeing / compared.clamp(min=1)) / 2
        ctx.mark_non_differentiable(agreement)
        return total, agreement

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].unsqueeze(-1), None, None
