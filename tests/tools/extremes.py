"""Networks at the ends of every tensor's range, and with ties: what random ones of trained magnitudes never reach."""

import numpy as np
from numpy.typing import NDArray

from bivit.sim.bits import pack
from bivit.sim.network.config import ModelConfig
from bivit.sim.network.formats import Formats
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.tensors import TensorSpec, tensor_specs

#: Where the elements of a tensor are drawn from: only its lowest, only its highest, or both, their neighbours and 0.
ENDS = ("low", "high", "mixed")


def extreme_network(config: ModelConfig, ends: str, seed: int = 0, formats: Formats | None = None) -> IntNetwork:
    """A network whose every number lies at an end of its range; `ends` is one of `ENDS`."""
    rng, formats = np.random.default_rng(seed), formats or Formats()
    tensors = {name: _draw(name, spec, ends, rng) for name, spec in tensor_specs(config, formats).items()}
    return IntNetwork(config, formats, tensors, {"source": "tests", "seed": seed})


def tied_network(network: IntNetwork, seed: int = 0) -> IntNetwork:
    """The network with ties: values that equal their thresholds exactly, in every norm and every thresholded sum.

    All thresholds are 0, rows of weights come in eights of equals, and the patch embedding gives half of the channels
    the mean of all.
    """
    rng, tensors = np.random.default_rng(seed), dict(network.tensors)
    for name, tensor in tensors.items():
        if name.endswith(".theta"):
            tensors[name] = np.zeros_like(tensor)
        elif tensor.dtype == np.uint64:
            tensors[name] = tensor[np.arange(len(tensor)) // 8 * 8]
        elif name.endswith("_norm.scale"):
            tensors[name] = np.full_like(tensor, 3)
    channels, inputs = tensors["patch_embed.proj.weight"].shape
    base, step = 4 * rng.integers(-5, 6, (2, inputs))
    pattern = np.resize([0, 1, 0, -1], channels)
    tensors["patch_embed.proj.weight"] = (base + pattern[:, None] * step).astype(np.int8)
    tensors["patch_embed.proj.scale"] = np.full(channels, 1 << 14, np.int32)
    tensors["patch_embed.proj.shift"] = np.array([14], np.int32)
    for name in {"patch_embed.proj.bias", "pos_embed"} & set(tensors):
        tensors[name] = np.zeros_like(tensors[name])
    return IntNetwork(network.config, network.formats, tensors, network.provenance)


def loud_network(network: IntNetwork) -> IntNetwork:
    """The network with the largest sums of patches, of both signs, which fill x without a saturation."""
    tensors, formats = dict(network.tensors), network.formats
    weights = tensors["patch_embed.proj.weight"]
    signs = np.where(np.arange(len(weights)) % 4 == 3, 127, -128).astype(np.int8)
    tensors["patch_embed.proj.weight"] = np.repeat(signs[:, None], weights.shape[1], axis=1)
    most = 255 * 128 * weights.shape[1]
    scale = min((1 << formats.residual_bits - 1) * (1 << 13) // most, (1 << formats.scale_bits - 1) - 1)
    tensors["patch_embed.proj.scale"] = np.full(len(weights), scale, np.int32)
    tensors["patch_embed.proj.shift"] = np.array([13], np.int32)
    for name in ("patch_embed.proj.bias", "pos_embed"):
        tensors[name] = np.zeros_like(tensors[name])
    return IntNetwork(network.config, formats, tensors, network.provenance)


def lonely_network(network: IntNetwork) -> IntNetwork:
    """The network in which one channel of a token is at one end of x and all others at the other end.

    No value can be further from the mean. It is another channel in each token, and thresholds of norms lie beyond it.
    """
    tensors = dict(network.tensors)
    end = 1 << network.formats.residual_bits - 1
    tokens, channels = tensors["pos_embed"].shape
    alone = np.arange(channels) == np.arange(tokens)[:, None] % channels
    up = np.arange(max(tokens, channels)) % 3 > 0  # the value alone, and the threshold beyond it
    tensors["pos_embed"] = np.where(alone == up[:tokens, None], end - 1, -end).astype(tensors["pos_embed"].dtype)
    for name in ("patch_embed.proj.weight", "patch_embed.proj.bias"):
        tensors[name] = np.zeros_like(tensors[name])
    beyond = 2 * round(channels**0.5) << network.formats.theta_frac_bits  # a value alone is at most sqrt(channels)
    for name in tensors:
        if name.endswith(("norm1.theta", "norm2.theta")):
            tensors[name] = np.where(up[:channels], beyond, -beyond).astype(tensors[name].dtype)
    return IntNetwork(network.config, network.formats, tensors, network.provenance)


def _draw(name: str, spec: TensorSpec, ends: str, rng: np.random.Generator) -> NDArray:
    if spec.packed_bits:
        choices = {"low": [0], "high": [1], "mixed": [0, 1]}[ends]
        return pack(rng.choice(choices, (spec.shape[0], spec.packed_bits)).astype(np.uint8))
    if name.endswith(".attn_sign.exp"):
        return _exp(spec, ends, rng)
    low, high = spec.low, spec.high
    inside = [value for value in (low, low + 1, 0, high - 1, high) if low <= value <= high]
    choices = {"low": [low], "high": [high], "mixed": inside}[ends]
    # Drawn as indices: numpy would make floats of integers beyond 2^53.
    return np.array(choices, spec.dtype)[rng.integers(0, len(choices), spec.shape)]


def _exp(spec: TensorSpec, ends: str, rng: np.random.Generator) -> NDArray:
    """A table starts at 2^15 and does not rise: it falls from there to 0 at a place of its own in each head."""
    heads, entries = spec.shape
    falls = {"low": np.ones(heads), "high": np.full(heads, entries), "mixed": rng.integers(1, entries + 1, heads)}
    return np.where(np.arange(entries) < falls[ends][:, None], spec.high, 0).astype(spec.dtype)
