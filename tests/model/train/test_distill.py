"""Ranking-aware and logit distillation against plain twins (model/train/ranking.py, model/train/distill.py)."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from bivit.model.train.ranking import EXACT_LENGTH, draw_lags, ranking_loss, row_ranking
from bivit.sim.errors import BivitError


def naive_row(student: list[float], teacher: list[float]) -> tuple[float, float]:
    """Loss and agreement of one row, pair by pair, as the module's docstring writes it."""
    columns = [j for j, t in enumerate(teacher) if t > -50]
    mean = sum(student[j] for j in columns) / len(columns)
    std = math.sqrt(sum((student[j] - mean) ** 2 for j in columns) / len(columns) + 1e-6)
    z = [(s - mean) / std for s in student]
    loss, agreeing, untied = 0.0, 0.0, 0
    for j, k in itertools.combinations(columns, 2):
        if teacher[j] != teacher[k]:
            kept = (z[j] - z[k]) * (1 if teacher[j] > teacher[k] else -1)
            loss += math.log(1 + math.exp(-kept))
            agreeing += 0.5 if kept == 0 else kept > 0
            untied += 1
    return loss / max(1, math.comb(len(columns), 2)), agreeing / untied if untied else 0.5


def rows(length: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Whole numbers with many ties as scores, float32[2, 3, 4, n]."""
    generator = torch.Generator().manual_seed(seed)
    student = torch.randint(-6, 7, (2, 3, 4, length), generator=generator).float()
    return student, torch.randint(-6, 7, (2, 3, 4, length), generator=generator).float()


@pytest.mark.parametrize("length", [1, 2, 5, 8, 17])
def test_rows_equal_their_plain_twins(length: int) -> None:
    student, teacher = rows(length)
    teacher[..., 1::4] = -100.0  # masked
    teacher[0, 0, 0] = 3.0  # nothing but ties
    loss, agreement = row_ranking(student, teacher, draw_lags(length, 1, torch.Generator()))
    for index in itertools.product(range(2), range(3), range(4)):
        expected = naive_row(student[index].tolist(), teacher[index].tolist())
        assert (float(loss[index]), float(agreement[index])) == pytest.approx(expected, abs=1e-5)


def test_the_gradient_is_that_of_the_formula() -> None:
    student, teacher = (scores.double() for scores in rows(9))
    plain = student.clone().requires_grad_()
    z = (plain - plain.mean(-1, keepdim=True)) / (plain.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    order = torch.sign(teacher[..., :, None] - teacher[..., None, :]).triu(1)
    losses = torch.nn.functional.softplus(-order * (z[..., :, None] - z[..., None, :])) * order.abs()
    (losses.sum((-1, -2)) / math.comb(9, 2)).square().sum().backward()
    own = student.clone().requires_grad_()
    row_ranking(own, teacher, draw_lags(9, 1, torch.Generator()))[0].square().sum().backward()
    assert own.grad is not None
    assert plain.grad is not None
    torch.testing.assert_close(own.grad, plain.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("length", [7, 8])
def test_drawn_lags_are_unbiased(length: int) -> None:
    student, teacher = rows(length)
    teacher[..., 2] = -100.0
    exact, _ = row_ranking(student, teacher, range(1, length))
    drawn = [row_ranking(student, teacher, [shift, length - shift])[0] for shift in range(1, length)]
    torch.testing.assert_close(torch.stack(drawn).mean(0), exact)
    generator, counts = torch.Generator().manual_seed(0), [0] * length
    for _ in range(600):
        first, complement, *_ = draw_lags(length, 2, generator, 4)
        assert first + complement == length
        counts[first] += 1
    assert counts[0] == 0
    assert min(counts[1:]) > 0.6 * 600 / (length - 1)


def test_the_right_order_is_a_minimum() -> None:
    _, teacher = rows(12)
    same, agreement = row_ranking(teacher, teacher, range(1, 12))
    reverse, disagreement = row_ranking(-teacher, teacher, range(1, 12))
    assert (float(agreement.min()), float(disagreement.max())) == (1.0, 0.0)
    assert bool((same < reverse).all())


def test_long_rows_need_memory_in_proportion_to_their_length() -> None:
    saved: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel())
        return tensor

    for length in (2 * EXACT_LENGTH, 4 * EXACT_LENGTH):
        saved.append(0)
        student = torch.randn(1, 1, 4, length, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            row_ranking(student, torch.randn(1, 1, 4, length), draw_lags(length, 16, torch.Generator()))
    second = saved.index(0, 1)
    assert sum(saved[second:]) < 2.1 * sum(saved[:second])


def test_blocks_and_windows_are_averaged_for_each_image() -> None:
    student, teacher = rows(4)
    result = ranking_loss([student, student], [teacher, -teacher], 1, 3, torch.Generator())
    loss, _ = row_ranking(student, teacher, range(1, 4))
    other, _ = row_ranking(student, -teacher, range(1, 4))
    assert result.loss.tolist() == pytest.approx([float(loss.mean() + other.mean()) / 2])
    assert result.agreement.tolist() == pytest.approx([0.5])
    assert result.loss.shape == (1,)
    with pytest.raises(BivitError, match=r"need the same blocks, heads and tokens .* take a teacher"):
        ranking_loss([student], [teacher[..., :3, :3]], 2, 3, torch.Generator())


def test_short_rows_draw_lags_when_asked_to() -> None:
    """The length up to which all pairs are compared is a setting, for speed."""
    assert draw_lags(49, 4, torch.Generator()) == list(range(1, 49))
    drawn = draw_lags(49, 4, torch.Generator().manual_seed(0), 32)
    assert len(drawn) == 8
    assert all(first + second == 49 for first, second in zip(drawn[::2], drawn[1::2], strict=True))
    scores = torch.randn(2, 1, 49, 49)
    loss = ranking_loss([scores], [scores], 2, 4, torch.Generator().manual_seed(0), 32).loss
    exact = ranking_loss([scores], [scores], 2, 4, torch.Generator()).loss
    assert not torch.equal(loss, exact)
    assert torch.allclose(loss, exact, atol=0.05)
