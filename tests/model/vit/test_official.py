"""The published float definition: against loops, and what carries over to the integer-aware Bi-ViT."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from shapes import TINY, TOKENS
from torch import nn

from bivit.model.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bivit.model.files.export import export_network, measure_agreement
from bivit.model.vit.official import ActBi, OfficialBiViT, OfficialReduction, to_bivit
from bivit.model.vit.vit import BiViT, forward_taps
from bivit.sim.errors import BivitError
from bivit.sim.network.config import SwinConfig

SWIN = SwinConfig(
    img_size=16, patch_size=2, in_chans=1, num_classes=3, embed_dim=16, depths=(2, 2), num_heads=(2, 4), window_size=4
)
#: The published Swin has no norm of q and k.
PUBLISHED_SWIN = replace(SWIN, qk_mode="threshold")


def random_official(config, seed: int = 0) -> OfficialBiViT:
    """Random weights of a trained network's magnitudes; zero points round to 0, those of the attention to -1."""
    torch.manual_seed(seed)
    model = OfficialBiViT(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("alpha") or ("norm" in name and name.endswith("weight")):
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(0, 0.3)
        for _, block in model.named_blocks():
            members = block.attn.block.window_tokens
            block.attn.attn_sign.act.alpha.fill_(1 / members)
            block.attn.attn_sign.act.zero_point.fill_(-1.2)
            for part in (block.attn.q_norm.act, block.attn.k_norm.act, block.attn.v_sign):
                part.zero_point.uniform_(-0.4, 0.4)
    return model


@torch.no_grad()
def one_scale(model: OfficialBiViT) -> OfficialBiViT:
    """Let patch mergings scale all channels alike, which is all that a product of bits can express."""
    for module in model.modules():
        if isinstance(module, OfficialReduction):
            module.act.alpha.fill_(0.7)
            module.act.zero_point.zero_()
    return model


def images(config, count: int = 2, seed: int = 0) -> np.ndarray:
    shape = (count, config.img_size, config.img_size, config.in_chans)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def sign(x: float) -> int:
    return (x > 0) - (x < 0)


def act(x: float, alpha: float, zero_point: float) -> float:
    z = round(zero_point)
    return alpha * (sign(min(1.0, max(-1.0, x / alpha + z))) - z)


def linear(row: list[float], weight: list[list[float]]) -> list[float]:
    out = []
    for weights in weight:
        scale = sum(abs(w) for w in weights) / len(weights)
        out.append(sum(sign(x) * sign(w) * scale for x, w in zip(row, weights, strict=True)))
    return out


def layer_norm(row: list[float], weight: list[float], bias: list[float], eps: float) -> list[float]:
    mean = sum(row) / len(row)
    variance = sum((x - mean) ** 2 for x in row) / len(row)
    return [(x - mean) / math.sqrt(variance + eps) * w + b for x, w, b in zip(row, weight, bias, strict=True)]


def attention(rows: list[list[float]], tensors: dict, heads: int, window: int) -> list[list[float]]:
    """Over one window of `window` x `window` patches, with a bias for each offset; 0 means no such bias."""
    width = len(rows[0])
    size = width // heads
    qkv = [linear(row, tensors["qkv.weight"]) for row in rows]
    merged: list[list[float]] = [[] for _ in rows]
    for head in range(heads):
        part = [[row[p * width + head * size : p * width + (head + 1) * size] for row in qkv] for p in range(3)]
        for index, name in enumerate(("q_norm", "k_norm")):
            if f"{name}.norm.weight" in tensors:
                weight, bias = tensors[f"{name}.norm.weight"], tensors[f"{name}.norm.bias"]
                part[index] = [layer_norm(row, weight, bias, 1e-5) for row in part[index]]
            alpha, zero = tensors[f"{name}.act.alpha"][head], tensors[f"{name}.act.zero_point"][head]
            part[index] = [[act(x, alpha, zero) for x in row] for row in part[index]]
        alpha, zero = tensors["v_sign.alpha"][head], tensors["v_sign.zero_point"][head]
        part[2] = [[act(x, alpha, zero) for x in row] for row in part[2]]
        for i, q in enumerate(part[0]):
            scores = [sum(a * b for a, b in zip(q, k, strict=True)) / math.sqrt(size) for k in part[1]]
            for j in range(len(scores) if window else 0):
                down, right = i // window - j // window + window - 1, i % window - j % window + window - 1
                scores[j] += tensors["relative_position_bias_table"][down * (2 * window - 1) + right][head]
            total = sum(math.exp(s - max(scores)) for s in scores)
            alpha, zero = tensors["attn_sign.act.alpha"][head], tensors["attn_sign.act.zero_point"][head]
            a = [act(math.exp(s - max(scores)) / total, alpha, zero) for s in scores]
            merged[i] += [sum(x * v[d] for x, v in zip(a, part[2], strict=True)) for d in range(size)]
    return [linear(row, tensors["proj.weight"]) for row in merged]


def gelu(x: float) -> float:
    return min(10.0, max(-10.0, x * (1 + math.erf(x / math.sqrt(2))) / 2))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("config", "name"),
    [(TINY, "blocks.0"), (SWIN, "layers.1.blocks.0"), (PUBLISHED_SWIN, "layers.1.blocks.0")],
    ids=["deit", "swin with norms", "swin"],
)
def test_a_block_equals_the_definition_in_loops(config, name: str, seed: int) -> None:
    block = random_official(config, seed).double().get_submodule(name)
    shape = block.attn.block
    tensors = {name: tensor.tolist() for name, tensor in block.state_dict().items()}
    attn = {name.removeprefix("attn."): tensor for name, tensor in tensors.items() if name.startswith("attn.")}
    x = torch.randn(1, shape.tokens, shape.embed_dim, dtype=torch.float64)
    rows = x[0].tolist()
    normed = [layer_norm(row, tensors["norm1.weight"], tensors["norm1.bias"], config.eps) for row in rows]
    update = attention(normed, attn, shape.num_heads, shape.window or 0)
    rows = [[a + b for a, b in zip(row, new, strict=True)] for row, new in zip(rows, update, strict=True)]
    for row in rows:
        hidden = linear(
            layer_norm(row, tensors["norm2.weight"], tensors["norm2.bias"], config.eps), tensors["mlp.fc1.weight"]
        )
        out = linear([gelu(value) for value in hidden], tensors["mlp.fc2.weight"])
        row[:] = [a + b for a, b in zip(row, out, strict=True)]
    torch.testing.assert_close(block(x)[0][0], torch.tensor(rows, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_the_swin_without_norms_is_that_with_norms_that_do_nothing() -> None:
    published, normalised = random_official(PUBLISHED_SWIN), random_official(SWIN, seed=1)
    own = {name: value for name, value in normalised.state_dict().items() if "_norm.norm." in name}
    normalised.load_state_dict(published.state_dict() | own)
    pixels = torch.from_numpy(images(SWIN, 8))
    assert (published(pixels) - normalised(pixels)).abs().max() > 0.01
    for _, block in normalised.named_blocks():
        block.attn.q_norm.norm = block.attn.k_norm.norm = nn.Identity()
    assert torch.equal(published(pixels), normalised(pixels))


def test_a_student_of_the_swin_compares_with_zero() -> None:
    model, differences = to_bivit(one_scale(random_official(PUBLISHED_SWIN)))
    assert (differences, model.config) == ([], PUBLISHED_SWIN)
    network = export_network(model, images(SWIN, 8))
    thetas = {name: value for name, value in network.tensors.items() if name.endswith(("q_norm.theta", "k_norm.theta"))}
    assert len(thetas) == 2 * len(SWIN.blocks)
    assert not any(value.any() for value in thetas.values())
    agreement = measure_agreement(model, network, images(SWIN, 8, seed=1))
    assert min(agreement["equal_bits"].values()) == 1.0


def test_the_sign_of_zero_is_zero() -> None:
    assert ActBi(1)(torch.zeros(1, 1, 1, 1)).item() == 0.0
    part = ActBi(1)
    part.zero_point.data.fill_(-1.0)
    assert [part(torch.full((1, 1, 1, 1), x)).item() for x in (0.5, 1.0, 1.5)] == [0.0, 1.0, 2.0]


def test_biases_of_products_are_never_added() -> None:
    model = random_official(TINY)
    x = torch.from_numpy(images(TINY))
    before = model(x)
    with torch.no_grad():
        for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
            model.blocks[0].get_submodule(name).bias += 7.0
    assert torch.equal(model(x), before)


def test_a_zero_point_of_zero_makes_attention_constant() -> None:
    """The published start: every probability is above 0, so every entry is +alpha."""
    model = random_official(TINY)
    with torch.no_grad():
        model.blocks[0].attn.attn_sign.act.zero_point.fill_(0.3)
    _, taps = forward_taps(model, torch.from_numpy(images(TINY)), ["blocks.0.attn.attn_sign"])
    alpha = model.blocks[0].attn.attn_sign.act.alpha
    assert torch.equal(
        taps["blocks.0.attn.attn_sign"], alpha.view(-1, 1, 1).expand(2, -1, TINY.num_tokens, TINY.num_tokens)
    )


@pytest.mark.parametrize("config", [TINY, TOKENS, SWIN, PUBLISHED_SWIN])
def test_what_carries_over_agrees_up_to_ties_and_roundings(config) -> None:
    official = one_scale(random_official(config))
    model, differences = to_bivit(official)
    assert differences == []
    pixels = torch.from_numpy(images(config))
    first = config.blocks[0].name
    names = [f"{first}.{tap}" for tap in ("norm1", "attn.q_norm", "attn.k_norm", "attn.v_sign")]
    # In float64, because float32 sums of equal magnitudes do not cancel: a tie would have a random sign.
    _, theirs = forward_taps(official.double(), pixels, names)
    _, ours = forward_taps(model.eval(), pixels, names)
    for name in names:
        wanted, got = theirs[name], ours[name]
        decided = wanted != 0
        assert float(((wanted > 0) == (got > 0))[decided].double().mean()) > 0.97, name


def test_a_converted_model_exports_exactly() -> None:
    model, _ = to_bivit(random_official(TINY))
    network = export_network(model, images(TINY, 8))
    agreement = measure_agreement(model, network, images(TINY, 8, seed=1))
    assert agreement["same_predictions"] == 1.0
    assert min(agreement["equal_bits"].values()) == 1.0


def test_zero_points_that_integers_cannot_express_are_refused_by_name() -> None:
    official = random_official(TINY)
    with torch.no_grad():
        official.blocks[1].attn.k_norm.act.zero_point[0] = -1.4
    model, _ = to_bivit(official)
    assert model.blocks[1].attn.k_norm.zero_point.tolist()[0] == -1.0
    with pytest.raises(BivitError, match=r"blocks\.1\.attn\.k_norm\.zero_point must be 0"):
        export_network(model, images(TINY))


def test_differences_are_named() -> None:
    official = random_official(SWIN)
    with torch.no_grad():
        next(official.named_blocks())[1].attn.attn_sign.act.alpha[1] = -0.01
    _, differences = to_bivit(official)
    text = "\n".join(differences)
    assert "layers.0.blocks.0.attn.attn_sign.act.alpha[1] is not above 0" in text
    assert "layers.1.downsample.reduction.act.alpha differs from channel to channel" in text


def test_a_checkpoint_keeps_the_kind(tmp_path) -> None:
    official = random_official(replace(TINY, num_classes=4))
    save_checkpoint(Checkpoint(official, seed=0), tmp_path / "official.safetensors")
    loaded = load_checkpoint(tmp_path / "official.safetensors").model
    assert isinstance(loaded, OfficialBiViT)
    assert not isinstance(loaded, BiViT)
    pixels = torch.from_numpy(images(loaded.config))
    assert torch.equal(loaded(pixels), official(pixels))
