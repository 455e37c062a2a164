"""Export: a trained Bi-ViT becomes an integer network, and what that cost is measured (docs/semantics.md).

`model.vit.fold` decides the roundings of parameters; this module lays them out under the names of docs/network.md,
refuses what the integer network cannot express, and compares the two on calibration images.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...sim.bits import pack
from ...sim.errors import check
from ...sim.network.formats import EPS_BITS
from ...sim.network.network import IntNetwork
from ...sim.network.run_result import RunResult
from ...sim.network.windows import window_mask
from ...sim.reference.run import run_reference
from ..evaluate import first_largest
from ..vit import fold
from ..vit.attention import Attention
from ..vit.binarize import sign
from ..vit.layers import BinaryLinear, ResidualLinear, SignNorm
from ..vit.vit import BiViT, Block, PatchMerging, forward_taps
from .checkpoint import refuse_nonfinite

#: Calibration images that go through model and network together.
_BATCH = 64

#: Binarized tensors of a block whose bits are compared.
BIT_TAPS = (
    "norm1",
    "attn.q_norm",
    "attn.k_norm",
    "attn.v_sign",
    "attn.attn_sign",
    "attn.context",
    "norm2",
    "mlp.act",
)

Named = Iterator[tuple[str, NDArray[Any]]]


class ConstantHeadWarning(UserWarning):
    """An attention head gives the same bit for every pair of tokens of every calibration image."""


def export_network(
    model: BiViT,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64] | None = None,
    provenance: dict[str, Any] | None = None,
) -> IntNetwork:
    """Fold a model into integers and measure the agreement of the two.

    Parameters
    ----------
    model : BiViT
        Not changed, except that it is left in evaluation mode.
    images : uint8[n, img_size, img_size, in_chans]
        Calibration images.
    labels : int64[n], optional
        For Top-1.
    provenance : dict, optional
        Where the model came from; JSON values.

    Returns
    -------
    IntNetwork
        `agreement` holds `images`; `top1_model` and `top1_integer` (with labels only) and `same_predictions`, shares of
        the images; `equal_bits`, by tap the share of equal bits; `saturations` (0); `empty_rows`, the share of
        attention rows without a 1; and `constant_heads`, a list of names.

    Raises
    ------
    BivitError
        When the model holds what docs/semantics.md cannot express, a value that does not fit its number format, or NaN,
        or when the residual saturates on the calibration images. The message names the tensor.

    Warns
    -----
    ConstantHeadWarning
        When an attention head is constant.
    """
    refuse_nonfinite(model.state_dict(), "the model")
    refuse_inexpressible(model)
    network = IntNetwork(model.config, model.formats, fold_tensors(model), provenance or {})
    agreement = measure_agreement(model, network, images, labels)
    saturations = agreement["saturations"]
    check(
        saturations == 0,
        f"the residual saturates {saturations} times on {len(images)} calibration images: it leaves the range of "
        f"{model.formats.residual_bits} bits with {model.formats.residual_frac_bits} fraction bits; "
        "train with more residual_bits or fewer residual_frac_bits, or with a lower learning rate",
    )
    if agreement["constant_heads"]:
        heads = ", ".join(agreement["constant_heads"])
        warnings.warn(f"constant attention heads, which do nothing: {heads}", ConstantHeadWarning, stacklevel=2)
    return dataclasses.replace(network, agreement=agreement)


def refuse_inexpressible(model: BiViT) -> None:
    """Raise `BivitError`, naming the tensor, for what docs/semantics.md refuses."""
    for block_name, block in model.named_blocks():
        attn, name = block.attn, f"{block_name}.attn"
        for part in ("q_norm", "k_norm", "v_sign"):
            _refuse_zero_point(f"{name}.{part}", getattr(attn, part).zero_point, 0)
        if attn.block.attn_mode == "softmax":
            _refuse_zero_point(f"{name}.attn_sign", attn.attn_sign.zero_point, -1)
        for part in ("q_norm", "k_norm"):
            lowest = float(getattr(attn, part).weight.detach().min())
            check(
                lowest > 0,
                f"{name}.{part}.weight (gamma) must be above 0, got {lowest:g}: two negative channels of q and k "
                "cannot be folded away; train with `BiViT.project` after each step",
            )


def _refuse_zero_point(name: str, zero_point: Tensor, allowed: int) -> None:
    check(
        bool((zero_point == allowed).all()),
        f"{name}.zero_point must be {allowed}, got {zero_point.tolist()}: the integer network has no other; "
        f"train with a zero point of {allowed}",
    )


@torch.no_grad()
def fold_tensors(model: BiViT) -> dict[str, NDArray[Any]]:
    """Return the tensors of docs/network.md for a model that `refuse_inexpressible` accepts.

    Raises
    ------
    BivitError
        When a value does not fit the dtype of its tensor.
    """
    config = model.config
    tensors = dict(_patch_embed(model))
    for stage in config.stages:
        if stage.merge is not None:
            merging = cast(PatchMerging, model.get_submodule(stage.merge.name))
            tensors |= dict(_sign_norm(f"{stage.merge.name}.norm", merging.norm))
            tensors |= dict(_residual_linear(f"{stage.merge.name}.reduction", merging.reduction, merging.norm))
    for name, block in model.named_blocks():
        tensors |= dict(_block(name, block, model))
    eps = fold.block_norm_eps(config.num_features, config.eps, model.formats)
    tensors["norm.eps"] = _as("norm.eps", eps, np.int64)
    head = fold.head_integers(*model.head_parameters(), model.formats)
    tensors["head.weight"] = _as("head.weight", head.weight, np.int8)
    tensors["head.bias"] = _as("head.bias", head.bias, np.int32)
    return tensors


def _as(name: str, values: Tensor | int, dtype: type[np.signedinteger[Any]]) -> NDArray[Any]:
    """Convert int64 values, a number to shape [1], to a narrower dtype, refusing what does not fit."""
    array = np.atleast_1d(values.cpu().numpy() if isinstance(values, Tensor) else np.array(values))
    limits, low, high = np.iinfo(dtype), int(array.min()), int(array.max())
    check(
        low >= limits.min and high <= limits.max,
        f"{name} must fit {np.dtype(dtype).name}, got {low} to {high}; train with a lower learning rate",
    )
    return array.astype(dtype)


def _patch_embed(model: BiViT) -> Named:
    name, integers = "patch_embed.proj", model.patch_embed.integers()
    yield f"{name}.weight", _as(f"{name}.weight", integers.weight, np.int8)
    yield f"{name}.scale", _as(f"{name}.scale", integers.scale, np.int32)
    yield f"{name}.bias", _as(f"{name}.bias", integers.bias, np.int64)
    yield f"{name}.shift", _as(f"{name}.shift", integers.shift, np.int32)
    if not model.config.patch_norm:
        yield "pos_embed", _as("pos_embed", fold.residual_integers(model.position()[0], model.formats), np.int32)
        return
    name, norm = "patch_embed.norm", model.patch_embed.norm.integers()
    yield f"{name}.scale", _as(f"{name}.scale", norm.scale, np.int32)
    yield f"{name}.bias", _as(f"{name}.bias", norm.bias, np.int32)
    yield f"{name}.eps", _as(f"{name}.eps", norm.eps, np.int64)


def _block(name: str, block: Block, model: BiViT) -> Named:
    yield from _sign_norm(f"{name}.norm1", block.norm1)
    yield f"{name}.attn.qkv.weight", _signs(block.attn.qkv, block.norm1)
    yield from _heads(f"{name}.attn", block.attn, model)
    yield from _residual_linear(f"{name}.attn.proj", block.attn.proj)
    yield from _sign_norm(f"{name}.norm2", block.norm2)
    yield f"{name}.mlp.fc1.weight", _signs(block.mlp.fc1, block.norm2)
    theta = block.mlp.act.theta(block.mlp.fc1.row_scale())
    yield f"{name}.mlp.act.theta", _as(f"{name}.mlp.act.theta", theta, np.int32)
    yield from _residual_linear(f"{name}.mlp.fc2", block.mlp.fc2)


def _sign_norm(name: str, norm: SignNorm) -> Named:
    yield f"{name}.theta", _as(f"{name}.theta", norm.theta(), np.int32)
    eps = norm.eps()
    if eps is not None:
        yield f"{name}.eps", _as(f"{name}.eps", eps, np.int64)


def _signs(linear: BinaryLinear, norm: SignNorm | None = None) -> NDArray[np.uint64]:
    """Packed weights; columns that read a channel with a negative gamma are negated (paragraph 2)."""
    signs = sign(linear.weight)
    if norm is not None:
        signs = signs * fold.flips(norm.weight)
    return pack((signs > 0).to(torch.uint8).cpu().numpy())


def _residual_linear(name: str, linear: ResidualLinear, norm: SignNorm | None = None) -> Named:
    yield f"{name}.weight", _signs(linear, norm)
    for key, values in (("scale", linear.row_scale()), ("bias", linear.bias)):
        yield f"{name}.{key}", _as(f"{name}.{key}", fold.to_grid(values, linear.frac_bits), np.int32)


def _heads(name: str, attn: Attention, model: BiViT) -> Named:
    block = attn.block
    row_scale = attn.qkv.row_scale().view(3, block.num_heads, block.head_dim)
    for part, scale in (("q_norm", row_scale[0]), ("k_norm", row_scale[1])):
        key = f"{name}.{part}"
        yield f"{key}.theta", _as(f"{key}.theta", getattr(attn, part).theta(scale), np.int32)
        if block.qk_mode == "layernorm":
            steps, unit = fold.head_scale(scale, model.formats)
            eps = fold.head_norm_eps(unit, block.head_dim, block.eps)
            _refuse_degenerate_heads(key, scale, eps)
            yield f"{key}.scale", _as(f"{key}.scale", steps, np.int32)
            yield f"{key}.eps", _as(f"{key}.eps", eps, np.int64)
    theta = attn.v_sign.theta(row_scale[2]).flatten()
    yield f"{name}.v_sign.theta", _as(f"{name}.v_sign.theta", theta, np.int32)
    yield from _attention(name, attn)


def _refuse_degenerate_heads(name: str, row_scale: Tensor, eps: Tensor) -> None:
    """Raise `BivitError` for heads whose weights are so small that the norm's eps does not fit its field."""
    heads = (eps >= 2**EPS_BITS).nonzero().flatten().tolist()
    sizes = ", ".join(f"head {head} (largest {float(row_scale[head].max()):.3g})" for head in heads)
    check(
        not heads,
        f"{name}: the weights of {sizes} are next to nothing beside the norm's eps, which needs {EPS_BITS} bits or "
        "more in their steps; the head is degenerate: train it again, or scale its weights up",
    )


