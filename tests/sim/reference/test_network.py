"""The integer network against its plain-Python twin, tap by tap, and its checks."""

import hashlib
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from naive_network import assert_equals_naive
from shapes import SWIN, random_images

from bivit.sim.bits import unpack
from bivit.sim.errors import BivitError
from bivit.sim.network.config import ViTConfig
from bivit.sim.network.file import load_network, save_network
from bivit.sim.network.formats import Formats
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.presets import PRESETS, preset
from bivit.sim.network.random import random_network
from bivit.sim.reference import run as reference_module
from bivit.sim.reference.prepare import prepare_heads
from bivit.sim.reference.run import IMAGES_A_GROUP, run_reference
from helpers import ROOT

TINY = ViTConfig(img_size=8, patch_size=4, num_classes=5, embed_dim=24, depth=2, num_heads=3, mlp_ratio=3.0)
CONFIGS = {
    "class_token": TINY,
    "class_and_distillation_token": replace(TINY, dist_token=True, depth=1),
    "mean_pool": replace(TINY, pool="mean", class_token=False, in_chans=1),
    "mean_pool_with_class_token": replace(TINY, pool="mean", attn_mode="score", depth=1),
    "all_thresholds": replace(TINY, norm_mode="mean", qk_mode="threshold", attn_mode="score"),
    "mean_norm": replace(TINY, norm_mode="mean", dist_token=True),
    "threshold_heads": replace(TINY, qk_mode="threshold"),
    "one_token": replace(TINY, pool="mean", class_token=False, patch_size=8),
    "words_with_and_without_padding": replace(TINY, embed_dim=64, num_heads=1, mlp_ratio=1.125, depth=1),
}


def with_tensor(network: IntNetwork, name: str, tensor: Any) -> IntNetwork:
    return replace(network, tensors=network.tensors | {name: tensor})


@pytest.mark.parametrize("name", CONFIGS)
def test_every_tap_equals_the_naive_twin(name: str) -> None:
    config = CONFIGS[name]
    assert_equals_naive(random_network(config, seed=1), random_images(config, 2))


@pytest.mark.parametrize("name", ["class_token", "mean_norm"])
def test_other_formats(name: str) -> None:
    formats = Formats(
        residual_bits=16, residual_frac_bits=8, norm_shift=1, theta_bits=12, theta_frac_bits=6, mean_shift=5,
        qk_scale_bits=4, scale_bits=10, head_m=30, head_frac_bits=6,
    )  # fmt: skip
    config = CONFIGS[name]
    assert_equals_naive(random_network(config, formats, seed=2), random_images(config, 1))


def test_saturations_and_empty_rows_are_counted() -> None:
    network = random_network(TINY, seed=3)
    scale = np.full(24, 2**15 - 1, dtype=np.int32)
    network = with_tensor(network, "blocks.0.attn.proj.scale", scale)
    network = with_tensor(network, "blocks.1.mlp.fc2.scale", -scale)
    network = with_tensor(network, "patch_embed.proj.shift", np.array([12], dtype=np.int32))
    network = with_tensor(network, "blocks.0.attn.attn_sign.tau", np.array([2**16, 2**15, 0], dtype=np.int32))
    saturations, empty_rows = assert_equals_naive(network, random_images(TINY, 2))
    assert saturations > 0
    assert empty_rows > 0


@pytest.mark.parametrize("pixel", [0, 255])
def test_flat_images(pixel: int) -> None:
    images = np.full((1, 8, 8, 3), pixel, dtype=np.uint8)
    assert_equals_naive(random_network(TINY, seed=4), images)


def test_only_the_taps_asked_for_are_returned_in_hardware_order() -> None:
    network, images = random_network(TINY), random_images(TINY, 3)
    everything = run_reference(network, images, taps="all").taps
    some = run_reference(network, images, taps={"head", "blocks.1.attn.scores", "patch_embed"}).taps
    assert list(some) == ["patch_embed", "blocks.1.attn.scores", "head"]
    assert all(np.array_equal(some[name], everything[name]) for name in some)
    assert run_reference(network, images).taps == {}


