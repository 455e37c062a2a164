"""Every shape and mode: evaluation equals the folded network bit by bit, training nearly so (model/vit/vit.py)."""

import warnings

import numpy as np
import pytest
from models import images_of, nasty_model, random_model
from shapes import MODES, SWIN_MODES, SWINS
from torch import Tensor

from bivit.model.files.export import BIT_TAPS, ConstantHeadWarning, export_network
from bivit.model.integer.run import run_integer
from bivit.model.vit.vit import BiViT, forward_taps
from bivit.sim.network.config import ModelConfig
from bivit.sim.network.network import IntNetwork
from bivit.sim.reference.run import run_reference

SHAPES = MODES | {f"swin_{name}": config for name, config in (SWINS | SWIN_MODES).items()}


def folded(model: BiViT, images: Tensor) -> IntNetwork:
    """Export without labels; an untrained head may well be constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantHeadWarning)
        return export_network(model, images.numpy())


@pytest.fixture(params=SHAPES)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return SHAPES[request.param]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("draw", [random_model, nasty_model])
def test_evaluation_is_exact(config: ModelConfig, draw, seed: int) -> None:  # type: ignore[no-untyped-def]
    model, images = draw(config, seed), images_of(config, 12, seed)
    network = folded(model, images)
    agreement = network.agreement
    assert set(agreement["equal_bits"]) == {f"{block.name}.{tap}" for block in config.blocks for tap in BIT_TAPS}
    assert set(agreement["equal_bits"].values()) == {1.0}
    assert agreement["same_predictions"] == 1.0
    expected, found = run_reference(network, images.numpy(), taps="all"), run_integer(network, images.numpy())
    assert [tap for tap in expected.taps if not np.array_equal(expected.taps[tap], found.taps[tap])] == []


def bits_of_block(model: BiViT, images: Tensor, block: str) -> dict[str, Tensor]:
    """Signs and attention bits of a block that gets the same residual in either mode."""
    names = [f"{block}.{tap}" for tap in BIT_TAPS]
    return {
        name: tap != 0 if "attn_sign" in name else tap > 0
        for name, tap in forward_taps(model, images, names)[1].items()
    }


def test_training_differs_by_the_rounding_of_float_only(config: ModelConfig) -> None:
    """The first block, whose input is the same: a bit that differs in it changes many in those after it.

    Windows of four tokens differ most, as equal scores give a probability that ties with its threshold.
    """
    model, images = random_model(config), images_of(config, 40)
    block = config.blocks[0].name
    exact = bits_of_block(model, images, block)
    trained = bits_of_block(model.train(), images, block)
    for name, bits in exact.items():
        assert (bits == trained[name]).double().mean() >= 0.995, name
