"""Objectives of the training: labels, the teacher's logits and the order of its attention scores.

A student's loss is the weighted sum of up to three parts, all of them means over the images:

- labels: cross entropy with the labels;
- logits: with the teacher's class probabilities p_t and the student's p_s, both of logits divided by the temperature T,
  ``T^2 * KL(p_t || p_s)`` (`soft`, arXiv 1503.02531), or the cross entropy with the teacher's prediction (`hard`);
- ranking: see `model.train.ranking`.

A model with a distillation token learns labels at its class head and logits at its distillation head (DeiT, arXiv
2012.12877); without a teacher, and in evaluation, it is the mean of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...sim.errors import check
from ...sim.network.config import ModelConfig
from ..data.loader import batches
from ..data.source import Source
from ..vit.vit import RealViT, VisionTransformer
from .ranking import EXACT_LENGTH, ranking_loss

_KINDS = ("soft", "hard")


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Weights of a student's losses.

    Raises
    ------
    BivitError
        When a weight is negative, all are 0, or a value is not allowed.
    """

    labels: float = 0.1
    logits: float = 0.9
    ranking: float = 0.0
    kind: Literal["soft", "hard"] = "soft"
    #: Divides the logits of both in `soft`.
    temperature: float = 1.0
    #: Lags that long rows are compared at, see `model.train.ranking`.
    lags: int = 8
    #: Rows of attention scores up to this length compare all of their pairs.
    exact_length: int = EXACT_LENGTH

    def __post_init__(self) -> None:
        for name in ("labels", "logits", "ranking"):
            check(getattr(self, name) >= 0, f"{name} is a weight, 0 or more, got {getattr(self, name)}")
        check(
            self.labels + self.logits + self.ranking > 0, "a student needs a loss: one of its weights must be above 0"
        )
        check(self.kind in _KINDS, f"kind of distillation must be one of {', '.join(_KINDS)}, got {self.kind!r}")
        check(self.temperature > 0, f"temperature must be above 0, got {self.temperature}")
        check(self.lags > 0, f"lags must be 1 or more, got {self.lags}")
        check(self.exact_length >= 0, f"exact_length must be 0 or more, got {self.exact_length}")


class Batch(NamedTuple):
    """What a step learns from."""

    #: uint8[B, H, W, C]
    images: Tensor
    #: Labels, int64[B], or shares of the classes, float32[B, classes].
    targets: Tensor
    #: Source of the step's random choices; on the CPU.
    generator: torch.Generator


class Supervised(nn.Module):
    """Cross entropy with the labels.

    Parameters
    ----------
    model : VisionTransformer
    label_smoothing : float
    """

    #: Models that are run and not trained; in a tuple, because a module would become part of this one.
    hidden: tuple[RealViT, ...] = ()

    def __init__(self, model: VisionTransformer, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.model, self.label_smoothing = model, label_smoothing

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the parts of the loss by name, `loss` among them, each float32[B]."""
        return {"loss": self.cross_entropy(self.model(batch.images), batch.targets)}

    def cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy of each image, float32[B]."""
        return F.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=self.label_smoothing)


