"""The integer network: the composition of the kernels in hardware order, with named taps (docs/network.md)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import kernels, norms
from .bits import pack
from .config import Formats, ViTConfig
from .errors import check
from .taps import TapRecorder, tap_names, tap_shapes
from .tensors import check_tensors

__all__ = ["IntNetwork", "RunResult", "check_images", "image_patches", "tap_names", "tap_shapes"]

#: Images that go through the network together: enough to hide Python's overhead, few enough to stay in memory.
CHUNK = 8

Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class RunResult:
    """What a run of the network returns.

    Attributes
    ----------
    logits : int64[B, classes]
    taps : dict[str, int64[B, ...]]
        The tensors asked for, under the names of docs/network.md and in its order.
    saturations : int
        Elements of the residual stream that were clamped, over all images.
    empty_rows : int
        Attention rows without a 1, over all images, blocks and heads.
    """

    logits: Int64s
    taps: dict[str, Int64s]
    saturations: int
    empty_rows: int


@dataclass(frozen=True)
class IntNetwork:
    """A folded Bi-ViT; its arithmetic is docs/semantics.md.

    Parameters
    ----------
    config : ViTConfig
    formats : Formats
    tensors : dict[str, ndarray]
        Keys, dtypes, shapes and ranges as `sim.tensors.tensor_specs` states.
    provenance : dict
        Where the network came from; free form, JSON values.
    agreement : dict
        What export measured against the model; JSON values.

    Raises
    ------
    BivitError
        When a tensor is missing, unexpected or out of range.
    """

    config: ViTConfig
    formats: Formats
    tensors: dict[str, NDArray[Any]]
    provenance: dict[str, Any] = field(default_factory=dict)
    agreement: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Check every tensor again; needed only after a change in place.

        Raises
        ------
        BivitError
            Naming the tensor, what is allowed and what was got.
        """
        check_tensors(self.tensors, self.config, self.formats)

    def run(self, images: NDArray[np.uint8], taps: Collection[str] | Literal["all"] | None = None) -> RunResult:
        """Run images through the network.

        Parameters
        ----------
        images : uint8[B, img_size, img_size, in_chans]
            B at least 1.
        taps : collection of str, "all" or None
            Names of `sim.taps.tap_names` to return.

        Returns
        -------
        RunResult

        Raises
        ------
        BivitError
            When the images' dtype or shape is wrong, or a tap's name is unknown.
        """
        check_images(images, self.config)
        wanted = _wanted_taps(taps, self.config)
        chunks = [self._run_chunk(images[start : start + CHUNK], wanted) for start in range(0, len(images), CHUNK)]
        return RunResult(
            logits=np.concatenate([chunk.logits for chunk in chunks]),
            taps={name: np.concatenate([chunk.taps[name] for chunk in chunks]) for name in wanted},
            saturations=sum(chunk.saturations for chunk in chunks),
            empty_rows=sum(chunk.empty_rows for chunk in chunks),
        )

    def predict(self, images: NDArray[np.uint8]) -> Int64s:
        """Return the class of each image, int64[B]: the lowest index of the largest logit.

        Raises
        ------
        BivitError
            As `run`.
        """
        return self.run(images).logits.argmax(axis=1)

    def _run_chunk(self, images: NDArray[np.uint8], wanted: Collection[str]) -> RunResult:
        recorder = TapRecorder(wanted)
        run = _ChunkRun(self, recorder)
        logits = run.head(run.blocks(run.patch_embed(images)))
        return RunResult(logits, recorder.taps, run.saturations, run.empty_rows)


