"""Training of the real-valued teacher and of the Bi-ViT that learns from it (arXiv 2305.12354, section 4).

The student starts from the teacher's weights and is trained with exact operands and all roundings in its forward pass,
so that folding it afterwards changes nothing. It may be trained in two stages, the first with binary weights only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from ...sim.errors import check
from ...sim.network.config import ModelConfig
from ..data.loader import batches
from ..data.source import Source, check_source
from ..files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ..vit.vit import BinaryWeightViT, BiViT, RealViT, VisionTransformer
from .calibrate import calibrate
from .distill import Distilled, Supervised, check_teacher, pair_agreement
from .fit import Fit, Session, Trained
from .recipe import Recipe, Recipes, Stage
from .start import first_weights, start_from

TEACHER = "teacher"
#: What the learnable scales of a Bi-ViT start from.
_CALIBRATION_BATCH, _CALIBRATION_BATCHES = 64, 4


def train_teacher(
    config: ModelConfig,
    train: Source,
    test: Source,
    recipe: Recipe,
    seed: int = 0,
    session: Session | None = None,
    first: RealViT | None = None,
) -> Trained:
    """Train the real-valued twin with cross entropy.

    Parameters
    ----------
    config : ModelConfig
    train, test : Source
        What it learns from, and what `metrics["top1"]` is measured on.
    recipe : Recipe
    seed : int
        Of first weights, order and augmentation; the same seed, machine and thread count give the same model.
    session : Session, optional
        By default one process that writes nothing.
    first : RealViT, optional
        Of this shape: its weights are the first ones, and it is changed. By default they are random.

    Returns
    -------
    Trained

    Raises
    ------
    BivitError
        When the images do not fit the config, or a loss is not finite.
    """
    torch.manual_seed(seed)
    objective = Supervised(first or RealViT(config), recipe.label_smoothing)
    return Fit(TEACHER, objective, train, test, recipe, seed, session or Session()).run()


def train_student(
    teacher: RealViT,
    train: Source,
    test: Source,
    stages: Sequence[Stage],
    seed: int = 0,
    session: Session | None = None,
    config: ModelConfig | None = None,
) -> Trained:
    """Train a Bi-ViT that starts from the teacher's weights and learns from it, stage by stage.

    Parameters
    ----------
    teacher : RealViT
        It is not changed.
    train, test : Source
    stages : sequence of Stage
        Each starts from the weights of the one before.
    seed : int
    session : Session, optional
        As in `train_teacher`.
    config : ModelConfig, optional
        The teacher's by default; may have other modes.

    Returns
    -------
    Trained
        Its model is a `BiViT` when the last stage is of the kind `binary`.

    Raises
    ------
    BivitError
        When images, teacher and config do not fit each other, or a loss is not finite.
    """
    start: RealViT = teacher
    for index, stage in enumerate(stages):
        name = stage_name(index)
        trained = train_stage(name, start, teacher, train, test, stage, seed, session or Session(), config)
        if isinstance(trained.model, RealViT):
            start = trained.model
    return trained


def stage_name(index: int) -> str:
    """Name of a stage in metrics, files and settings: `stages.0` is the first."""
    return f"stages.{index}"


def train_stage(
    name: str,
    start: RealViT,
    teacher: RealViT,
    train: Source,
    test: Source,
    stage: Stage,
    seed: int,
    session: Session,
    config: ModelConfig | None = None,
) -> Trained:
    """Train one stage of a student.

    Parameters
    ----------
    name : str
        As `stage_name` gives it.
    start : RealViT
        Its weights are the first ones.
    teacher : RealViT
    train, test : Source
    stage : Stage
    seed : int
    session : Session
    config : ModelConfig, optional
        See `train_student`.

    Returns
    -------
    Trained
        `metrics["agreement"]` is the pair agreement of each block with the teacher, on test images.

    Raises
    ------
    BivitError
        As `train_student`.
    """
    torch.manual_seed(seed)
    model = make_student(stage, config or start.config, start).to(session.world.device)
    check_source(train, model.config)
    if isinstance(model, BiViT):
        # Every process takes whole batches, so that all start with the same scales.
        first = islice(batches(train, _CALIBRATION_BATCH, seed=seed), _CALIBRATION_BATCHES)
        calibrate(model, (images.to(session.world.device) for images, _ in first))
    teacher = teacher.to(session.world.device)
    objective = Distilled(model, teacher, stage.distillation, stage.label_smoothing)
    trained = Fit(name, objective, train, test, stage, seed, session).run()
    agreement = pair_agreement(trained.model.to(session.world.device), teacher, test)
    for model in (trained.model, teacher):
        model.cpu()
    return replace(trained, metrics={**trained.metrics, "agreement": agreement})


def check_given(teacher: RealViT, config: ModelConfig, stages: Sequence[Stage]) -> None:
    """Refuse a teacher that does not fit one of the stages, before anything is trained or written.

    Raises
    ------
    BivitError
        Naming what differs.
    """
    for stage in stages:
        check_teacher(teacher.config, config, stage.distillation)
        if stage.start == "teacher":
            with torch.device("meta"):
                student = make_student(replace(stage, start="random"), config, teacher)
            first_weights(student, teacher)


def check_batches(data: Source, recipes: Recipes, teacher: bool) -> None:
    """Refuse images that are too few for a step.

    Parameters
    ----------
    data : Source
        What is learnt from.
    recipes : Recipes
    teacher : bool
        Whether a teacher is trained, too.

    Raises
    ------
    BivitError
        Naming the recipe's table.
    """
    tables: dict[str, Recipe] = {TEACHER: recipes.teacher} if teacher else {}
    for name, recipe in (tables | {stage_name(i): stage for i, stage in enumerate(recipes.stages)}).items():
        check(
            data.count_batches(recipe.batch_size, drop_last=recipe.compile) > 0,
            f"{data.name} has {len(data)} images, fewer than one batch of {recipe.batch_size}, and with compile = true "
            f"a smaller batch is left out; set {name}.batch_size to {len(data)} or less, or {name}.compile to false",
        )


def make_student(stage: Stage, config: ModelConfig, start: RealViT) -> VisionTransformer:
    """Return the untrained model of a stage: pixel normalisation of `start` and, unless random, its weights."""
    model: VisionTransformer
    if stage.kind == "weights":
        model = BinaryWeightViT(config, start.pixels, stage.binarization)
    else:
        model = BiViT(config, start.pixels, binarization=stage.binarization)
    if stage.start == "teacher":
        start_from(model, start)
    return model


@dataclass
class Run:
    """A teacher and its student, trained one after the other into a folder, from which a killed run continues.

    Parameters
    ----------
    config : ModelConfig
    train, test : Source
    recipes : Recipes
    seed : int
    session : Session
        Needs a folder.
    provenance : dict
        For the checkpoints.
    teacher : Checkpoint, optional
        Of a `RealViT`, taken as it is; None trains one.
    first : RealViT, optional
        What the training of the teacher starts from (`finetune.adapt`); by default random weights.
    """

    config: ModelConfig
    train: Source
    test: Source
    recipes: Recipes
    seed: int
    session: Session
    provenance: dict[str, Any] = field(default_factory=dict)
    teacher: Checkpoint | None = None
    first: RealViT | None = None

    def run(self) -> dict[str, Checkpoint]:
        """Train what is not trained yet.

        Returns
        -------
        dict of str to Checkpoint
            `teacher`, the one that was given or that of `teacher.safetensors`, and `student`.

        Raises
        ------
        BivitError
            As `train_teacher` and `train_student`.
        """
        done = {"teacher": self.teacher or self._phase(TEACHER, self._train_teacher)}
        start = teacher = as_real(done["teacher"])
        for index, stage in enumerate(self.recipes.stages):
            name = stage_name(index)
            done["student"] = self._phase(name, partial(self._train_stage, name, stage, start, teacher))
            if stage.kind == "weights":
                start = as_real(done["student"])
        return done

    def path(self, phase: str) -> Path:
        """File of a phase: the last stage's is `student.safetensors`."""
        assert self.session.folder is not None
        last = stage_name(len(self.recipes.stages) - 1)
        return self.session.folder.path / f"{'student' if phase == last else phase}.safetensors"

    def _phase(self, name: str, train: Callable[[], Trained]) -> Checkpoint:
        """Train one phase and write its checkpoint, or read it when the folder's state is of a later phase."""
        if self._is_done(name):
            return load_checkpoint(self.path(name))
        trained = train()
        with self.session.watch(f"write {self.path(name).name}", None):
            return self._write(name, trained)

    def _write(self, name: str, trained: Trained) -> Checkpoint:
        checkpoint = Checkpoint(trained.model, self.seed, trained.metrics, self.provenance)
        if self.session.world.is_main:
            save_checkpoint(checkpoint, self.path(name))
        return checkpoint

    def _is_done(self, name: str) -> bool:
        assert self.session.folder is not None
        phases = [TEACHER, *(stage_name(index) for index in range(len(self.recipes.stages)))]
        state = self.session.folder.state
        return state is not None and phases.index(state["phase"]) > phases.index(name)

    def _train_teacher(self) -> Trained:
        config = self.config if self.first is None else self.first.config
        recipe = self.recipes.teacher
        return train_teacher(config, self.train, self.test, recipe, self.seed, self.session, self.first)

    def _train_stage(self, name: str, stage: Stage, start: RealViT, teacher: RealViT) -> Trained:
        return train_stage(name, start, teacher, self.train, self.test, stage, self.seed, self.session, self.config)


def as_real(checkpoint: Checkpoint) -> RealViT:
    """Return the model of a checkpoint that is known to be real-valued."""
    assert isinstance(checkpoint.model, RealViT)
    return checkpoint.model
