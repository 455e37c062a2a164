"""Training of the real-valued teacher and of the Bi-ViT that learns from it (arXiv 2305.12354, section 4).

The student starts from the teacher's weights and is trained with exact operands and all roundings in its forward pass,
so that folding it afterwards changes nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from ..sim.config import ViTConfig
from ..sim.errors import check
from ..sim.network import check_images
from .augment import Augmentation, augment
from .data import Dataset
from .evaluate import evaluate
from .vit import BiViT, RealViT, VisionTransformer


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one model is trained.

    Raises
    ------
    BivitError
        When a number is out of its range, naming it.
    """

    epochs: int
    batch_size: int = 64
    #: Largest learning rate, reached after the warm-up and then lowered to 0 along a cosine.
    lr: float = 1e-3
    #: Share of all steps in which the learning rate rises.
    warmup: float = 0.05
    #: Decay of real-valued weight matrices; latent weights, norms, scales, biases and embeddings have none.
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.99)
    #: Largest norm of the gradient.
    grad_clip: float = 5.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    #: Weight of the distance to the teacher's logits; the rest is cross entropy with the labels. Students only.
    distillation: float = 0.9
    #: Gradient of the activations' signs, a key of `binarize.SIGN_GRADIENTS`. Students only.
    slope: str = "bireal"
    #: Threads of the arithmetic; 0 leaves torch's choice. One is as fast for small models, and the same on any machine.
    threads: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            check(isinstance(value, int) and value > 0, f"{name} must be a positive integer, got {value!r}")
        check(isinstance(self.threads, int) and self.threads >= 0, f"threads must be 0 or more, got {self.threads!r}")
        check(self.lr > 0, f"lr must be above 0, got {self.lr}")
        check(0 <= self.warmup < 1, f"warmup is a share of the steps, 0 to below 1, got {self.warmup}")
        check(0 <= self.distillation <= 1, f"distillation is a weight of 0 to 1, got {self.distillation}")


@dataclass(frozen=True)
class Recipes:
    """Recipes of a teacher and its student."""

    teacher: Recipe
    student: Recipe


_DIGITS = Augmentation(shift=0.6, rotation=12.0, zoom=0.1, shear=0.15)
#: Recipes by preset. `digits` with seeds 0 to 3: the teacher reaches 97.2 to 98.0 % Top-1, the Bi-ViT and its integer
#: network 96.3 to 97.7 %; both together take about 150 s of one core (AMD EPYC).
RECIPES: dict[str, Recipes] = {
    "digits": Recipes(
        teacher=Recipe(epochs=40, lr=3e-3, augmentation=_DIGITS, threads=1),
        student=Recipe(
            epochs=60, lr=4e-3, weight_decay=0.0, augmentation=_DIGITS, distillation=1.0, slope="tanh", threads=1
        ),
    ),
}


@dataclass(frozen=True)
class Trained:
    """A trained model, its metrics (plain numbers for JSON) and the mean loss of each epoch."""

    model: VisionTransformer
    metrics: dict[str, Any]
    losses: list[float] = field(default_factory=list)


#: Loss of one batch: images uint8[B, H, W, C] and labels int64[B] to a scalar.
Loss = Callable[[Tensor, Tensor], Tensor]


def train_teacher(
    config: ViTConfig, train: Dataset, test: Dataset, recipe: Recipe, seed: int = 0, progress: bool = True
) -> Trained:
    """Train the real-valued twin from scratch with cross entropy.

    Parameters
    ----------
    config : ViTConfig
    train, test : Dataset
        What it learns from, and what `metrics["top1"]` is measured on after the last epoch.
    recipe : Recipe
    seed : int
        Of first weights, order and shifts; the same seed, machine and thread count give the same model.
    progress : bool
        Whether to show a bar on the terminal.

    Returns
    -------
    Trained

    Raises
    ------
    BivitError
        When the images do not fit the config.
    """
    torch.manual_seed(seed)
    model = RealViT(config)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(images), labels)

    return _fit(model, loss, train, test, recipe, seed, "teacher" if progress else None)


