"""The training loop: steps, epochs, and a state from which it continues bit by bit.

What a step does is a function of the state and of (seed, epoch, step): the order of the images, their augmentation and
every other random choice are drawn anew from these three numbers. So the state holds no random number generator.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...sim.errors import BivitError, check
from ..data.loader import batches
from ..data.source import Source, check_source
from ..evaluate import count_right
from ..vit.vit import BiViT, VisionTransformer
from .augment import Draws, augment, mix
from .distill import Batch, Supervised
from .distributed import World
from .ema import Ema
from .optimizer import learning_rate, make_optimizer, set_learning_rate
from .precision import check_exact, precision
from .progress import EpochProgress, Watch, unseen
from .recipe import Recipe
from .run_folder import STATE, RunFolder


@dataclass(frozen=True)
class Session:
    """Where a training runs and what it leaves behind; its result does not depend on it."""

    world: World = field(default_factory=World)
    folder: RunFolder | None = None
    #: Shows what is being done.
    watch: Watch = unseen
    #: Processes that read images ahead.
    workers: int = 0
    #: Steps after which the state is written, beside the end of each epoch; 0 is never.
    save_steps: int = 0


@dataclass(frozen=True)
class Trained:
    """A trained model, its metrics (plain numbers for JSON) and the mean loss of each epoch."""

    model: VisionTransformer
    metrics: dict[str, Any]
    losses: list[float] = field(default_factory=list)


class Fit:
    """Trains one model.

    Parameters
    ----------
    phase : str
        Name of the training in metrics, states and messages.
    objective : Supervised
        Holds the model.
    train, test : Source
        What it learns from, and what Top-1 is measured on. No choice depends on the second: the weights are those of
        the last epoch.
    recipe : Recipe
    seed : int
        0 or more.
    session : Session

    Raises
    ------
    BivitError
        When the images do not fit the model, or the recipe does not.
    """

    def __init__(
        self,
        phase: str,
        objective: Supervised,
        train: Source,
        test: Source,
        recipe: Recipe,
        seed: int,
        session: Session,
    ) -> None:
        check(seed >= 0, f"seed must be 0 or more, got {seed}")
        self.phase, self.recipe, self.seed, self.session = phase, recipe, seed, session
        self.train, self.test, self.world = train, test, session.world
        self.objective, self.model = objective.to(self.world.device), objective.model
        for source in (train, test):
            check_source(source, self.model.config)
        if isinstance(self.model, BiViT):
            check_exact(recipe.precision, self.model.config)
        compiler = os.environ.get("CXX", "g++")
        check(
            not recipe.compile or self.world.device.type != "cpu" or shutil.which(compiler) is not None,
            f"compile = true needs a C++ compiler, and there is no {compiler}; install one, name it in CXX, or train "
            "with compile = false",
        )
        self.optimizer = make_optimizer(self.model, recipe)
        self.ema = Ema(self.model, recipe.ema) if recipe.ema else None
        self.epoch, self.step, self.seconds, self.clock = 0, 0, 0.0, time.perf_counter()
        self.top1: float | None = None
        self.sums: dict[str, float] = {}
        self.losses: list[float] = []
        self._restore()

    @property
    def epoch_steps(self) -> int:
        """Steps of one epoch."""
        return self.train.count_batches(self.recipe.batch_size, drop_last=self.recipe.compile)

    @property
    def averaged(self) -> VisionTransformer:
        """The model that is evaluated and returned: the moving average where there is one."""
        return self.model if self.ema is None else self.ema.model

    def run(self) -> Trained:
        """Train to the end of the last epoch.

        Raises
        ------
        BivitError
            When a loss or gradient is not finite; the last state stays.
        """
        recipe = self.recipe
        with _threads(recipe.threads), _compiled((self.model, *self.objective.hidden), recipe.compile):
            parallel = self.world.parallel(self.objective)
            with self.session.watch(f"train {self.phase}", recipe.epochs * len(self.train)) as shown:
                progress = EpochProgress(shown, len(self.train), recipe.epochs, self.epoch)
                while self.epoch < recipe.epochs:
                    self._run_epoch(parallel, progress)
                # A state of the end of the last epoch leaves only this to do.
                top1 = self._measure(progress) if self.top1 is None else self.top1
        metrics = {"top1": top1, "seconds": self.seconds, "epochs": recipe.epochs}
        return Trained(self.averaged.cpu(), metrics, self.losses)

    def _run_epoch(self, parallel: nn.Module, progress: EpochProgress) -> None:
        self.model.train()
        before, seconds = self.sums.get("images", 0.0), self.seconds
        self.clock = time.perf_counter()
        read = batches(
            self.train,
            self.recipe.batch_size,
            seed=self.seed,
            epoch=self.epoch,
            rank=self.world.rank,
            world=self.world.size,
            workers=self.session.workers,
            skip=self.step,
            # A last batch of another size would be compiled for itself.
            drop_last=self.recipe.compile,
        )
        for images, labels in read:
            self._run_step(parallel, images, labels)
            self.step += 1
            if self.session.save_steps and self.step % self.session.save_steps == 0:
                self._tick()
                self._save()
            seen = self.sums["images"]
            # A process may have seen none yet: of a small batch, or where broken images are left out.
            progress.advance(self.epoch, seen * self.world.size, self.sums["loss"] / max(1.0, seen))
        self._tick()
        self._end_epoch((self.sums["images"] - before) * self.world.size / (self.seconds - seconds), progress)

    def _tick(self) -> None:
        """Add the time since the last tick to the seconds of training."""
        now = time.perf_counter()
        self.seconds, self.clock = self.seconds + now - self.clock, now

    def _run_step(self, parallel: nn.Module, images: Tensor, labels: Tensor) -> None:
        recipe = self.recipe
        start, total = self.world.place(len(images))
        batch = self._prepare(images.to(self.world.device), labels.to(self.world.device), start, total)
        set_learning_rate(self.optimizer, self._learning_rate())
        with precision(recipe.precision, self.world.device):
            parts = {name: part[: len(images)] for name, part in parallel(batch).items()}
        self.optimizer.zero_grad()
        # The mean over the global batch, of which the processes' gradients are averaged.
        (parts["loss"].sum() * (self.world.size / max(1, total))).backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), recipe.grad_clip)
        values = torch.stack([norm.detach(), *(part.detach().sum() for part in parts.values())]).tolist()
        self._check_finite(dict(zip(["gradient", *parts], values, strict=True)))
        self.optimizer.step()
        if isinstance(self.model, BiViT):
            self.model.project()
        if self.ema is not None:
            self.ema.update(self.model)
        for name, value in zip(["images", *parts], [float(len(images)), *values[1:]], strict=True):
            self.sums[name] = self.sums.get(name, 0.0) + value

    def _prepare(self, images: Tensor, labels: Tensor, start: int, total: int) -> Batch:
        """Augment this process's images, the slice from `start` of the global batch of `total`."""
        state = np.random.SeedSequence([self.seed, self.epoch, self.step]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state[0]))
        if not len(images):
            # Of a small last batch this process has nothing; it takes part with an image that is not counted.
            return Batch(images.new_zeros((1, *images.shape[1:])), labels.new_zeros(1), generator)
        limits, draws = self.recipe.augmentation, Draws(generator, total, start, len(images))
        images = augment(images, limits, draws)
        if limits.mixes:
            images, labels = mix(images, labels, self.model.config.num_classes, limits, draws)
        return Batch(images, labels, generator)

    def _learning_rate(self) -> float:
        steps = self.recipe.epochs * self.epoch_steps
        return self.recipe.lr * learning_rate(self.epoch * self.epoch_steps + self.step, steps, self.recipe.warmup)

    def _check_finite(self, values: dict[str, float]) -> None:
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if not bad:
            return
        images = self.sums.get("images", 0.0)
        last = {name: value / images for name, value in self.sums.items() if name != "images" and images}
        finite = ", ".join(f"{name} {value:.4g}" for name, value in last.items()) or "none in this epoch"
        kept = f"the last state stays in {self.session.folder.path / STATE}; " if self.session.folder else ""
        raise BivitError(
            f"{self.phase}: {', '.join(bad)} not finite at step {self.step} of epoch {self.epoch + 1}; "
            f"means before it: {finite}; {kept}lower lr or grad_clip, or take precision fp32, and train again"
        )

    def _end_epoch(self, images_per_s: float, progress: EpochProgress) -> None:
        """Measure, write metrics and state, and begin the next epoch."""
        row: dict[str, Any] = {"phase": self.phase, "epoch": self.epoch + 1, "lr": self.optimizer.param_groups[0]["lr"]}
        row["step"] = (self.epoch + 1) * self.epoch_steps
        sums = dict(zip(self.sums, self.world.sum(list(self.sums.values())), strict=True))
        check(sums["images"] > 0, f"none of the {len(self.train)} images of {self.train.name} can be read")
        row |= {name: value / sums["images"] for name, value in sums.items() if name != "images"}
        self.losses.append(row["loss"])
        self.epoch, self.step, self.sums = self.epoch + 1, 0, {}
        if self.epoch % self.recipe.evaluate_every == 0 or self.epoch == self.recipe.epochs:
            row["top1"] = self.top1 = self._measure(progress)
        row |= {"images_per_s": images_per_s, "seconds": self.seconds}
        if self.session.folder is not None:
            self.session.folder.add_metrics(row)
        self._save()

    def _measure(self, progress: EpochProgress) -> float:
        advance = partial(progress.measured, self.epoch)
        eager = torch.compiler.set_stance("force_eager") if self.recipe.compile else nullcontext()
        with eager:
            place = {"rank": self.world.rank, "world": self.world.size}
            right, seen = count_right(self.averaged, self.test, **place, advance=advance)
        right_of_all, seen_of_all = self.world.sum([right, seen])
        check(seen_of_all > 0, f"none of the {len(self.test)} images of {self.test.name} can be read")
        return right_of_all / seen_of_all

    def _save(self) -> None:
        if self.session.folder is None:
            return
        sums = dict(zip(self.sums, self.world.sum(list(self.sums.values())), strict=True))
        state = {"phase": self.phase, "epoch": self.epoch, "step": self.step, "seconds": self.seconds, "sums": sums}
        state |= {"losses": self.losses, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        self.session.folder.save_state(state | ({"ema": self.ema.state_dict()} if self.ema else {}))

    def _restore(self) -> None:
        state = self.session.folder.state if self.session.folder else None
        if state is None or state["phase"] != self.phase:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
        self.losses = list(state["losses"])
        # The sums are those of all processes; the first one carries them on.
        self.sums = {name: value if self.world.is_main else 0.0 for name, value in state["sums"].items()}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Compute with `count` threads; 0 changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _compiled(models: Sequence[VisionTransformer], wanted: bool) -> Iterator[None]:
    """Compile each block while the context lasts: all blocks of one shape share the compiled code."""
    blocks = [block for model in models for _, block in model.named_blocks()] if wanted else []
    # Named, because compiled code is kept on disk for later runs, and would else bring the threads of an earlier one.
    options: dict[str, Any] = {"cpp.threads": torch.get_num_threads()}
    for block in blocks:
        block.forward = torch.compile(block.forward, options=options)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for block in blocks:
            del block.forward