def _attention(name: str, attn: Attention) -> Named:
    block = attn.block
    key, sharpness = f"{name}.attn_sign", attn.attn_sign.sharpness(attn.q_norm.scale, attn.k_norm.scale)
    lowest: Tensor | float = 0.0
    if attn.relative_position_bias_table is not None:
        steps, lowest = fold.relative_bias(attn.relative_position_bias_table, sharpness, block.head_dim)
        table = f"{name}.relative_position_bias_table"
        yield table, _as(table, steps, np.int32)
    if block.attn_mode == "score":
        yield f"{key}.theta", _as(f"{key}.theta", attn.attn_sign.theta(sharpness, lowest), np.int32)
    else:
        yield f"{key}.exp", _as(f"{key}.exp", fold.exp_table(sharpness, block.largest_score), np.int32)
        yield f"{key}.tau", _as(f"{key}.tau", attn.attn_sign.tau(), np.int32)


def measure_agreement(
    model: BiViT, network: IntNetwork, images: NDArray[np.uint8], labels: NDArray[np.int64] | None = None
) -> dict[str, Any]:
    """Compare a model with its integer network on images; the result is that of `export_network`'s `agreement`."""
    model.eval()
    names = [f"{block.name}.{tap}" for block in model.config.blocks for tap in BIT_TAPS]
    counts = _Counts(model, names)
    predictions: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(images), _BATCH):
        chunk = images[start : start + _BATCH]
        result = run_reference(network, chunk, taps=names)
        logits, taps = forward_taps(model, torch.from_numpy(chunk), names)
        counts.add(taps, result)
        predictions.append((first_largest(logits), first_largest(torch.from_numpy(result.logits))))
    of_model, of_network = (torch.cat(side).numpy() for side in zip(*predictions, strict=True))
    agreement = {"images": len(images), "same_predictions": float((of_model == of_network).mean())}
    if labels is not None:
        agreement["top1_model"] = float((of_model == labels).mean())
        agreement["top1_integer"] = float((of_network == labels).mean())
    return agreement | counts.summary(len(images))


