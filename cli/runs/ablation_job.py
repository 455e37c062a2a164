"""One training of an ablation, in a process of its own."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...sim.errors import check
from ...sim.system.files import read_json, write_json
from ...sim.system.locks import owned_folder
from ...sim.system.result import OPTIONAL, Result
from ...sim.system.typed import build
from ..shared.common import open_images
from .variants import Variant

if TYPE_CHECKING:
    from ...model.train.recipe import Recipes
    from ...sim.network.config import ModelConfig

#: Calibration images of the export, from the train split.
_CALIBRATION = 256
#: What a student's job measures beside that of a teacher's.
_OF_STUDENTS = ("top1_torch", "same_predictions", "pair_agreement", "ones", "empty_rows", "command")


@dataclass(frozen=True)
class Job:
    """A variant and a seed, and what all jobs of an ablation share."""

    preset: str
    recipe: str
    data: str
    out: Path
    epochs: int | None
    #: Of the arithmetic.
    threads: int
    #: Changes of the recipe for all jobs, as `stages.0.start=random`; those of a variant win.
    changes: tuple[str, ...] = ()
    variant: str = ""
    seed: int = 0

    def of(self, variant: str, seed: int) -> Job:
        """Return the job of a variant, or of `teacher`, and a seed."""
        return replace(self, variant=variant, seed=seed)

    @property
    def folder(self) -> Path:
        """Folder of its run."""
        return self.out / self.variant / f"seed{self.seed}"

    @property
    def teacher(self) -> Path:
        """Checkpoint of the teacher that all students of the seed learn from."""
        return self.of("teacher", self.seed).folder / "teacher.safetensors"

    def recipes(self, variant: Variant | None = None) -> Recipes:
        """Return the recipe with the variant's changes."""
        from ...model.train.recipe import load_recipe

        plain = load_recipe(self.recipe)
        recipes = load_recipe(self.recipe, self.settings(plain, variant))
        return recipes if self.epochs is None else recipes.with_epochs(self.epochs)

    def settings(self, plain: Recipes, variant: Variant | None) -> list[str]:
        """Changes of the recipe as `bivit train --set` takes them."""
        tables = ["teacher", *(f"stages.{index}" for index in range(len(plain.stages)))]
        threads = [f"{table}.threads={self.threads}" for table in tables]
        return [*threads, *self.changes, *([] if variant is None else variant.settings(plain))]

    def config(self) -> ModelConfig:
        """Shape of the teacher."""
        from ...sim.network.presets import preset

        return self.recipes().shape(preset(self.preset))


@dataclass(frozen=True, kw_only=True)
class Measured(Result):
    """What one training gave; a teacher has the first ones only.

    Parameters
    ----------
    seed : int
    top1 : float
        Of the integer network; of the torch model for a teacher.
    top1_torch, same_predictions, ones, empty_rows : float or None
        Of the student, of both, and of its attention.
    constant_heads : tuple of str
    images_per_s, seconds : float
        Of the training.
    pair_agreement : float or None
        Of attention scores with the teacher's, mean over the blocks.
    command : str or None
        What repeats the training.
    """

    seed: int
    top1: float
    top1_torch: float | None = field(default=None, metadata=OPTIONAL)
    same_predictions: float | None = field(default=None, metadata=OPTIONAL)
    ones: float | None = field(default=None, metadata=OPTIONAL)
    empty_rows: float | None = field(default=None, metadata=OPTIONAL)
    constant_heads: tuple[str, ...] = ()
    images_per_s: float
    seconds: float
    pair_agreement: float | None = field(default=None, metadata=OPTIONAL)
    command: str | None = field(default=None, metadata=OPTIONAL)