def train_student(
    teacher: RealViT, train: Dataset, test: Dataset, recipe: Recipe, seed: int = 0, progress: bool = True
) -> Trained:
    """Train a Bi-ViT that starts from the teacher's weights and learns its logits.

    Parameters
    ----------
    teacher : RealViT
        Shape, pixel normalisation and first weights are taken from it; it is not changed.
    train, test : Dataset
    recipe : Recipe
    seed : int
    progress : bool
        As in `train_teacher`.

    Returns
    -------
    Trained
        Its model is a `BiViT`.

    Raises
    ------
    BivitError
        When the images do not fit the config, or the recipe names no gradient of the sign.
    """
    torch.manual_seed(seed)
    teacher.eval()
    model = BiViT(teacher.config, teacher.pixels, slope=recipe.slope)
    start_from_teacher(model, teacher)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            target = teacher(images).log_softmax(-1)
        logits = model(images)
        distance = F.kl_div(logits.log_softmax(-1), target, reduction="batchmean", log_target=True)
        return recipe.distillation * distance + (1 - recipe.distillation) * F.cross_entropy(logits, labels)

    return _fit(model, loss, train, test, recipe, seed, "student" if progress else None)


@torch.no_grad()
def start_from_teacher(student: BiViT, teacher: RealViT) -> None:
    """Copy every weight that both have, and the biases that are thresholds in the Bi-ViT (v and fc1)."""
    weights = teacher.state_dict()
    own = student.state_dict()
    embed_dim = teacher.config.embed_dim
    for block in range(teacher.config.depth):
        prefix = f"blocks.{block}"
        weights[f"{prefix}.attn.v_sign.bias"] = weights.pop(f"{prefix}.attn.qkv.bias")[2 * embed_dim :]
        weights[f"{prefix}.mlp.act.bias"] = weights.pop(f"{prefix}.mlp.fc1.bias")
    student.load_state_dict(own | weights)


def _fit(
    model: VisionTransformer, loss: Loss, train: Dataset, test: Dataset, recipe: Recipe, seed: int, label: str | None
) -> Trained:
    """Run the training loop; `label` names the progress bar, None shows none."""
    check_images(train.images, model.config)
    images, labels = torch.as_tensor(train.images), torch.as_tensor(train.labels)
    steps = recipe.epochs * math.ceil(len(train) / recipe.batch_size)
    optimizer = torch.optim.AdamW(parameter_groups(model, recipe), lr=recipe.lr, betas=recipe.betas)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, steps, recipe.warmup))
    generator = torch.Generator().manual_seed(seed)
    losses, started = [], time.perf_counter()
    model.train()
    with _threads(recipe.threads), _progress(label) as bar:
        task = bar.add_task(label or "", total=recipe.epochs, loss="")
        for _ in range(recipe.epochs):
            total = 0.0
            for batch in torch.randperm(len(train), generator=generator).split(recipe.batch_size):
                value = loss(augment(images[batch], recipe.augmentation, generator), labels[batch])
                optimizer.zero_grad()
                value.backward()
                nn.utils.clip_grad_norm_(model.parameters(), recipe.grad_clip)
                optimizer.step()
                schedule.step()
                if isinstance(model, BiViT):
                    model.project()
                total += float(value.detach()) * len(batch)
            losses.append(total / len(train))
            bar.update(task, advance=1, loss=f"loss {losses[-1]:.3f}")
    metrics = {"top1": evaluate(model, test), "seconds": time.perf_counter() - started, "epochs": recipe.epochs}
    return Trained(model, metrics, losses)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Train with `count` threads; 0 changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _progress(label: str | None) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[loss]}"), disable=label is None)


def learning_rate(step: int, steps: int, warmup: float) -> float:
    """Share of the largest learning rate at a step: a linear rise, then a cosine to 0."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


def parameter_groups(model: VisionTransformer, recipe: Recipe) -> list[dict[str, Any]]:
    """Decay real-valued weight matrices only: decay of latent weights only makes signs flip more easily."""
    decayed = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if id(p) in decayed], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if id(p) not in decayed], "weight_decay": 0.0},
    ]
