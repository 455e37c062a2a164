"""Configurations of both families: stages, blocks and refusals."""

from dataclasses import fields, replace
from typing import Any

import pytest
from shapes import SWIN, TINY

from bivit.sim.errors import BivitError
from bivit.sim.network.config import ModelConfig, SwinConfig, ViTConfig, config_from_dict, vit_only
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import PRESETS, preset, vit_preset
from bivit.sim.network.tensors import check_formats, tensor_specs


def test_stages_of_swin_tiny() -> None:
    """Table 7 of arXiv 2103.14030, Swin-T at 224 pixels."""
    stages = preset("swin_tiny").stages
    assert [len(stage.blocks) for stage in stages] == [2, 2, 6, 2]
    first = [stage.blocks[0] for stage in stages]
    assert [block.grid for block in first] == [56, 28, 14, 7]
    assert [block.embed_dim for block in first] == [96, 192, 384, 768]
    assert [block.num_heads for block in first] == [3, 6, 12, 24]
    assert {block.head_dim for block in first} == {32}
    assert [block.windows for block in first] == [64, 16, 4, 1]
    assert {(block.window, block.window_tokens, block.bias_entries) for block in first} == {(7, 49, 169)}
    assert [block.shift for stage in stages for block in stage.blocks] == [0, 3, 0, 3, 0, 3, 0, 3, 0, 3, 0, 0]
    merges = [stage.merge for stage in stages]
    assert [merge and (merge.grid, merge.in_dim, merge.out_dim, merge.tokens) for merge in merges] == [
        None, (56, 384, 192, 784), (28, 768, 384, 196), (14, 1536, 768, 49),
    ]  # fmt: skip


def test_names_are_those_of_the_state_dict() -> None:
    assert [block.name for block in TINY.blocks] == ["blocks.0", "blocks.1"]
    names = [block.name for block in SWIN.blocks]
    assert names == ["layers.0.blocks.0", "layers.0.blocks.1", "layers.1.blocks.0"]
    assert [stage.merge and stage.merge.name for stage in SWIN.stages] == [None, "layers.1.downsample"]


def test_a_window_larger_than_the_grid_is_the_grid_and_does_not_shift() -> None:
    shapes = [(block.window, block.shift) for block in replace(SWIN, window_size=3, depths=(2, 2), img_size=12).blocks]
    assert shapes == [(3, 0), (3, 1), (3, 0), (3, 0)]
    shapes = [(block.window, block.shift) for block in replace(SWIN, window_size=7, depths=(2, 2)).blocks]
    assert shapes == [(4, 0), (4, 0), (2, 0), (2, 0)]


def test_a_deit_has_one_stage_and_no_windows() -> None:
    (stage,) = preset("deit_tiny").stages
    block = stage.blocks[-1]
    assert stage.merge is None
    assert (block.name, block.tokens, block.windows, block.window_tokens) == ("blocks.11", 198, 1, 198)
    assert (block.window, block.shift, block.bias_entries, block.largest_score) == (None, 0, 0, 64)
    assert preset("deit_tiny_cls").num_tokens == 197


def test_what_the_classifier_reads() -> None:
    read = {name: (c.head_rows, c.mean_pool, c.num_features, c.pool_shift) for name, c in PRESETS.items()}
    assert read["deit_tiny"] == (2, False, 192, 8)
    assert read["deit_base_cls"] == (1, False, 768, 8)
    assert read["swin_small"] == (1, True, 768, 6)
    assert read["digits"] == (1, True, 128, 4)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_go_through_json_and_fit_the_default_formats(name: str) -> None:
    config = preset(name)
    assert config_from_dict(config.to_dict(), name) == config
    check_formats(config, Formats())
    assert tensor_specs(config, Formats())