class Distilled(Supervised):
    """The weighted sum of a student's losses.

    Parameters
    ----------
    model : VisionTransformer
        The student.
    teacher : RealViT
        Not changed, and no part of the state dict.
    distillation : Distillation
    label_smoothing : float

    Raises
    ------
    BivitError
        When the teacher has other classes or images than the student, or for the ranking loss other blocks.
    """

    def __init__(
        self,
        model: VisionTransformer,
        teacher: RealViT,
        distillation: Distillation,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(model, label_smoothing)
        check_teacher(teacher.config, model.config, distillation)
        self.hidden, self.distillation = (teacher.eval(),), distillation

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the parts of the loss by name, `loss` and `agreement` (see `Ranking`) among them, each float32[B]."""
        weights = self.distillation
        target: list[Tensor] = []
        teacher_scores: list[Tensor] = []
        if weights.logits or weights.ranking:
            with torch.no_grad():
                target, teacher_scores = self.hidden[0].forward_scores(batch.images)
        logits, scores = self.model.forward_scores(batch.images)
        parts = {}
        if weights.labels:
            parts["labels"] = self.cross_entropy(logits[0], batch.targets)
        if weights.logits:
            # The last head is the distillation head, or the only one.
            parts["logits"] = logit_loss(logits[-1], torch.stack(target).mean(0), weights)
        agreement = {}
        if weights.ranking:
            ranking = ranking_loss(
                scores, teacher_scores, len(batch.images), weights.lags, batch.generator, weights.exact_length
            )
            parts["ranking"], agreement["agreement"] = ranking
        loss = torch.stack([getattr(weights, name) * part for name, part in parts.items()]).sum(0)
        return {"loss": loss, **parts, **agreement}


def logit_loss(student: Tensor, teacher: Tensor, weights: Distillation) -> Tensor:
    """Distance of the student's logits to the teacher's, float32[B] for float[B, classes] of both.

    >>> logits = torch.tensor([[2.0, 0.0]])
    >>> logit_loss(logits, logits, Distillation()).tolist()
    [0.0]
    """
    if weights.kind == "hard":
        return F.cross_entropy(student.float(), teacher.argmax(-1), reduction="none")
    of_student, of_teacher = ((x.float() / weights.temperature).log_softmax(-1) for x in (student, teacher))
    distance = F.kl_div(of_student, of_teacher, reduction="none", log_target=True).sum(-1)
    return weights.temperature**2 * distance


def check_teacher(teacher: ModelConfig, student: ModelConfig, distillation: Distillation) -> None:
    """Refuse a teacher from which a student cannot learn.

    Raises
    ------
    BivitError
        Naming what differs: image size, channels or classes; for the ranking loss, also blocks, heads or tokens.
    """
    for name in ("img_size", "in_chans", "num_classes"):
        got, needed = getattr(teacher, name), getattr(student, name)
        check(
            got == needed,
            f"the teacher has {name} {got}, the student {needed}; take a teacher of the same {name}, or a student: "
            "without a preset of its own it has its teacher's shape, and pictures are converted to its channels",
        )
    check(
        student.head_rows == 1 or (distillation.labels > 0 and distillation.logits > 0),
        "a model with a distillation token learns labels at one head and logits at the other: both weights must be "
        f"above 0, got labels {distillation.labels} and logits {distillation.logits}",
    )
    if distillation.ranking > 0:
        first, second = _attention_shapes(teacher), _attention_shapes(student)
        check(
            first == second,
            "the ranking loss compares attention block by block: the teacher needs the student's blocks, heads and "
            f"tokens, got (heads, windows, tokens) {first} and {second}; set distillation.ranking to 0",
        )


def _attention_shapes(config: ModelConfig) -> list[tuple[int, int, int]]:
    """Heads, windows and tokens of a window, a block."""
    return [(block.num_heads, block.windows, block.window_tokens) for block in config.blocks]


@torch.no_grad()
def pair_agreement(
    student: VisionTransformer, teacher: RealViT, data: Source, images: int = 256, batch_size: int = 64
) -> list[float]:
    """Share of the pairs of attention scores that a student has in its teacher's order.

    Parameters
    ----------
    student : VisionTransformer
    teacher : RealViT
    data : Source
    images : int
        The first so many of `data`, at most.
    batch_size : int

    Returns
    -------
    list of float
        One a block, 0 .. 1; 0.5 is chance. Empty where the two differ in blocks, heads or tokens.
    """
    if _attention_shapes(student.config) != _attention_shapes(teacher.config):
        return []
    student.eval()
    teacher.eval()
    device, generator = next(student.parameters()).device, torch.Generator().manual_seed(0)
    sums, seen = [0.0] * len(student.config.blocks), 0
    for batch, _ in batches(data, batch_size, shuffle=False):
        batch = batch[: images - seen].to(device)
        if seen == images:
            break
        if not len(batch):
            continue  # all of them broken
        seen += len(batch)
        pairs = zip(student.forward_scores(batch)[1], teacher.forward_scores(batch)[1], strict=True)
        for index, (own, target) in enumerate(pairs):
            found = ranking_loss([own], [target], len(batch), Distillation.lags, generator)
            sums[index] += float(found.agreement.sum())
    return [total / seen for total in sums]
