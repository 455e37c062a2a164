"""Signs, steps and roundings: exact values forward, hand-computed gradients backward (model/vit/binarize.py)."""

import pytest
import torch
from torch import Tensor

from bivit.model.vit.binarize import attention_step, fake_round, scale_gradient, sign, sign_ste, straight_through
from bivit.sim.errors import BivitError

POINTS = [-1.5, -1.0, -0.25, 0.0, 0.5, 1.0, 2.0]


def gradient(output: Tensor, at: Tensor, weights: list[float] | None = None) -> list[float]:
    """Gradient of the weighted sum of `output` with respect to `at`."""
    seed = torch.ones_like(output) if weights is None else torch.tensor(weights)
    (result,) = torch.autograd.grad(output, at, seed)
    return result.tolist()


def test_sign_of_zero_is_plus_one() -> None:
    assert sign(torch.tensor([-2.0, -1e-30, -0.0, 0.0, 1e-30, 3.0])).tolist() == [-1, -1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("slope", "expected"),
    [
        ("clipped", [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
        ("bireal", [0.0, 0.0, 1.5, 2.0, 1.0, 0.0, 0.0]),
    ],
)
def test_sign_gradients(slope: str, expected: list[float]) -> None:
    x = torch.tensor(POINTS, requires_grad=True)
    y = sign_ste(x, slope)
    assert y.tolist() == [-1, -1, -1, 1, 1, 1, 1]
    assert gradient(y, x) == expected


def test_tanh_gradient() -> None:
    x = torch.tensor([0.0, 0.5, -0.5], requires_grad=True)
    # 2 * (1 - tanh(1)^2) = 2 * 0.41997434
    assert gradient(sign_ste(x, "tanh"), x) == pytest.approx([2.0, 0.8399487, 0.8399487], abs=1e-6)


def test_gradient_of_what_follows_is_multiplied_in() -> None:
    x = torch.tensor([0.5, -0.25], requires_grad=True)
    assert gradient(sign_ste(x, "bireal"), x, [3.0, -2.0]) == [3.0, -3.0]


def test_exact_bits_replace_the_sign_but_not_its_gradient() -> None:
    x = torch.tensor([0.5, -0.25], requires_grad=True)
    y = sign_ste(x, "bireal", exact=torch.tensor([-1, 1]))
    assert y.tolist() == [-1.0, 1.0]
    assert y.dtype == torch.float32
    assert gradient(y, x) == [1.0, 1.5]


def test_unknown_slope_is_refused() -> None:
    with pytest.raises(BivitError, match="no sign gradient 'hard'; allowed are clipped, bireal, tanh"):
        sign_ste(torch.zeros(1), "hard")


def test_straight_through_and_rounding() -> None:
    x = torch.tensor([0.30, 0.375, -0.625], requires_grad=True)
    # Steps of a quarter, ties to even: 0.375 is 1.5 steps, -0.625 is -2.5.
    rounded = fake_round(x, 2)
    assert rounded.tolist() == [0.25, 0.5, -0.5]
    assert gradient(rounded, x, [1.0, 2.0, 3.0]) == [1.0, 2.0, 3.0]
    replaced = straight_through(2 * x, torch.tensor([7, 8, 9]))
    assert replaced.tolist() == [7.0, 8.0, 9.0]
    assert gradient(replaced, x) == [2.0, 2.0, 2.0]


def test_scale_gradient() -> None:
    x = torch.tensor([0.1, 0.7], requires_grad=True)
    y = scale_gradient(x, 0.25)
    assert y.tolist() == x.tolist()
    assert gradient(y, x, [4.0, 8.0]) == [1.0, 2.0]


def test_attention_step_values() -> None:
    # The threshold is s / 2 = 0.25, and a tie gives 1.
    bits = attention_step(torch.tensor([0.0, 0.2499, 0.25, 0.4, 0.9]), torch.tensor(0.5))
    assert bits.tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]


def test_attention_step_gradients_are_those_of_a_learned_step_size() -> None:
    p = torch.tensor([0.125, 0.375, 0.75], requires_grad=True)
    s = torch.tensor(0.5, requires_grad=True)
    levels = s * attention_step(p, s)
    assert levels.tolist() == [0.0, 0.5, 0.5]
    # To P: 1 inside 0 < P < s, 0 above.
    assert gradient(s * attention_step(p, s), p) == [1.0, 1.0, 0.0]
    # To s, by element: bit - P/s inside (0 - 0.25, 1 - 0.75), the level 1 above.
    for element, expected in enumerate([-0.25, 0.25, 1.0]):
        (slope,) = torch.autograd.grad((s * attention_step(p, s))[element], s)
        assert float(slope) == expected


def test_attention_step_takes_exact_bits() -> None:
    p = torch.tensor([0.1, 0.4], requires_grad=True)
    bits = attention_step(p, torch.tensor(0.5), torch.tensor([1, 0]))
    assert bits.tolist() == [1.0, 0.0]
    assert gradient(bits, p) == [2.0, 2.0]