class _Counts:
    """What is counted over the calibration images, chunk by chunk."""

    def __init__(self, model: BiViT, names: list[str]) -> None:
        self.model = model
        self.equal = dict.fromkeys(names, 0)
        self.total = dict.fromkeys(names, 0)
        self.saturations = 0
        self.empty_rows = 0
        # Per block: which heads have shown zeros and ones in the network's attention.
        self.seen = {block.name: np.zeros((2, block.num_heads), dtype=bool) for block in model.config.blocks}

    def add(self, taps: dict[str, Tensor], result: RunResult) -> None:
        self.saturations += result.saturations
        self.empty_rows += result.empty_rows
        for name, bits in result.taps.items():
            equal = self._bits(name, taps[name]).reshape(bits.shape) == bits
            self.equal[name] += int(equal.sum())
            self.total[name] += equal.size
        for block in self.model.config.blocks:
            members = block.window_tokens
            shape = (-1, block.windows, block.num_heads, members, members)
            bits = result.taps[f"{block.name}.attn.attn_sign"].reshape(shape)
            mask = window_mask(block)
            allowed = np.True_ if mask is None else mask[:, np.newaxis]
            for bit in (0, 1):
                self.seen[block.name][bit] |= ((bits == bit) & allowed).any(axis=(0, 1, 3, 4))

    def _bits(self, name: str, values: Tensor) -> NDArray[Any]:
        """The model's output as the folded network's bits: a channel with a negative gamma counts negated."""
        module = self.model.get_submodule(name)
        if isinstance(module, SignNorm):
            values = values * fold.flips(module.weight)
        return (values > 0).cpu().numpy()

    def summary(self, images: int) -> dict[str, Any]:
        rows = images * sum(block.num_heads * block.tokens for block in self.model.config.blocks)
        return {
            "equal_bits": {name: self.equal[name] / self.total[name] for name in self.equal},
            "saturations": self.saturations,
            "empty_rows": self.empty_rows / rows,
            "constant_heads": [
                f"{block}.attn.attn_sign[{head}]"
                for block, seen in self.seen.items()
                for head in np.flatnonzero(~seen.all(axis=0))
            ],
        }
