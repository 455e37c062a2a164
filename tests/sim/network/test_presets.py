"""Every preset, at its full size, folds from the torch model and runs: both implementations agree on every tensor."""

import warnings

import numpy as np
import pytest
import torch
from models import random_images, random_model

from bivit.model.files.export import ConstantHeadWarning, export_network
from bivit.model.integer.run import run_integer
from bivit.sim.network.presets import PRESETS
from bivit.sim.reference.run import run_reference


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_folds_and_both_references_agree_on_every_tensor(name: str) -> None:
    config = PRESETS[name]
    model = random_model(config)
    images = random_images(config, 2)
    with warnings.catch_warnings():
        # Random weights may well give constant heads.
        warnings.simplefilter("ignore", ConstantHeadWarning)
        network = export_network(model, images[:1])
    assert network.agreement["same_predictions"] == 1.0
    assert set(network.agreement["equal_bits"].values()) == {1.0}
    expected, got = run_reference(network, images[1:], taps="all"), run_integer(network, images[1:])
    assert [tap for tap in expected.taps if not np.array_equal(expected.taps[tap], got.taps[tap])] == []
    assert np.array_equal(expected.logits, got.logits)
    with torch.no_grad():
        logits = model(torch.from_numpy(images[1:])).numpy()
    assert np.argmax(logits) == np.argmax(expected.logits)
