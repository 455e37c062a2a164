"""Export: agreement with the model in every mode, and refusals by name (model/files/export.py)."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import random_images, random_model
from shapes import MODES, TINY

from bivit.model.files.export import BIT_TAPS, ConstantHeadWarning, export_network, fold_tensors, measure_agreement
from bivit.model.integer.run import run_integer
from bivit.model.vit.vit import BiViT, forward_taps
from bivit.sim.bits import unpack
from bivit.sim.errors import BivitError
from bivit.sim.network.file import load_network, network_hash, save_network
from bivit.sim.network.formats import Formats
from bivit.sim.network.network import IntNetwork
from bivit.sim.reference.run import run_reference


@pytest.fixture
def model() -> BiViT:
    return random_model(TINY)


def exported(model: BiViT, count: int = 70) -> IntNetwork:
    """Export on noise; an untrained head may well be constant, which only the test for it is about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantHeadWarning)
        return export_network(model, random_images(model.config, count))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_network_equals_the_model_bit_by_bit(mode: str, seed: int) -> None:
    model = random_model(MODES[mode], seed)
    agreement = exported(model).agreement
    assert agreement["same_predictions"] == 1.0
    assert set(agreement["equal_bits"]) == {f"blocks.{i}.{tap}" for i in range(model.config.depth) for tap in BIT_TAPS}
    assert set(agreement["equal_bits"].values()) == {1.0}


def test_logits_of_model_and_network_are_proportional(model: BiViT) -> None:
    network = exported(model)
    images = random_images(TINY, 20, seed=5)
    with torch.no_grad():
        logits = model(torch.from_numpy(images)).double().numpy()
    integers = run_integer(network, images, taps=None).logits
    unit = float(np.median(logits / integers))
    np.testing.assert_allclose(logits, integers * unit, rtol=1e-6, atol=unit / 100)


def test_agreement_falls_when_the_network_is_another(model: BiViT) -> None:
    network = exported(model)
    tensors = dict(network.tensors)
    tensors["blocks.1.norm2.theta"] = tensors["blocks.1.norm2.theta"] + 300
    tensors["head.weight"] = -tensors["head.weight"]
    images = random_images(TINY, 70)
    labels = run_reference(network, images).predictions
    agreement = measure_agreement(model, replace(network, tensors=tensors), images, labels)
    assert agreement["equal_bits"]["blocks.1.attn.context"] == 1.0
    assert agreement["equal_bits"]["blocks.1.norm2"] < 0.95
    assert agreement["same_predictions"] == agreement["top1_integer"] < 1.0
    assert agreement["top1_model"] == 1.0


def test_a_negative_gamma_negates_the_consumers_column(model: BiViT) -> None:
    block = model.blocks[0]
    weight = block.norm1.weight.detach()
    assert 0 < int((weight < 0).sum()) < TINY.embed_dim
    signs = 2 * unpack(fold_tensors(model)["blocks.0.attn.qkv.weight"], TINY.embed_dim).astype(np.int64) - 1
    latent = np.where(block.attn.qkv.weight.detach().numpy() >= 0, 1, -1)
    assert np.array_equal(signs, latent * np.where(weight.numpy() < 0, -1, 1))


def test_a_gamma_of_zero_is_the_sign_of_beta(model: BiViT) -> None:
    norm = model.blocks[0].norm2
    with torch.no_grad():
        norm.weight[:3] = 0
        norm.bias[:3] = torch.tensor([0.5, -0.5, 0.0])
    network = exported(model)
    assert network.tensors["blocks.0.norm2.theta"][:3].tolist() == [-(2**15), 2**15 - 1, -(2**15)]
    bits = run_reference(network, random_images(TINY, 30, seed=9), taps=["blocks.0.norm2"]).taps["blocks.0.norm2"]
    assert [bits[..., channel].mean() for channel in range(3)] == [1.0, 0.0, 1.0]


def test_the_artefact_keeps_agreement_and_provenance(model: BiViT, tmp_path: Path) -> None:
    images = random_images(TINY, 10)
    labels = np.zeros(10, dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantHeadWarning)
        network = export_network(model, images, labels, {"seed": 7})
    save_network(network, tmp_path / "net.safetensors")
    loaded = load_network(tmp_path / "net.safetensors")
    assert network_hash(loaded) == network_hash(network)
    assert loaded.provenance == {"seed": 7}
    assert loaded.agreement == network.agreement
    assert loaded.agreement["top1_integer"] == float((run_reference(network, images).predictions == 0).mean())
    assert loaded.agreement["images"] == 10


