"""The Bi-ViT and its real-valued twin: names, exact operands, roundings in the forward pass (model/vit/vit.py)."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from models import images_of, random_model
from shapes import MODES, TINY, TOKENS
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from bivit.model.vit.binarize import Binarization
from bivit.model.vit.layers import ResidualGrid, SignNorm
from bivit.model.vit.patch import PixelNorm
from bivit.model.vit.vit import BiViT, RealViT, forward_taps
from bivit.sim.errors import BivitError
from bivit.sim.network.formats import Formats

#: State-dict keys of timm's DeiT (VisionTransformerDistilled), a block's once.
TIMM = ["cls_token", "dist_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"]
TIMM += ["norm.weight", "norm.bias", "head.weight", "head.bias", "head_dist.weight", "head_dist.bias"]
TIMM_BLOCK = ["norm1.weight", "norm1.bias", "attn.qkv.weight", "attn.qkv.bias", "attn.proj.weight", "attn.proj.bias"]
TIMM_BLOCK += ["norm2.weight", "norm2.bias", "mlp.fc1.weight", "mlp.fc1.bias", "mlp.fc2.weight", "mlp.fc2.bias"]
#: What a Bi-ViT has in a block beside them, and what it has not: its products have no bias.
EXTRA = [f"attn.{part}.{key}" for part in ("q_norm", "k_norm") for key in ("weight", "bias", "scale", "zero_point")]
EXTRA += ["attn.v_sign.bias", "attn.v_sign.zero_point", "attn.attn_sign.scale", "attn.attn_sign.zero_point"]
EXTRA += [f"attn.{part}.statistic.{key}" for part in ("q_norm", "k_norm", "attn_sign") for key in ("total", "batches")]
EXTRA += ["mlp.act.bias"]
ABSENT = ["attn.qkv.bias", "mlp.fc1.bias"]


def keys(block: list[str], depth: int) -> set[str]:
    return set(TIMM) | {f"blocks.{index}.{key}" for index in range(depth) for key in block}


def test_state_dict_names_are_timms() -> None:
    assert set(RealViT(TOKENS).state_dict()) == keys(TIMM_BLOCK, TOKENS.depth)
    block = [key for key in TIMM_BLOCK if key not in ABSENT] + EXTRA
    assert set(BiViT(TOKENS).state_dict()) == keys(block, TOKENS.depth)


def test_modes_have_only_the_parameters_they_need() -> None:
    names = set(BiViT(replace(TINY, attn_mode="score")).state_dict())
    assert "blocks.0.attn.attn_sign.threshold" in names
    assert "blocks.0.attn.attn_sign.scale" not in names
    assert not names & {"cls_token", "dist_token", "head_dist.weight"}


def deit(model: RealViT, images: Tensor) -> Tensor:
    """The forward pass of a DeiT with two tokens, written with torch's own operators."""
    s, config = model.state_dict(), model.config
    pixels = (images.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    x = F.conv2d(pixels, s["patch_embed.proj.weight"], s["patch_embed.proj.bias"], stride=config.patch_size)
    x = x.flatten(2).transpose(1, 2)
    tokens = [s[name].expand(len(x), -1, -1) for name in ("cls_token", "dist_token")]
    x = torch.cat([*tokens, x], 1) + s["pos_embed"]
    for i in range(config.depth):
        p = {key: s[f"blocks.{i}.{key}"] for key in TIMM_BLOCK}
        y = F.layer_norm(x, x.shape[-1:], p["norm1.weight"], p["norm1.bias"], config.eps)
        qkv = F.linear(y, p["attn.qkv.weight"], p["attn.qkv.bias"]).chunk(3, -1)
        q, k, v = (part.unflatten(2, (config.num_heads, -1)).transpose(1, 2) for part in qkv)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + F.linear(y, p["attn.proj.weight"], p["attn.proj.bias"])
        y = F.layer_norm(x, x.shape[-1:], p["norm2.weight"], p["norm2.bias"], config.eps)
        y = F.gelu(F.linear(y, p["mlp.fc1.weight"], p["mlp.fc1.bias"]))
        x = x + F.linear(y, p["mlp.fc2.weight"], p["mlp.fc2.bias"])
    x = F.layer_norm(x, x.shape[-1:], s["norm.weight"], s["norm.bias"], config.eps)
    heads = (F.linear(x[:, i], s[f"{name}.weight"], s[f"{name}.bias"]) for i, name in enumerate(("head", "head_dist")))
    return sum(heads) / 2


def test_the_real_valued_twin_is_a_deit() -> None:
    torch.manual_seed(0)
    model = RealViT(TOKENS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        images = images_of(TOKENS)
        torch.testing.assert_close(model(images), deit(model, images), rtol=1e-4, atol=1e-4)


def test_attention_maps_of_the_real_valued_twin() -> None:
    names = [f"blocks.{index}.attn.attn_sign" for index in range(TINY.depth)]
    model, images = RealViT(TINY), images_of(TINY)
    logits, taps = forward_taps(model, images, names)
    assert torch.equal(logits, model(images).detach())
    for name in names:
        assert taps[name].shape == (len(images), TINY.num_heads, TINY.num_tokens, TINY.num_tokens)
        torch.testing.assert_close(taps[name].sum(-1), torch.ones(taps[name].shape[:3]))


class Products(TorchDispatchMode):
    """Collects the operands of every float32 matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.operands: list[Tensor] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func._schema.name in ("aten::mm", "aten::bmm", "aten::addmm"):
            self.operands += [arg for arg in args if isinstance(arg, Tensor) and arg.ndim > 1]
        return func(*args, **(kwargs or {}))


def test_unknown_taps_are_refused() -> None:
    with pytest.raises(BivitError, match="no modules blocks"):
        forward_taps(RealViT(TINY), images_of(TINY), ["head", "blocks.9.norm1"])


def test_products_of_the_blocks_see_only_signs_and_bits() -> None:
    model = random_model(TINY)
    with torch.no_grad(), Products() as products:
        x = model.embed(images_of(TINY))
        products.operands.clear()
        for block in model.blocks:
            x, _ = block(x)
    # Six products of two operands in each block: qkv, scores, context, proj, fc1, fc2.
    assert len(products.operands) == 12 * TINY.depth
    values = [set(operand.unique().tolist()) for operand in products.operands]
    assert all(found <= {-1.0, 0.0, 1.0} for found in values)
    assert sum(found == {0.0, 1.0} for found in values) == TINY.depth


def test_the_residual_stays_on_its_grid_and_saturates() -> None:
    formats = Formats(residual_bits=12, residual_frac_bits=8)
    grid = ResidualGrid(formats)
    assert grid(torch.tensor([-9.0, 0.5, 9.0])).tolist() == [-8.0, 0.5, 8.0 - 2**-8]
    model = BiViT(TINY, formats=formats)
    seen = []
    for block in model.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output[0].detach()))
    model(images_of(TINY))
    for x in seen:
        assert torch.equal(x * 2**8, torch.round(x * 2**8))


@pytest.fixture(params=MODES)
def trained_step(request: pytest.FixtureRequest) -> BiViT:
    model = random_model(MODES[request.param])
    logits = model(images_of(model.config, 32))
    F.cross_entropy(logits, torch.arange(32) % model.config.num_classes).backward()
    return model


def test_every_parameter_gets_a_finite_gradient(trained_step: BiViT) -> None:
    for name, parameter in trained_step.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert bool((parameter.grad != 0).any()), name


def test_a_scale_before_a_sign_changes_nothing() -> None:
    model, images = random_model(TINY), images_of(TINY)
    before = model(images)
    with torch.no_grad():
        # Row scales and thresholds of fc1 and v grow together, and so do bias and products.
        for _, block in model.named_blocks():
            block.mlp.fc1.weight.mul_(2)
            block.mlp.act.bias.mul_(2)
            block.attn.qkv.weight.mul_(2)
            block.attn.v_sign.bias.mul_(2)
    # Eps of the q and k norms is relative to their scale, here too small to matter.
    assert torch.equal(model(images), before)


def test_a_negative_gamma_turns_a_tie_with_the_folded_weight() -> None:
    norm = SignNorm(8, "layernorm", 1e-6, Formats(), "clipped").eval()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, -1.0, 1.0, -1.0, 0.0, 0.0, 1.0, -1.0]))
        norm.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, 0.5, -0.5, 0.0, 0.0]))
    x = torch.tensor([0.0, 0.0, 1.0, 1.0, 5.0, 5.0, -6.0, -6.0])
    # Channels 0 and 1 lie at the mean: +1, and -1 where the consumer's column is negated. A gamma of 0 is beta's sign.
    assert norm(x).tolist() == [1, -1, 1, -1, 1, -1, -1, 1]


def test_zero_points_shift_the_levels() -> None:
    model = random_model(TINY)
    attn = model.blocks[0].attn
    attn.q_norm.zero_point[0], attn.attn_sign.zero_point[0] = 2.0, 0.0
    _, taps = forward_taps(model, images_of(TINY), ["blocks.0.attn.q_norm", "blocks.0.attn.attn_sign"])
    q, attention = taps["blocks.0.attn.q_norm"], taps["blocks.0.attn.attn_sign"]
    assert set(q[:, 0].unique().tolist()) <= {-3.0, -1.0}
    assert set(q[:, 1].unique().tolist()) == {-1.0, 1.0}
    # Every probability exceeds a threshold of 0: the constant head of which docs/semantics.md warns.
    assert attention[:, 0].unique().tolist() == [0.5]
    assert set(attention[:, 1].unique().tolist()) == {0.0, 1.0}


def test_project_keeps_what_must_be_positive_positive() -> None:
    model = BiViT(TINY)
    attn = model.blocks[0].attn
    with torch.no_grad():
        for parameter in (attn.q_norm.weight, attn.k_norm.scale, attn.attn_sign.scale):
            parameter.fill_(-1.0)
    model.project()
    for parameter in (attn.q_norm.weight, attn.k_norm.scale, attn.attn_sign.scale):
        assert bool((parameter > 0).all())


def test_bad_parts_are_refused() -> None:
    with pytest.raises(BivitError, match="no sign gradient 'steep'"):
        Binarization(slope="steep")
    with pytest.raises(BivitError, match="no sign gradient 'flat'"):
        Binarization(weight_slope="flat")
    with pytest.raises(BivitError, match="attention must be one of learned, fixed, got 'soft'"):
        Binarization(attention="soft")
    with pytest.raises(BivitError, match="needs 1 channels, as the config, got 3"):
        RealViT(TINY, PixelNorm((0.5,) * 3, (0.5,) * 3))
    with pytest.raises(BivitError, match="std above 0"):
        PixelNorm((0.5,), (0.0,))


@pytest.mark.parametrize("kind", [RealViT, BiViT])
@pytest.mark.parametrize("shape", [(2, 5, 4, 1), (2, 4, 4, 3), (2, 1, 4, 4), (4, 4, 1), (2, 8, 8, 1)])
def test_images_of_another_size_are_refused(kind: type[BiViT], shape: tuple[int, ...]) -> None:
    model = kind(TINY)
    with pytest.raises(
        BivitError, match=r"images must have shape \[B, 4, 4, 1\], got \[.*; resize them, or take a model"
    ):
        model(torch.zeros(shape, dtype=torch.uint8))
