"""What the axes of the named tensors count, in both families and in every mode."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bivit.sim.network.presets import preset
from bivit.sim.network.taps import tap_names, tap_shapes, taps_of

#: Tensors of a DeiT, and of a Swin, whose q and k are normalised.
DEIT = {
    "patch_embed": ("token", "channel"),
    "blocks.0.attn.qkv": ("token", "channel"),
    "blocks.1.attn.attn_sign": ("head", "token", "key"),
    "blocks.0.attn.scores": ("head", "token", "key"),
    "blocks.1.attn.q_norm": ("head", "token", "channel"),
    "blocks.1.attn.q_norm.s1": ("head", "token"),
    "blocks.1.attn.attn_sign.z": ("head", "token"),
    "blocks.1.norm1.r": ("token",),
    "norm.q": ("row",),
    "norm": ("row", "channel"),
    "head": ("class",),
}
SWIN = {
    "patch_embed.norm.s1": ("token",),
    "layers.0.blocks.1.attn.q_norm.r": ("window", "head", "token"),
    "layers.0.blocks.0.attn.v_sign": ("window", "head", "token", "channel"),
    "layers.1.blocks.0.attn.scores": ("window", "head", "token", "key"),
    "layers.1.blocks.0.attn.context.c": ("token", "channel"),
    "layers.1.downsample.norm.s1": ("token",),
    "layers.1.downsample": ("token", "channel"),
    "pool": ("row", "channel"),
}


@pytest.mark.parametrize(("name", "axes"), [("deit_tiny", DEIT), ("swin_tiny", SWIN)])
def test_names_of_axes(name: str, axes: dict[str, tuple[str, ...]]) -> None:
    config = replace(preset(name), qk_mode="layernorm")
    found = {tap.name: tap.axes for tap in taps_of(config)}
    assert {tap: found[tap] for tap in axes} == axes


@pytest.mark.parametrize("name", ["digits", "deit_tiny", "swin_tiny"])
@pytest.mark.parametrize("modes", [{}, {"qk_mode": "threshold", "attn_mode": "score"}])
def test_axes_of_one_name_have_one_length(name: str, modes: dict[str, str]) -> None:
    """In a DeiT every token axis is as long as the next; everywhere there is a length for each axis."""
    config = replace(preset(name), **modes)
    taps = taps_of(config)
    assert [tap.name for tap in taps] == tap_names(config) == list(tap_shapes(config))
    lengths: dict[str, set[int]] = {}
    for tap in taps:
        assert len(tap.axes) == len(tap.shape) == len(set(tap.axes)), tap.name
        for axis, length in zip(tap.axes, tap.shape, strict=True):
            lengths.setdefault(axis, set()).add(length)
    if config.family == "vit":
        assert lengths["token"] == lengths["key"] == {config.num_tokens}
        assert lengths["head"] == {config.num_heads}
    assert lengths["class"] == {config.num_classes}
    assert lengths["row"] == {config.head_rows}
