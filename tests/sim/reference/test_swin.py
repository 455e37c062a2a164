"""A Swin's integer network against its plain-Python twin, tap by tap, and what the hardware says of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engines import tiny_flow
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_network import assert_equals_naive, run_naive, wrong_taps
from program import assert_refused, invoke
from shapes import SWIN, SWIN_MODES, SWINS, random_images

from bivit.sim.bits import unpack
from bivit.sim.errors import BivitError
from bivit.sim.mapping.compiled import compile_for
from bivit.sim.network import windows
from bivit.sim.network.config import SwinConfig
from bivit.sim.network.file import save_network
from bivit.sim.network.formats import Formats
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.presets import preset
from bivit.sim.network.random import random_network
from bivit.sim.network.taps import tap_shapes
from bivit.sim.reference import forward, prepare
from bivit.sim.reference.run import run_reference

SHIFTED = "layers.0.blocks.1.attn"


def with_tensor(network: IntNetwork, name: str, change: Callable[[np.ndarray], np.ndarray]) -> IntNetwork:
    return replace(network, tensors=network.tensors | {name: change(network.tensors[name].copy())})


@pytest.mark.parametrize("name", SWINS)
def test_every_tap_equals_the_naive_twin(name: str) -> None:
    assert_equals_naive(random_network(SWINS[name], seed=1), random_images(SWINS[name], 2))


@pytest.mark.parametrize("name", SWIN_MODES)
def test_every_tap_equals_the_naive_twin_in_every_mode(name: str) -> None:
    assert_equals_naive(random_network(SWIN_MODES[name], seed=2), random_images(SWIN_MODES[name], 2))


@st.composite
def swins(draw: st.DrawFn) -> SwinConfig:
    """Small Swins: a last stage of one or two windows a side, and up to three stages."""
    stages = draw(st.integers(1, 3))
    window = draw(st.integers(1, 3))
    return SwinConfig(
        img_size=draw(st.integers(1, 2)) * window << (stages - 1),
        patch_size=1,
        in_chans=draw(st.sampled_from((1, 3))),
        num_classes=draw(st.integers(1, 4)),
        embed_dim=8,
        depths=draw(st.lists(st.integers(1, 2), min_size=stages, max_size=stages)),
        num_heads=(1,) * stages,
        window_size=draw(st.integers(window, window + 1)) if stages == 1 else window,
        mlp_ratio=draw(st.sampled_from((1.0, 2.0))),
        norm_mode=draw(st.sampled_from(("layernorm", "mean"))),
        qk_mode=draw(st.sampled_from(("layernorm", "threshold"))),
        attn_mode=draw(st.sampled_from(("softmax", "score"))),
    )


@settings(max_examples=15)
@given(st.data())
def test_any_small_swin_equals_the_naive_twin(data: st.DataObject) -> None:
    try:
        config = data.draw(swins())
    except BivitError:  # a window that is larger than, and does not divide, the grid of the only stage
        return
    assert_equals_naive(random_network(config, seed=3), random_images(config, 1))


def test_other_formats() -> None:
    formats = Formats(
        residual_bits=16, residual_frac_bits=8, norm_shift=1, theta_bits=12, theta_frac_bits=6, mean_shift=5,
        qk_scale_bits=4, scale_bits=12, head_m=30, head_frac_bits=6,
    )  # fmt: skip
    assert_equals_naive(random_network(SWIN, formats, seed=4), random_images(SWIN, 1))


def test_saturations_of_patches_their_norm_and_merging_and_empty_rows_are_counted() -> None:
    network, images = random_network(SWIN, seed=5), random_images(SWIN, 2)
    counts = [assert_equals_naive(network, images)[0]]
    for name, value in (
        ("layers.1.downsample.reduction.scale", 2**15 - 1),
        ("patch_embed.norm.scale", 2**15 - 1),
        ("patch_embed.proj.shift", 8),
        (f"{SHIFTED}.attn_sign.tau", 2**16),
    ):
        network = with_tensor(network, name, lambda tensor, value=value: np.full_like(tensor, value))
        saturations, empty_rows = assert_equals_naive(network, images)
        counts.append(saturations)
    assert counts[0] == 0
    assert counts[1] < counts[2] < counts[3]
    assert counts[1] > 0
    assert empty_rows > 0


@pytest.mark.parametrize("pixel", [0, 255])
def test_flat_images_whose_patches_may_have_no_variance(pixel: int) -> None:
    network = random_network(SWIN, seed=6)
    images = np.full((1, 8, 8, 1), pixel, dtype=np.uint8)
    assert_equals_naive(network, images)
    network = with_tensor(network, "patch_embed.proj.weight", np.zeros_like)
    network = with_tensor(network, "patch_embed.proj.bias", np.zeros_like)
    network = with_tensor(network, "patch_embed.norm.eps", np.ones_like)
    assert_equals_naive(network, images)


def test_pairs_that_may_not_attend_have_no_bit_even_where_every_other_has() -> None:
    for mode, part, value in (("softmax", "tau", 0), ("score", "theta", 0)):
        network = random_network(replace(SWIN, attn_mode=mode), seed=7)
        network = with_tensor(network, f"{SHIFTED}.attn_sign.{part}", lambda t, value=value: np.full_like(t, value))
        taps = run_reference(network, random_images(SWIN, 1), taps=[f"{SHIFTED}.scores", f"{SHIFTED}.attn_sign"]).taps
        masked = taps[f"{SHIFTED}.scores"] == windows.MASKED
        # Windows of 2 x 2: none masked in one window, half of the pairs in one, all but the diagonal's in the corner.
        assert masked.sum(axis=(0, 2, 3, 4)).tolist() == [0, 8, 8, 12]
        assert np.array_equal(taps[f"{SHIFTED}.attn_sign"], ~masked)


def upside_down(shape: windows.BlockShape) -> np.ndarray | None:
    """The mask with one entry flipped: the first pair of the first window."""
    mask = windows_mask(shape)
    if mask is not None:
        mask[0, 0, 1] ^= True
    return mask


windows_mask, windows_relative = windows.window_mask, windows.relative_positions

FAULTS = {
    "mask entry": (prepare, "window_mask", upside_down, f"{SHIFTED}.scores"),
    "bias looked up from key to query": (
        prepare, "relative_positions", lambda side: windows_relative(side).T, "layers.0.blocks.0.attn.scores",
    ),
    "neighbours by rows": (
        forward, "merge_neighbours",
        lambda x, grid: windows.merge_neighbours(x, grid).reshape(len(x), -1, 4, 16)[:, :, [0, 2, 1, 3]]
        .reshape(len(x), -1, 64),
        "layers.1.downsample.norm",
    ),
    "windows shifted the other way": (
        prepare, "window_tokens",
        lambda shape: windows._partition(
            np.roll(np.arange(shape.tokens).reshape(shape.grid, -1), (shape.shift,) * 2, (0, 1)), shape.window
        ),
        f"{SHIFTED}.q_norm.s1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_at_its_first_tap(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, replacement, first = FAULTS[fault]
    network, images = random_network(SWIN, seed=8), random_images(SWIN, 2)
    twins = run_naive(network, images)
    assert wrong_taps(network, images, twins) == []
    monkeypatch.setattr(module, name, replacement)
    prepared_anew = replace(network)
    assert wrong_taps(prepared_anew, images, twins)[0] == first


@pytest.mark.parametrize(
    ("tensor", "first"),
    [
        (f"{SHIFTED}.relative_position_bias_table", f"{SHIFTED}.scores"),
        ("patch_embed.norm.bias", "patch_embed"),
        ("layers.1.downsample.reduction.bias", "layers.1.downsample"),
    ],
)
def test_a_changed_entry_of_a_tensor_is_found_at_its_first_tap(tensor: str, first: str) -> None:
    network, images = random_network(SWIN, seed=9), random_images(SWIN, 1)
    twins = run_naive(network, images)

    def change(values: np.ndarray) -> np.ndarray:
        values.flat[values.size // 2] ^= 1
        return values

    assert wrong_taps(with_tensor(network, tensor, change), images, twins)[0] == first


@pytest.mark.parametrize("name", ["swin_fashion", "swin_cifar"])
def test_small_presets_run(name: str) -> None:
    network = random_network(preset(name))
    result = run_reference(network, random_images(network.config, 2), taps="all")
    assert result.saturations == 0
    assert len(np.unique(result.logits, axis=0)) == 2
    assert {tap: values.shape[1:] for tap, values in result.taps.items()} == tap_shapes(network.config)


def test_swin_tiny_at_full_size_runs_every_operator_on_its_own_taps() -> None:
    """One image; matmuls, windows and merging recomputed from the taps before them with numpy's own products."""
    network = random_network(preset("swin_tiny"))
    attn, merge = "layers.2.blocks.5.attn", "layers.3.downsample"
    names = ["layers.2.blocks.5.add2", f"{merge}.norm", f"{merge}.reduction", merge]
    names += [f"{attn}.{part}" for part in ("q_norm", "k_norm", "v_sign", "scores", "attn_sign", "context.c")]
    result = run_reference(network, random_images(network.config, 1), taps=names)
    taps = {name: values[0] for name, values in result.taps.items()}
    assert result.logits.shape == (1, 1000)
    assert result.saturations == 0
    q, k, v = (2 * taps[f"{attn}.{part}"] - 1 for part in ("q_norm", "k_norm", "v_sign"))
    assert q.shape == (4, 12, 49, 32)
    agreements = (q @ k.swapaxes(-1, -2) + 32) // 2
    masked = taps[f"{attn}.scores"] == -1
    bias = np.where(masked, 0, taps[f"{attn}.scores"] - agreements)
    assert masked.any(axis=(1, 2, 3)).tolist() == [False, True, True, True]
    # Without a mask, the bias depends on the offset only: the same for neighbours wherever they lie.
    assert np.array_equal(bias[0, :, 0, 0], bias[0, :, 48, 48])
    assert np.array_equal(bias[0, :, 0, 8], bias[0, :, 40, 48])
    context = (taps[f"{attn}.attn_sign"] @ v).swapaxes(1, 2).reshape(2, 2, 7, 7, 384).swapaxes(1, 2)
    rolled = np.roll(taps[f"{attn}.context.c"].reshape(14, 14, 384), (-3, -3), (0, 1))
    assert np.array_equal(context.reshape(14, 14, 384), rolled)
    weight = 2 * unpack(network.tensors[f"{merge}.reduction.weight"], 1536).astype(np.int64) - 1
    assert np.array_equal((2 * taps[f"{merge}.norm"] - 1) @ weight.T, taps[f"{merge}.reduction"])
    scale, offset = (network.tensors[f"{merge}.reduction.{part}"] for part in ("scale", "bias"))
    assert np.array_equal(taps[merge], taps[f"{merge}.reduction"] * scale + offset)


@pytest.mark.parametrize("command", ["estimate", "cosim"])
def test_an_engine_without_windows_refuses_a_swin_and_names_those_that_have_them(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "the engine has no windows, which networks of the family swin need; choose one that has them: swin, swin_"
    network = random_network(SWIN)
    with pytest.raises(BivitError, match=message):
        compile_for(network, tiny_flow())
    save_network(network, tmp_path / "swin.safetensors")
    done = invoke(command, "swin.safetensors", "--engine", "sim", "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, message)
