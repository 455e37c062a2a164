"""Signs, steps and roundings that a gradient can pass (docs/semantics.md, Vocabulary and paragraph 8).

A binarized network is flat almost everywhere, so each of these functions computes the exact value in the forward
pass and the gradient of a smooth stand-in in the backward pass: a straight-through estimator (STE). The stand-ins of
the sign are pure functions in `SIGN_GRADIENTS`, chosen by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ...sim.errors import check


def sign(x: Tensor) -> Tensor:
    """Sign with sign(0) = +1; `torch.sign` gives 0 there and is never used.

    >>> sign(torch.tensor([-0.5, 0.0, 2.0])).tolist()
    [-1.0, 1.0, 1.0]
    """
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def clipped_gradient(x: Tensor) -> Tensor:
    """Slope of clip(x, -1, 1): 1 where abs(x) <= 1, 0 elsewhere (Hubara et al., Binarized Neural Networks)."""
    return (x.abs() <= 1).to(x.dtype)


def bireal_gradient(x: Tensor) -> Tensor:
    """Slope of the piecewise quadratic of Bi-Real Net: 2 - 2*abs(x) where abs(x) <= 1, 0 elsewhere."""
    return (2 - 2 * x.abs()).clamp(min=0)


def tanh_gradient(x: Tensor) -> Tensor:
    """Slope of tanh(2*x), 2*(1 - tanh(2*x)^2): never exactly 0, so no latent weight is lost for good."""
    return 2 * (1 - torch.tanh(2 * x).square())


#: Slopes that stand in for the derivative of the sign, by name.
SIGN_GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "clipped": clipped_gradient,
    "bireal": bireal_gradient,
    "tanh": tanh_gradient,
}


#: How attention is binarized: `learned` has scaling factors a head, of q, k and the attention; `fixed` has none, so
#: that q and k are plain signs and probabilities are rounded at one half.
ATTENTION_KINDS = ("learned", "fixed")


@dataclass(frozen=True, kw_only=True)
class Binarization:
    """How a Bi-ViT is trained, as far as it is not its shape.

    Raises
    ------
    BivitError
        When a gradient or a kind of attention has another name than those allowed.
    """

    #: Gradient of the activations' signs, a key of `SIGN_GRADIENTS`.
    slope: str = "bireal"
    #: Gradient of the weights' signs, a key of `SIGN_GRADIENTS`.
    weight_slope: str = "clipped"
    #: One of `ATTENTION_KINDS`: the paper's learnable scaling factor, or the baseline without it.
    attention: Literal["learned", "fixed"] = "learned"

    def __post_init__(self) -> None:
        check_slope(self.slope)
        check_slope(self.weight_slope)
        check(
            self.attention in ATTENTION_KINDS,
            f"attention must be one of {', '.join(ATTENTION_KINDS)}, got {self.attention!r}",
        )


class _Sign(torch.autograd.Function):
    """The given +-1 values in the forward pass, a named slope at `x` in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, exact: Tensor, slope: str) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        return exact

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return grad * SIGN_GRADIENTS[ctx.slope](x), None, None


def sign_ste(x: Tensor, slope: str, exact: Tensor | None = None) -> Tensor:
    """Sign whose gradient is that of a stand-in.

    Parameters
    ----------
    x : float[...]
        What is signed, in units in which the stand-in's window of about -1 .. 1 makes sense.
    slope : str
        A key of `SIGN_GRADIENTS`.
    exact : float[...], optional
        The values +1 and -1 that integer arithmetic gives for `x`; ``sign(x)`` by default. The two differ where
        rounded thresholds decide (docs/semantics.md, paragraphs 2, 5 and 6).

    Returns
    -------
    float[...]
        Exactly +1.0 and -1.0.

    Raises
    ------
    BivitError
        When no stand-in has that name.
    """
    check_slope(slope)
    values = sign(x.detach()) if exact is None else exact.to(x.dtype)
    result: Tensor = _Sign.apply(x, values, slope)
    return result


def check_slope(slope: str) -> None:
    """Raise `BivitError` unless `slope` is a key of `SIGN_GRADIENTS`."""
    check(slope in SIGN_GRADIENTS, f"there is no sign gradient {slope!r}; allowed are {', '.join(SIGN_GRADIENTS)}")


class _StraightThrough(torch.autograd.Function):
    """`exact` in the forward pass; the gradient goes to `surrogate` unchanged."""

    @staticmethod
    def forward(ctx: Any, surrogate: Tensor, exact: Tensor) -> Tensor:
        return exact

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def straight_through(surrogate: Tensor, exact: Tensor) -> Tensor:
    """Return `exact` (float or int, same shape) in the surrogate's dtype; the gradient goes to `surrogate`."""
    result: Tensor = _StraightThrough.apply(surrogate, exact.to(surrogate.dtype))
    return result


def fake_round(x: Tensor, frac_bits: int) -> Tensor:
    """Round to multiples of 2^-frac_bits, ties to even, with gradient 1.

    Exact in float32 while abs(x) * 2^frac_bits stays below 2^24.

    >>> fake_round(torch.tensor([0.30, 0.40]), 2).tolist()
    [0.25, 0.5]
    """
    return straight_through(x, torch.round(x.detach() * 2.0**frac_bits) * 2.0**-frac_bits)


@torch.library.custom_op("bivit::materialise", mutates_args=())
def _materialise(x: Tensor) -> Tensor:
    return x.clone()


@_materialise.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


_materialise.register_autograd(lambda ctx, grad: grad)


def materialise(x: Tensor) -> Tensor:
    """Return `x`, which the compiler computes once and stores.

    Without it the compiler moves the arithmetic of a threshold a channel, in float64, into the loop over all elements.
    """
    if not torch.compiler.is_compiling():
        return x
    result: Tensor = _materialise(x)
    return result


def fake_floor(x: Tensor, frac_bits: int) -> Tensor:
    """Round down to multiples of 2^-frac_bits and return the multiples, with the gradient of the scaling.

    >>> fake_floor(torch.tensor([0.30, -0.1]), 2).tolist()
    [1.0, -1.0]
    """
    scaled = x * 2.0**frac_bits
    return straight_through(scaled, torch.floor(scaled.detach()))


class _ScaleGradient(torch.autograd.Function):
    """Identity whose gradient is multiplied by a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    """Return `x` unchanged; its gradient is multiplied by `factor` (learned step sizes, Esser et al., section 2.2)."""
    result: Tensor = _ScaleGradient.apply(x, factor)
    return result


def attention_step(probabilities: Tensor, scale: Tensor, exact: Tensor | None = None) -> Tensor:
    """Binarize attention to 0 and 1 with a learnable scaling factor s: the level {0, s} nearest to P, divided by s.

    The threshold is s/2 and a tie gives 1. The backward pass is that of ``clip(P / s, 0, 1)``, so that the product
    ``s * attention_step(P, s)`` has the gradient of a learned step size quantizer of one bit: 1 to P inside 0 < P < s,
    and to s the level minus P/s inside, the level (1) above.

    Parameters
    ----------
    probabilities : float[B, H, N, N]
        0 .. 1.
    scale : float, broadcastable to `probabilities`
        The factor s, above 0.
    exact : float or int[B, H, N, N], optional
        The bits of integer arithmetic; ``P >= s / 2`` by default.

    Returns
    -------
    float[B, H, N, N]
        Exactly 0.0 and 1.0.
    """
    bits = (probabilities.detach() >= scale.detach() / 2) if exact is None else exact
    return straight_through((probabilities / scale).clamp(0, 1), bits)
