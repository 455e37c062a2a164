"""First values of the learnable scales, and the report a head."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from shapes import TINY
from typer.testing import CliRunner

from bivit.cli.main import app
from bivit.model.attention_report import attention_report
from bivit.model.files.checkpoint import Checkpoint, save_checkpoint
from bivit.model.train.calibrate import calibrate, is_calibrated
from bivit.model.vit.binarize import Binarization
from bivit.model.vit.vit import BiViT
from bivit.sim.errors import BivitError
from bivit.sim.network.config import SwinConfig
from bivit.sim.network.presets import preset
from bivit.sim.reference.run import run_reference

SWIN = SwinConfig(
    img_size=16, patch_size=2, in_chans=1, num_classes=3, embed_dim=16, depths=(2,), num_heads=(2,), window_size=4
)


def images(config, count=6, seed=0):
    shape = (count, config.img_size, config.img_size, config.in_chans)
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("config", [TINY, SWIN])
def test_scales_start_at_statistics_of_the_batches(config) -> None:
    torch.manual_seed(0)
    model = BiViT(config)
    calibrate(model, images(config).split(3))
    assert is_calibrated(model)
    for shape, (_, block) in zip(config.blocks, model.named_blocks(), strict=True):
        for part in (block.attn.q_norm, block.attn.k_norm):
            assert int(part.statistic.batches) == 2
            # Normalised channels have a mean magnitude of about 0.8, sqrt(2 / pi) for a normal distribution.
            assert torch.all((part.scale > 0.6) & (part.scale < 1.0))
            assert torch.equal(part.scale.detach(), part.statistic.mean())
        scale = block.attn.attn_sign.scale
        if shape.shift:
            # Fewer pairs attend, so the mean probability is larger.
            assert torch.all(scale > 2.5 / shape.window_tokens)
        else:
            assert torch.allclose(scale, torch.tensor(2 / shape.window_tokens), rtol=1e-3)


def test_no_head_starts_constant() -> None:
    model = BiViT(TINY)
    calibrate(model, [images(TINY)])
    rows = attention_report(model, images(TINY, seed=1).numpy())
    assert len(rows) == TINY.depth * TINY.num_heads
    assert not any(row["constant"] for row in rows)


def test_fixed_attention_keeps_its_scale() -> None:
    model = BiViT(TINY, binarization=Binarization(attention="fixed"))
    calibrate(model, [images(TINY)])
    for _, block in model.named_blocks():
        assert torch.equal(block.attn.attn_sign.scale, torch.ones(TINY.num_heads))
        assert not block.attn.attn_sign.scale.requires_grad
        assert torch.equal(block.attn.q_norm.scale, torch.ones(TINY.num_heads))
        assert not block.attn.k_norm.scale.requires_grad
        assert int(block.attn.q_norm.statistic.batches) == 1


def test_statistics_are_in_the_state_dict_and_are_taken_once() -> None:
    model = BiViT(TINY)
    assert not is_calibrated(model)
    calibrate(model, [images(TINY)])
    other = BiViT(TINY)
    other.load_state_dict(model.state_dict())
    with pytest.raises(BivitError, match="started from statistics before"):
        calibrate(other, [images(TINY)])


def test_calibration_needs_images() -> None:
    with pytest.raises(BivitError, match="at least one batch"):
        calibrate(BiViT(TINY), [])


@pytest.mark.parametrize(("scale", "ones"), [(1e-3, 1.0), (2.0, 0.0)])
def test_constant_heads_are_reported(scale: float, ones: float) -> None:
    """A threshold below every probability gives ones only, a threshold of 1 none."""
    model = BiViT(TINY)
    with torch.no_grad():
        next(model.named_blocks())[1].attn.attn_sign.scale[0] = scale
        next(model.named_blocks())[1].attn.q_norm.scale[0] = 0.1
    row = attention_report(model, images(TINY).numpy())[0]
    assert row["head"] == "blocks.0.attn.attn_sign[0]"
    assert row["constant"]
    assert row["ones"] == ones
    assert row["scale"] == pytest.approx(scale)
    tokens = TINY.num_tokens
    assert row["entropy"] == pytest.approx(np.log2(tokens) if ones else 0.0)
    assert row["empty_rows"] == (0.0 if ones else 1.0)


@pytest.mark.parametrize("config", [TINY, SWIN, replace(SWIN, attn_mode="score")])
def test_report_against_the_integer_network(config) -> None:
    """Ones and empty rows are those of the exported network's attention tensors."""
    from bivit.model.files.export import export_network

    model = BiViT(config)
    pixels = images(config).numpy()
    network = export_network(model, pixels)
    rows = {row["head"]: row for row in attention_report(model, pixels)}
    block = config.blocks[-1]
    run = run_reference(network, pixels, taps=[f"{block.name}.attn.attn_sign", f"{block.name}.attn.scores"])
    bits, scores = run.taps[f"{block.name}.attn.attn_sign"], run.taps[f"{block.name}.attn.scores"]
    for head in range(block.num_heads):
        of_head = np.take(bits, head, axis=-3)
        row = rows[f"{block.name}.attn.attn_sign[{head}]"]
        assert row["ones"] == pytest.approx(of_head.sum() / (np.take(scores, head, axis=-3) >= 0).sum())
        assert row["empty_rows"] == pytest.approx((of_head.sum(-1) == 0).mean())
    assert all((row["scale"] is None) == (config.attn_mode == "score") for row in rows.values())


def test_the_command_prints_a_row_a_head(tmp_path) -> None:
    model = BiViT(preset("digits"))
    save_checkpoint(Checkpoint(model, seed=0), tmp_path / "student.safetensors")
    arguments = ["heads", str(tmp_path / "student.safetensors"), "--images", "8", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [row["head"] for row in report["rows"]] == [
        f"blocks.{block}.attn.attn_sign[{head}]" for block in (0, 1) for head in (0, 1)
    ]
    assert report["images"] == 8
    wrong = CliRunner().invoke(app, ["heads", str(tmp_path / "none")])
    assert wrong.exit_code == 2
    assert "there is no checkpoint" in wrong.output