def run_teacher(job: Job) -> Measured:
    """Train the teacher of a seed, or read what it gave."""
    from ...model.files.checkpoint import Checkpoint, save_checkpoint
    from ...model.train.fit import Session
    from ...model.train.run_folder import RunFolder
    from ...model.train.train import train_teacher

    recipe, config = job.recipes().teacher, job.config()
    asked = {"preset": job.preset, "data": job.data, "seed": job.seed, "recipe": job.recipes().to_dict()["teacher"]}
    with owned_folder(job.folder):
        folder = RunFolder(job.folder, asked, resume=(job.folder / "config.json").exists())
        if folder.result is None:
            train, test = (open_images(job.data, split, config) for split in ("train", "test"))
            trained = train_teacher(config, train, test, recipe, job.seed, Session(folder=folder))
            save_checkpoint(Checkpoint(trained.model, job.seed, trained.metrics, asked), job.teacher)
            images = len(train) * recipe.epochs
            seconds = trained.metrics["seconds"]
            folder.finish({"top1": trained.metrics["top1"], "seconds": seconds, "images_per_s": images / seconds})
        return read_measured(job.folder / "result.json", job.seed)


def run_student(job: Job, variant: Variant) -> Measured:
    """Train a student, export it and measure its integer network on the whole test split, or read what that gave."""
    from .training import TrainOptions, train_pair

    options = TrainOptions(
        preset=job.preset,
        data=job.data,
        out=job.folder,
        recipe=job.recipe,
        teacher=job.teacher,
        epochs=job.epochs,
        seed=job.seed,
        settings=tuple(job.settings(job.recipes(), variant)),
        resume=(job.folder / "config.json").exists(),
    )
    kept = job.folder / "measured.json"
    if kept.exists():
        found = read_measured(kept, job.seed, _OF_STUDENTS)
        check(
            found.command == options.command,
            f"{job.folder} holds the result of another command, {found.command!r}; got {options.command!r}; "
            "give another --out",
        )
        return found
    trained = train_pair(options, command=options.command, progress=False)
    assert trained is not None  # this is the only process of the training
    measured = _measure(job, _mean(trained.agreement), options.command)
    write_json(kept, measured.to_dict())
    return measured


def read_measured(path: Path, seed: int, names: Collection[str] = ()) -> Measured:
    """Read what a finished job wrote.

    Parameters
    ----------
    path : Path
    seed : int
        Of the job.
    names : collection of str
        What it must hold beside that of a teacher.

    Raises
    ------
    BivitError
        When something is missing or of another type.
    """
    values = read_json(path, "what a job gave")
    damaged = f"{path} is damaged; remove it to run the job again"
    measured = build(Measured, values | {"seed": seed} if isinstance(values, dict) else values, damaged)
    lacks = sorted(name for name in names if getattr(measured, name) is None)
    check(not lacks, f"{damaged}: it lacks {', '.join(lacks)}")
    return measured


def _measure(job: Job, pair_agreement: float, command: str) -> Measured:
    from ...model.attention_report import attention_report
    from ...model.data.dataset import take
    from ...model.files.checkpoint import load_checkpoint
    from ...model.files.export import ConstantHeadWarning, export_network, measure_agreement
    from ...model.train.run_folder import read_metrics
    from ...model.vit.vit import BiViT
    from ...sim.network.file import save_network

    student = load_checkpoint(job.folder / "student.safetensors", kind="binary")
    assert isinstance(student.model, BiViT)
    train = open_images(job.data, "train", student.model.config)
    source = open_images(job.data, "test", student.model.config)
    test = take(source, len(source))
    with warnings.catch_warnings():
        # Constant heads are among the results.
        warnings.simplefilter("ignore", ConstantHeadWarning)
        network = export_network(student.model, take(train, min(_CALIBRATION, len(train)), seed=0).images)
    save_network(network, job.folder / "network.safetensors")
    agreement = measure_agreement(student.model, network, test.images, test.labels)
    heads = attention_report(student.model, take(test, min(_CALIBRATION, len(test))).images)
    return Measured(
        seed=job.seed,
        top1=agreement["top1_integer"],
        top1_torch=agreement["top1_model"],
        same_predictions=agreement["same_predictions"],
        ones=_mean([head["ones"] for head in heads]),
        empty_rows=agreement["empty_rows"],
        constant_heads=tuple(agreement["constant_heads"]),
        images_per_s=read_metrics(job.folder)[-1]["images_per_s"],
        seconds=student.metrics["seconds"],
        pair_agreement=pair_agreement,
        command=command,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