def test_a_config_without_a_family_is_a_deit() -> None:
    values = TINY.to_dict()
    del values["family"]
    assert config_from_dict(values, "old") == TINY


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        (TINY, {"img_size": 5}, "img_size 5 is not a multiple of patch_size 2; choose sizes that divide"),
        (TINY, {"depth": 0}, "depth must be a positive integer, got 0"),
        (TINY, {"num_heads": 3}, "embed_dim 16 is not a multiple of num_heads 3"),
        (TINY, {"embed_dim": 24}, "embed_dim / num_heads must be a multiple of 8 up to 64, got 12"),
        (TINY, {"mlp_ratio": 0.25}, "embed_dim . mlp_ratio must be a multiple of 8, got 4.0"),
        (TINY, {"norm_mode": "rms"}, "norm_mode must be one of layernorm, mean, got 'rms'"),
        (TINY, {"pool": "max"}, "pool must be one of token, mean, got 'max'"),
        (TINY, {"pool": "token"}, "pool 'token' needs class_token; set class_token = true or pool = 'mean'"),
        (TINY, {"dist_token": True}, "dist_token needs class_token and pool 'token'"),
        (SWIN, {"depths": (2,)}, r"one entry a stage, got \[2\] and \[1, 2\]"),
        (SWIN, {"depths": (), "num_heads": ()}, r"one entry a stage, got \[\] and \[\]"),
        (SWIN, {"depths": (2, 0)}, "each of depths must be a positive integer, got 0"),
        (SWIN, {"window_size": 0}, "window_size must be a positive integer, got 0"),
        (SWIN, {"window_size": 3}, "stage 0 has 4 patches a side, which windows of 3 do not divide; choose"),
        (SWIN, {"img_size": 6, "window_size": 4}, "a grid of 3 patches cannot be halved 1 times; .* multiple of 2"),
        (SWIN, {"eps": "small"}, "eps must be a positive number, got 'small'"),
        (TINY, {"mlp_ratio": -1.0}, "mlp_ratio must be a positive number, got -1.0"),
        (TINY, {"img_size": 2**17}, "img_size must be 1 to 65536, got 131072"),
        (TINY, {"img_size": 1024}, "at most 256 patches, got 512"),
        (TINY, {"img_size": 1024, "patch_size": 1024}, "a patch must have at most 262,144 pixels, got 1,048,576"),
        (TINY, {"in_chans": 10**30}, "in_chans must be 1 to 1024, got 1000"),
        (TINY, {"num_classes": 2**31}, "num_classes must be 1 to 1048576"),
        (TINY, {"depth": 2**31}, "depth must be 1 to 1024, got 2147483648"),
        (TINY, {"mlp_ratio": float("inf")}, "mlp_ratio must be at most 65536, got inf"),
        (TINY, {"mlp_ratio": float("nan")}, "mlp_ratio must be a positive number, got nan"),
        (TINY, {"mlp_ratio": 1e-9}, "must be a multiple of 8"),
        (TINY, {"eps": 2.0}, "eps must be at most 1, got 2.0"),
        (SWIN, {"depths": (1000, 1000)}, r"depth \(sum of depths\) must be 1 to 1024, got 2000"),
        (SWIN, {"img_size": 256, "window_size": 128}, "windows must be at most 64 patches a side, got 128"),
        (SWIN, {"num_heads": (1, 3)}, "embed_dim 32 is not a multiple of num_heads 3"),
        (SWIN, {"num_heads": (1, 1), "embed_dim": 40}, "multiple of 8 up to 64, got 80"),
    ],
)
def test_sizes_that_do_not_fit_are_named(config: ModelConfig, change: dict[str, Any], message: str) -> None:
    with pytest.raises(BivitError, match=message):
        replace(config, **change)


@pytest.mark.parametrize("name", [field.name for field in fields(Formats)])
def test_formats_have_a_largest_width(name: str) -> None:
    with pytest.raises(BivitError, match=f"{name} must be at most 64, got 1073741824"):
        Formats(**{name: 1 << 30})


def test_untrusted_configs_are_refused_by_name() -> None:
    with pytest.raises(BivitError, match="family in x must be one of vit, swin, got 'resnet'"):
        config_from_dict({"family": "resnet"}, "x")
    with pytest.raises(BivitError, match=r"x has unknown keys depth; allowed are .*depths"):
        config_from_dict(SWIN.to_dict() | {"depth": 3}, "x")
    values = SWIN.to_dict()
    del values["window_size"]
    with pytest.raises(BivitError, match=r"x is incomplete: .*window_size"):
        config_from_dict(values, "x")


def test_presets_are_refused_by_name() -> None:
    with pytest.raises(BivitError, match=r"there is no preset 'deit'; allowed are digits, .*swin_small"):
        preset("deit")
    with pytest.raises(BivitError, match="preset 'swin_tiny' is not a DeiT, got family 'swin'"):
        vit_preset("swin_tiny")
    with pytest.raises(BivitError, match="family vit, got swin"):
        vit_only(SWIN)
    assert isinstance(vit_only(TINY), ViTConfig)
    assert isinstance(preset("swin_tiny"), SwinConfig)
