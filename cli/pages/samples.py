"""Sample images of the report: what the networks attend to, the teacher's softmax beside the integer network's bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sim.network.config import ViTConfig
from ...sim.system.result import Result
from . import figures

#: The report's accent colour, for attention from transparent to opaque.
_SHADE = (31, 111, 235)


@dataclass(frozen=True, kw_only=True)
class Sample(Result):
    """One test image; pictures are data URIs: of the image, and of the attention that its patches receive."""

    label: int
    prediction: int
    image: str
    received_float: str
    received_binary: str


def received_attention(attention: NDArray[Any], config: ViTConfig) -> NDArray[np.float64]:
    """How much attention each patch receives, mean over heads and queries.

    Parameters
    ----------
    attention : float or int[H, N, N]
        Weights or bits; queries down, keys across.
    config : ViTConfig

    Returns
    -------
    float64[grid_size, grid_size]
        Prefix tokens left out.
    """
    keys = attention.astype(np.float64).mean(axis=(0, 1))
    return keys[config.num_prefix_tokens :].reshape(config.grid_size, config.grid_size)


def sample_rows(
    images: NDArray[np.uint8],
    labels: NDArray[Any],
    predictions: NDArray[Any],
    softmax: NDArray[Any],
    bits: NDArray[Any],
    config: ViTConfig,
) -> tuple[Sample, ...]:
    """Return the label, the prediction and three pictures of each image.

    Parameters
    ----------
    images : uint8[B, img_size, img_size, in_chans]
    labels, predictions : int[B]
    softmax : float[B, H, N, N]
        Of the teacher's last block.
    bits : int[B, H, N, N]
        Of the integer network's last block.
    config : ViTConfig
    """
    return tuple(
        Sample(
            label=int(label),
            prediction=int(prediction),
            image=figures.picture(_stretched(image)),
            received_float=figures.heat(received_attention(real, config), _SHADE),
            received_binary=figures.heat(received_attention(binary, config), _SHADE),
        )
        for image, label, prediction, real, binary in zip(images, labels, predictions, softmax, bits, strict=True)
    )


def attention_matrices(softmax: list[NDArray[Any]], bits: list[NDArray[Any]]) -> dict[str, list[str]]:
    """Pictures of every block's and head's attention for one image.

    Parameters
    ----------
    softmax, bits : list of [H, N, N]
        One entry a block.

    Returns
    -------
    dict
        `columns` (headings), `float` and `binary` (data URIs), block by block.
    """
    heads = [(block, head) for block in range(len(softmax)) for head in range(len(softmax[block]))]
    return {
        "columns": [f"block {block}, head {head}" for block, head in heads],
        "float": [figures.heat(softmax[block][head].astype(np.float64), _SHADE) for block, head in heads],
        "binary": [figures.heat(bits[block][head].astype(np.float64), _SHADE) for block, head in heads],
    }


def _stretched(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey [h, w] for one channel, else [h, w, 3]; a dark image is stretched to the whole range."""
    shown = image[..., 0] if image.shape[-1] == 1 else image[..., :3]
    peak = max(1, int(shown.max()))
    return (shown.astype(np.int64) * 255 // peak).astype(np.uint8)
