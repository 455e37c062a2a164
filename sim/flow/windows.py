"""Limits of an engine that runs networks with windows: what grows with a network's stages, and not with its largest."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import check

#: Largest value of any limit, and images that go together, at most.
_MOST, _MOST_IMAGES = 1 << 24, 8
#: Side of windows whose biases of a head are one word that the load stream can fill, at most.
_MOST_SIDE = 13
#: Limits that may be 0.
_MAY_BE_NONE = ("merged_dim", "bias_window", "ring_words")


@dataclass(frozen=True, kw_only=True)
class WindowLimits:
    """What an engine for networks with windows (Swin) holds, beside the limits of `EngineConfig`.

    There `max_tokens` is of a window, `max_embed_dim` and `max_hidden_dim` of the largest stage, `max_depth` of all
    blocks. A *pass* is a stage's blocks, or a patch merging.

    Parameters
    ----------
    image_tokens : int
        Tokens of an image, in its first stage.
    x_words : int
        Words of x that an image takes: tokens times words of a token, in its largest stage.
    merged_dim : int
        Channels that a patch merging normalises together, 0 without any.
    images : int
        Images that go through the stages together, 1 to 8; `FlowConfig.images` are windows in flight.
    passes : int
        Stages and patch mergings.
    places : int
        Words that say where tokens lie: tokens of each stage, twice where windows are shifted, and of each merging.
    weight_words, preload_words, norm_words, head_norm_words, heads, layers : int
        Of all blocks and mergings: words of weights and of starts; words of parameters of ResidualAdd, or of SignNorm;
        words of parameters of HeadNorm; heads; blocks and mergings.
    bias_window : int
        0: biases are held as words, one for each of a job's words of scores, whatever the side of windows. Else the
        side of all windows with a bias, 2 to 13: a head's (2 * side - 1)^2 values are one word, out of which the
        biases of each word of scores are chosen.
    ring_words : int
        Words of weights that are in the engine at a time where they are streamed, a power of two: what counts in place
        of `weight_words` there, and has to be given only there. A block fits at least
        (`sim.flow.weight_stream.WeightStreamUnit.ring_words`); with more of them weights come earlier.
    bias_words, mask_words : int
        Words of the relative position bias of all heads, and of masks of all stages.

    Raises
    ------
    BivitError
        When a value is out of range: what, allowed, got.
    """

    image_tokens: int
    x_words: int
    merged_dim: int
    images: int
    passes: int
    places: int
    weight_words: int
    preload_words: int
    norm_words: int
    head_norm_words: int
    heads: int
    layers: int
    bias_words: int
    mask_words: int
    bias_window: int = 0
    ring_words: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in _MAY_BE_NONE else 1
            check(least <= value <= _MOST, f"windows.{field.name} must be {least} to {_MOST}, got {value}")
        side = self.bias_window
        check(side == 0 or 2 <= side <= _MOST_SIDE, f"windows.bias_window must be 0 or 2 to {_MOST_SIDE}, got {side}")
        ring = self.ring_words
        check(ring & (ring - 1) == 0, f"windows.ring_words must be a power of two, got {ring}")
        check(self.images <= _MOST_IMAGES, f"windows.images must be 1 to {_MOST_IMAGES}, got {self.images}")