def test_a_batch_of_several_chunks_equals_its_images_one_by_one() -> None:
    network, images = random_network(TINY, seed=5), random_images(TINY, 2 * IMAGES_A_GROUP + 3)
    network = with_tensor(network, "blocks.0.mlp.fc2.scale", np.full(24, 2**15 - 1, dtype=np.int32))
    batch = run_reference(network, images, taps=["blocks.1.add2"])
    single = [run_reference(network, images[i : i + 1], taps=["blocks.1.add2"]) for i in range(len(images))]
    assert batch.saturations == sum(result.saturations for result in single) > 0
    assert np.array_equal(batch.logits, np.concatenate([result.logits for result in single]))
    adds = [result.taps["blocks.1.add2"] for result in single]
    assert np.array_equal(batch.taps["blocks.1.add2"], np.concatenate(adds))


def test_prediction_is_the_lowest_index_of_the_largest_logit() -> None:
    network = random_network(TINY)
    images = random_images(TINY, 2)
    assert run_reference(network, images).predictions.tolist() == [
        row.index(max(row)) for row in run_reference(network, images).logits.tolist()
    ]
    tied = with_tensor(network, "head.weight", np.zeros((5, 24), dtype=np.int8))
    tied = with_tensor(tied, "head.bias", np.array([1, 7, 3, 7, 7], dtype=np.int32))
    assert run_reference(tied, images).predictions.tolist() == [1, 1]


def test_images_that_are_not_contiguous() -> None:
    network, images = random_network(TINY), random_images(TINY, 4)
    assert np.array_equal(run_reference(network, images[::2]).logits, run_reference(network, images[::2].copy()).logits)
    turned = images.swapaxes(1, 2)
    assert np.array_equal(run_reference(network, turned).logits, run_reference(network, turned.copy()).logits)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((0, 8, 8, 3), dtype=np.uint8), "there are no images"),
        (np.zeros((1, 8, 8, 3)), r"must be uint8 .*got float64; convert them with np\.rint\(images\)"),
        (np.full((1, 8, 8, 3), np.nan, dtype=np.float32), "got float32 with 192 NaN, .*convert them with"),
        (np.zeros((1, 8, 8, 3), dtype=np.int64), r"got int64; convert them with images\.clip"),
        (np.zeros((1, 8, 9, 3), dtype=np.uint8), r"shape \[B, 8, 8, 3\], got \[1, 8, 9, 3\]"),
        (np.zeros((8, 8, 3), dtype=np.uint8), r"got \[8, 8, 3\]"),
        ([[0]], "must be a numpy array, got list"),
    ],
)
def test_bad_images_are_refused(images: Any, message: str) -> None:
    with pytest.raises(BivitError, match=message):
        run_reference(random_network(TINY), images)


def test_the_conversion_that_the_message_names_works() -> None:
    network, images = random_network(TINY), random_images(TINY, 2)
    for given in (images.astype(np.float32), images / 255 * 255):
        converted = np.rint(given).clip(0, 255).astype(np.uint8)
        assert np.array_equal(run_reference(network, converted).logits, run_reference(network, images).logits)


@pytest.mark.parametrize("count", [5, 2 * IMAGES_A_GROUP + 3])
def test_the_result_does_not_depend_on_the_threads(count: int) -> None:
    network, images = random_network(TINY), random_images(TINY, count)
    expected = run_reference(network, images, taps="all", threads=1)
    for threads in (2, 4, None):
        got = run_reference(network, images, taps="all", threads=threads)
        assert np.array_equal(got.logits, expected.logits)
        assert all(np.array_equal(got.taps[name], tap) for name, tap in expected.taps.items())
    with pytest.raises(BivitError, match="threads must be 1 or more, or None for one a core, got 0"):
        run_reference(network, images, threads=0)


def test_one_thread_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = random_network(TINY), random_images(TINY, 2 * IMAGES_A_GROUP)
    monkeypatch.setattr(reference_module, "ThreadPoolExecutor", None)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert len(run_reference(network, images, threads=1).logits) == 2 * IMAGES_A_GROUP
    with pytest.raises(TypeError):
        run_reference(network, images)