class _ChunkRun:
    """One pass of a few images; holds the counters that the stages add to."""

    def __init__(self, network: IntNetwork, taps: TapRecorder) -> None:
        self.config = network.config
        self.formats = network.formats
        self.tensors: Mapping[str, NDArray[Any]] = network.tensors
        self.taps = taps
        self.saturations = 0
        self.empty_rows = 0

    def patch_embed(self, images: NDArray[np.uint8]) -> Int64s:
        """Pixels to the residual stream [B, N, D]."""
        tensors = self.tensors
        x, saturated = norms.patch_embed(
            image_patches(images, self.config),
            tensors["patch_embed.proj.weight"],
            tensors["patch_embed.proj.scale"],
            tensors["patch_embed.proj.bias"],
            int(tensors["patch_embed.proj.shift"][0]),
            tensors["pos_embed"],
            self.formats.residual_bits,
        )
        self.saturations += saturated
        self.taps.put("patch_embed", x)
        return x

    def blocks(self, x: Int64s) -> Int64s:
        """All blocks in turn."""
        for index in range(self.config.depth):
            block = f"blocks.{index}"
            bits = self._attention(f"{block}.attn", self._sign_norm(f"{block}.norm1", x))
            x = self._product_add(f"{block}.attn.proj", f"{block}.add1", bits, x)
            bits = self._hidden(f"{block}.mlp", self._sign_norm(f"{block}.norm2", x))
            x = self._product_add(f"{block}.mlp.fc2", f"{block}.add2", bits, x)
        return x

    def head(self, x: Int64s) -> Int64s:
        """Residual stream to logits [B, classes]."""
        config, tensors = self.config, self.tensors
        pooled = norms.pool(x, config.head_rows, config.pool_shift if config.pool == "mean" else None)
        result = norms.head(
            pooled, int(tensors["norm.eps"][0]), tensors["head.weight"], tensors["head.bias"], self.formats
        )
        self.taps.put("pool", pooled)
        self.taps.put("norm.s1", result.s1)
        self.taps.put("norm.r", result.r)
        self.taps.put("norm.q", result.q)
        self.taps.put("norm", result.y)
        self.taps.put("head", result.logits)
        return result.logits

    def _sign_norm(self, name: str, x: Int64s) -> NDArray[np.uint8]:
        eps = int(self.tensors[f"{name}.eps"][0]) if self.config.norm_mode == "layernorm" else None
        result = norms.sign_norm(x, self.tensors[f"{name}.theta"], eps, self.formats)
        self.taps.put(f"{name}.s1", result.s1)
        self.taps.put(f"{name}.r", result.r)
        self.taps.put(name, result.bits)
        return result.bits

    def _linear(self, name: str, bits: NDArray[np.uint8]) -> Int64s:
        batch, tokens, length = bits.shape
        rows = pack(bits.reshape(batch * tokens, length))
        acc = kernels.binary_linear(rows, self.tensors[f"{name}.weight"], length).reshape(batch, tokens, -1)
        self.taps.put(name, acc)
        return acc

    def _product_add(self, name: str, add: str, bits: NDArray[np.uint8], x: Int64s) -> Int64s:
        acc = self._linear(name, bits)
        scale, bias = self.tensors[f"{name}.scale"], self.tensors[f"{name}.bias"]
        x, saturated = norms.residual_add(x, acc, scale, bias, self.formats.residual_bits)
        self.saturations += saturated
        self.taps.put(add, x)
        return x

    def _hidden(self, mlp: str, bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        hidden = self._threshold_sign(f"{mlp}.act", self._linear(f"{mlp}.fc1", bits))
        self.taps.put(f"{mlp}.act", hidden)
        return hidden

    def _threshold_sign(self, name: str, acc: Int64s) -> NDArray[np.uint8]:
        theta = self.tensors[f"{name}.theta"].reshape(-1)
        return kernels.threshold_sign(acc.reshape(-1, len(theta)), theta).reshape(acc.shape)

    def _attention(self, attn: str, bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        acc_q, acc_k, acc_v = np.split(self._linear(f"{attn}.qkv", bits), 3, axis=2)
        q = self._query_key(f"{attn}.q_norm", acc_q)
        k = self._query_key(f"{attn}.k_norm", acc_k)
        v = self._heads(self._threshold_sign(f"{attn}.v_sign", np.ascontiguousarray(acc_v)))
        self.taps.put(f"{attn}.v_sign", v)
        a = self._attention_bits(attn, q, k)
        return self._context(f"{attn}.context", a, v)

    def _query_key(self, name: str, acc: Int64s) -> NDArray[np.uint8]:
        tensors = self.tensors
        if self.config.qk_mode == "threshold":
            bits = self._heads(self._threshold_sign(name, np.ascontiguousarray(acc)))
        else:
            result = norms.head_norm(
                self._heads(acc),
                tensors[f"{name}.theta"],
                tensors[f"{name}.scale"],
                tensors[f"{name}.eps"],
                self.formats.theta_frac_bits,
            )
            self.taps.put(f"{name}.s1", result.s1)
            self.taps.put(f"{name}.r", result.r)
            bits = result.bits
        self.taps.put(name, bits)
        return bits

    def _attention_bits(self, attn: str, q: NDArray[np.uint8], k: NDArray[np.uint8]) -> NDArray[np.uint8]:
        batch, heads, tokens, head_dim = q.shape
        p = kernels.scores(_groups(pack(q)), _groups(pack(k)), head_dim).reshape(batch, heads, tokens, tokens)
        self.taps.put(f"{attn}.scores", p)
        name = f"{attn}.attn_sign"
        if self.config.attn_mode == "score":
            bits = kernels.score_threshold(p, self.tensors[f"{name}.theta"])
        else:
            bits, m, z = kernels.attention_threshold(p, self.tensors[f"{name}.exp"], self.tensors[f"{name}.tau"])
            self.taps.put(f"{name}.m", m)
            self.taps.put(f"{name}.z", z)
        self.empty_rows += int(np.count_nonzero(~bits.any(axis=-1)))
        self.taps.put(name, bits)
        return bits

    def _context(self, name: str, a: NDArray[np.uint8], v: NDArray[np.uint8]) -> NDArray[np.uint8]:
        columns = pack(np.ascontiguousarray(v.swapaxes(2, 3)))
        c, bits = kernels.context(_groups(pack(a)), _groups(columns))
        c, bits = self._tokens(c, v.shape), self._tokens(bits, v.shape)
        self.taps.put(f"{name}.c", c)
        self.taps.put(name, bits)
        return bits

    def _heads(self, rows: NDArray[Any]) -> NDArray[Any]:
        """[B, N, D] to [B, H, N, E]."""
        batch, tokens, _ = rows.shape
        split = rows.reshape(batch, tokens, self.config.num_heads, self.config.head_dim)
        return np.ascontiguousarray(split.swapaxes(1, 2))

    def _tokens(self, groups: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """[B * H, N, E], of `shape` [B, H, N, E], to [B, N, D]."""
        batch, _, tokens, _ = shape
        return np.ascontiguousarray(groups.reshape(shape).swapaxes(1, 2)).reshape(batch, tokens, self.config.embed_dim)


def _groups(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """[B, H, rows, words] to [B * H, rows, words]."""
    return words.reshape(-1, *words.shape[2:])


def image_patches(images: NDArray[np.uint8], config: ViTConfig) -> NDArray[np.uint8]:
    """Cut images into patches in raster order, each in the order (row, column, channel).

    Parameters
    ----------
    images : uint8[B, img_size, img_size, in_chans]
    config : ViTConfig

    Returns
    -------
    uint8[B, grid_size**2, patch_dim]
    """
    grid, side = config.grid_size, config.patch_size
    tiles = images.reshape(len(images), grid, side, grid, side, config.in_chans).swapaxes(2, 3)
    return np.ascontiguousarray(tiles).reshape(len(images), grid**2, config.patch_dim)


def check_images(images: NDArray[np.uint8], config: ViTConfig) -> None:
    """Refuse anything but one or more uint8 images of the network's size.

    Raises
    ------
    BivitError
        Naming the dtype or shape that is allowed and the one that was got.
    """
    check(isinstance(images, np.ndarray), f"images must be a numpy array, got {type(images).__name__}")
    check(images.dtype == np.uint8, f"images must be uint8 pixels of 0 to 255, got {images.dtype}; convert them first")
    expected = (config.img_size, config.img_size, config.in_chans)
    check(
        images.ndim == 4 and images.shape[1:] == expected,
        f"images must have shape [B, {', '.join(map(str, expected))}], got {list(images.shape)}",
    )
    check(len(images) > 0, "there are no images to run; give at least one")


def _wanted_taps(taps: Collection[str] | Literal["all"] | None, config: ViTConfig) -> list[str]:
    known = tap_names(config)
    if taps is None:
        return []
    if taps == "all":
        return known
    unknown = sorted(set(taps) - set(known))
    check(not unknown, f"there are no taps {', '.join(unknown)}; `bivit.sim.taps.tap_names` lists the names")
    return [name for name in known if name in set(taps)]