def test_a_constant_head_is_named(model: BiViT) -> None:
    # The threshold of head 1 in block 1 falls to 0, which every probability reaches.
    model.blocks[1].attn.attn_sign.scale.data[1] = 1e-9
    with pytest.warns(ConstantHeadWarning, match=r"blocks\.1\.attn\.attn_sign\[1\]"):
        network = export_network(model, random_images(TINY, 20))
    assert "blocks.1.attn.attn_sign[1]" in network.agreement["constant_heads"]
    assert "blocks.0.attn.attn_sign[0]" not in network.agreement["constant_heads"]


def test_empty_rows_are_counted(model: BiViT) -> None:
    # No probability of head 0 reaches 1, the threshold of s = 2; with four tokens the other rows have a largest.
    for _, block in model.named_blocks():
        block.attn.attn_sign.scale.data.copy_(torch.tensor([2.0, 0.1]))
    assert exported(model).agreement["empty_rows"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("attn.q_norm", 1.0, 0),
        ("attn.k_norm", -1.0, 0),
        ("attn.v_sign", 2.0, 0),
        ("attn.attn_sign", 0.0, -1),
    ],
)
def test_zero_points_are_refused_by_name(model: BiViT, name: str, value: float, allowed: int) -> None:
    model.get_submodule(f"blocks.1.{name}").zero_point[1] = value
    with pytest.raises(BivitError, match=rf"^blocks\.1\.{name}\.zero_point must be {allowed}, got \["):
        export_network(model, random_images(TINY, 2))


@pytest.mark.parametrize("gamma", [0.0, -0.5])
def test_a_gamma_of_q_or_k_that_is_not_positive_is_refused(model: BiViT, gamma: float) -> None:
    model.blocks[0].attn.k_norm.weight.data[1, 3] = gamma
    with pytest.raises(BivitError, match=r"^blocks\.0\.attn\.k_norm\.weight \(gamma\) must be above 0, got -?0"):
        export_network(model, random_images(TINY, 2))


def test_a_saturating_model_is_refused() -> None:
    torch.manual_seed(0)
    model = BiViT(TINY, formats=Formats(residual_bits=12, residual_frac_bits=10))
    model.blocks[0].mlp.fc2.bias.data.fill_(1.9)
    with pytest.raises(BivitError, match=r"saturates [0-9]+ times on 5 calibration images.*12 bits with 10 fraction"):
        export_network(model, random_images(TINY, 5))


def test_values_that_do_not_fit_are_refused_by_name(model: BiViT) -> None:
    model.blocks[0].attn.proj.weight.data[0] = 100.0
    with pytest.raises(BivitError, match=r"blocks\.0\.attn\.proj\.scale"):
        export_network(model, random_images(TINY, 2))


@pytest.mark.parametrize("factor", [1e-6, 1e-8, 1e-30])
def test_a_degenerate_head_is_refused_by_name(model: BiViT, factor: float) -> None:
    """Weights that are next to nothing ask for an Eps that no field holds; the model's own bits stay defined."""
    width, head = TINY.embed_dim, TINY.embed_dim // TINY.num_heads
    model.blocks[1].attn.qkv.weight.data[width + head : 2 * width] *= factor
    model.eval()
    assert torch.isfinite(model(torch.from_numpy(random_images(TINY, 2)))).all()
    with pytest.raises(BivitError, match=r"^blocks\.1\.attn\.k_norm: the weights of head 1 \(largest .*degenerate"):
        exported(model, 5)


def test_nan_is_refused_by_name(model: BiViT) -> None:
    model.blocks[1].mlp.fc1.weight.data[2, 2] = float("nan")
    with pytest.raises(BivitError, match=r"NaN or infinite: blocks\.1\.mlp\.fc1\.weight \(1\)"):
        export_network(model, random_images(TINY, 2))


def test_export_leaves_the_model_unchanged(model: BiViT) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    exported(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    logits, _ = forward_taps(model, torch.from_numpy(random_images(TINY, 2)), [])
    assert torch.isfinite(logits).all()