def test_bad_taps_are_refused() -> None:
    network, images = random_network(TINY), random_images(TINY, 1)
    with pytest.raises(BivitError, match=r"no taps blocks\.2\.add1, nonsense; .*tap_names"):
        run_reference(network, images, taps=["nonsense", "head", "blocks.2.add1"])
    with pytest.raises(BivitError, match="got 'head'"):
        run_reference(network, images, taps="head")


def plain_python_digest() -> str:
    """SHA-256 of every tap of three networks on two images; also run with numba off, in a process of its own."""
    digest = hashlib.sha256()
    for config in (CONFIGS["class_and_distillation_token"], CONFIGS["all_thresholds"], SWIN):
        for tap in run_reference(random_network(config), random_images(config, 2), taps="all").taps.values():
            digest.update(tap.tobytes())
    return digest.hexdigest()


#: No numba at all; the population count's product wraps on purpose, and numpy warns of that, compiled code does not.
PLAIN = {"NUMBA_DISABLE_JIT": "1", "PYTHONWARNINGS": "ignore::RuntimeWarning"}
#: Code for x86 processors with vectors of 256 bits but no population count of vectors, and with neither.
AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""}
GENERIC = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}
ON_X86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="code for other x86 processors")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(PLAIN, id="plain"),
        pytest.param(AVX2, marks=ON_X86, id="avx2"),
        pytest.param(GENERIC, marks=ON_X86, id="generic"),
    ],
)
def test_other_processors_and_plain_python_give_the_same(changes: dict[str, str]) -> None:
    script = "import numba, test_network; print(test_network.plain_python_digest()); "
    script += "print(numba.config.DISABLE_JIT, numba.config.CPU_NAME)"
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        env=os.environ | changes | {"PYTHONPATH": str(ROOT / "tests" / "tools")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    digest, setting = process.stdout.splitlines()
    assert setting == f"{changes.get('NUMBA_DISABLE_JIT', 0)} {(os.environ | changes).get('NUMBA_CPU_NAME')}"
    assert digest == plain_python_digest()


def test_deit_tiny_at_full_size() -> None:
    config = preset("deit_tiny")
    network = random_network(config)
    blocks = ("blocks.0", "blocks.11")
    parts = ("norm1", "attn.qkv", "attn.v_sign", "attn.attn_sign", "attn.context.c", "mlp.act", "mlp.fc2")
    result = run_reference(
        network, random_images(config, 1), taps=[f"{block}.{part}" for block in blocks for part in parts]
    )
    assert result.logits.shape == (1, 1000)
    assert result.saturations == 0
    for block in blocks:
        taps = {part: result.taps[f"{block}.{part}"][0] for part in parts}
        qkv = 2 * unpack(network.tensors[f"{block}.attn.qkv.weight"], 192).astype(np.int64) - 1
        fc2 = 2 * unpack(network.tensors[f"{block}.mlp.fc2.weight"], 768).astype(np.int64) - 1
        assert np.array_equal(taps["attn.qkv"], (2 * taps["norm1"] - 1) @ qkv.T)
        assert np.array_equal(taps["mlp.fc2"], (2 * taps["mlp.act"] - 1) @ fc2.T)
        c = taps["attn.attn_sign"] @ (2 * taps["attn.v_sign"] - 1)
        assert np.array_equal(taps["attn.context.c"], c.swapaxes(0, 1).reshape(198, 192))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_saved_loaded_and_run(name: str, tmp_path: Path) -> None:
    config = preset(name)
    save_network(random_network(config), tmp_path / "net")
    network, images = load_network(tmp_path / "net"), random_images(config, 2)
    result = run_reference(network, images)
    assert result.logits.shape == (2, config.num_classes)
    assert not np.array_equal(result.logits[0], result.logits[1])
    assert (result.saturations, result.empty_rows) == (0, 0)


def test_more_tokens_than_are_counted_are_refused() -> None:
    block = preset("deit_tiny").blocks[0]
    with pytest.raises(BivitError, match=r"blocks\.0\.attn has 36102 tokens .* at most 32767: choose larger patches"):
        prepare_heads(replace(block, grid=190), {})
