"""Training of a teacher and its student into a folder, as `bivit train`, `demo` and `ablate` do it."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...sim.errors import check
from ...sim.system.locks import owned_folder
from ...sim.system.result import OPTIONAL, Result
from ...sim.system.typed import build
from ..shared.common import messages, open_images, tool_versions
from ..shared.progress import say, step

if TYPE_CHECKING:
    from ...model.data.source import Source
    from ...model.files.checkpoint import Checkpoint
    from ...model.train.distributed import World
    from ...model.train.finetune import Adapted
    from ...model.train.progress import Watch
    from ...model.train.recipe import Recipes
    from ...model.train.run_folder import RunFolder
    from ...sim.network.config import ModelConfig

#: Recipe of a student whose shape is that of a given teacher.
FINETUNE = "finetune"


@dataclass(frozen=True)
class TrainOptions:
    """What a training is asked for."""

    #: None takes the teacher's shape, which must then be given.
    preset: str | None
    data: str
    out: Path
    #: A preset that has a recipe, or a TOML file; None takes the preset's own, and without a preset `FINETUNE`.
    recipe: str | None = None
    #: Checkpoint of a teacher to learn from; None trains one.
    teacher: Path | None = None
    #: Begin the classifier of the given teacher anew although it has as many classes as the data.
    new_head: bool = False
    epochs: int | None = None
    seed: int = 0
    #: Changes of the recipe, as `stages.0.lr=2e-3`.
    settings: tuple[str, ...] = ()
    resume: bool = False
    #: Start anew whatever run the folder holds.
    overwrite: bool = False
    #: Processes that read images ahead.
    workers: int = 0
    #: Steps between states that are written beside those of each epoch; 0 writes none.
    save_steps: int = 0
    #: What becomes of images that cannot be read: `stop` or `skip`.
    on_broken: str = "stop"

    @property
    def command(self) -> str:
        """What repeats the training, the folder left out."""
        named = ("preset", "data", "recipe", "teacher", "epochs", "seed")
        words = [f"--{name} {shlex.quote(str(value))}" for name in named if (value := getattr(self, name)) is not None]
        words += ["--new-head"] if self.new_head else []
        words += ["--on-broken skip"] if self.on_broken == "skip" else []
        return " ".join(["bivit train", *words, *(f"--set {shlex.quote(setting)}" for setting in self.settings)])


@dataclass(frozen=True)
class TrainedPair(Result):
    """What a training gave, as its folder's `result.json` holds it.

    Parameters
    ----------
    teacher, student : str
        Paths of their checkpoints.
    top1_teacher : float or None
        None where the teacher was given without.
    top1_student : float
    agreement : tuple of float
        Of attention scores with the teacher's, one a block.
    images : int
        Of the test split.
    fine_tuned : str or None
        How a given teacher was changed, and first trained, to fit.
    """

    teacher: str
    student: str
    top1_teacher: float | None
    top1_student: float
    agreement: tuple[float, ...]
    images: int
    fine_tuned: str | None = field(default=None, metadata=OPTIONAL)


def train_pair(options: TrainOptions, *, command: str, progress: bool) -> TrainedPair | None:
    """Train a teacher and the Bi-ViT that learns from it, into a folder (`bivit.model.train.run_folder`).

    Parameters
    ----------
    options : TrainOptions
    command : str
        For the provenance.
    progress : bool
        Whether to show what is being done.

    Returns
    -------
    TrainedPair or None
        Of several processes only the main one returns a result.

    Raises
    ------
    BivitError
        When preset, recipe, teacher and data do not fit each other, when the folder's run cannot be continued or
        another process writes it, or when a loss is not finite.
    """
    from ...model.train.progress import unseen

    show_step = step if progress else unseen
    task = _prepare(options, show_step)
    from ...model.train.distributed import join_world
    from ...model.train.fit import Session
    from ...model.train.train import Run

    provenance = {"command": command, "data": options.data, "versions": tool_versions()}
    with join_world() as world, owned_folder(options.out) if world.is_main else nullcontext():
        folder = _open_folder(options, _asked(options, task), world)
        if folder.result is not None:
            found = build(TrainedPair, folder.result, f"the result in {options.out / 'result.json'}")
            if progress and world.is_main:
                say(f"this training is finished in {options.out}; --overwrite would train anew")
            return found if world.is_main else None
        if task.adapted is not None and world.is_main:
            _say_what_becomes_of(task.adapted, options, task.recipe, task.recipes)
        watch = show_step if world.is_main else unseen
        session = Session(world, folder, watch, options.workers, options.save_steps)
        run = Run(task.config, task.train, task.test, task.recipes, options.seed, session, provenance)
        if task.adapted is not None:
            run.teacher, run.first = (None, task.adapted.model) if task.fine_tuned else (task.given, None)
        result = _result(options, run.run(), task)
        with watch("draw the curves", None):
            folder.finish(result.to_dict())
        return result if world.is_main else None


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A training that can be: everything that it needs is there and fits."""

    recipe: str
    recipes: Recipes
    config: ModelConfig
    train: Source
    test: Source
    given: Checkpoint | None
    adapted: Adapted | None

    @property
    def fine_tuned(self) -> bool:
        """Whether the given teacher first learns the data itself."""
        return self.adapted is not None and bool(self.adapted.changes)


def _prepare(options: TrainOptions, show_step: Watch) -> _Task:
    """Read and check everything that the training needs, before anything is written."""
    with show_step("load torch", None):
        from ...model.files.checkpoint import load_checkpoint
        from ...model.train.recipe import load_recipe
        from ...model.train.train import check_batches
        from ...sim.network.presets import preset

    if options.preset is not None:
        preset(options.preset)
    name = options.recipe or options.preset or FINETUNE
    recipes = load_recipe(name, options.settings)
    recipes = recipes if options.epochs is None else recipes.with_epochs(options.epochs)
    given = load_checkpoint(options.teacher, kind="float") if options.teacher else None
    with show_step("open the images", None):
        config, train = _open_train(options, recipes, given)
        adapted = None if given is None else _adapt(options, recipes, given, config)
        test = open_images(options.data, "test", config, options.on_broken)
    task = _Task(recipe=name, recipes=recipes, config=config, train=train, test=test, given=given, adapted=adapted)
    check_batches(train, recipes, teacher=given is None or task.fine_tuned)
    return task


def _asked(options: TrainOptions, task: _Task) -> dict[str, Any]:
    """What the run depends on, as `config.json` of its folder holds it."""
    from ...sim.system.files import file_hash

    data: dict[str, Any] = {"name": options.data, "train": len(task.train), "test": len(task.test)}
    if options.on_broken == "skip":
        data["on_broken"] = "skip"
    asked = {
        "preset": options.preset,
        "model": task.config.to_dict(),
        "recipe": task.recipes.to_dict(),
        "data": data,
        "seed": options.seed,
        "teacher": file_hash(options.teacher) if options.teacher else None,
    }
    return asked | ({"new_head": True} if options.new_head else {})


def _open_train(options: TrainOptions, recipes: Recipes, given: Checkpoint | None) -> tuple[ModelConfig, Source]:
    """Return the student's shape and the images that it learns from.

    With a teacher, the shape follows the data where the recipe does not say otherwise: its number of classes.
    """
    from ...model.train.finetune import changed_shape
    from ...sim.network.presets import preset

    if given is None:
        check(options.preset is not None, "a training without --teacher needs a --preset")
        assert options.preset is not None
        check(not options.new_head, "--new-head begins the classifier of a --teacher anew, and none is given")
        config = recipes.shape(preset(options.preset))
        return config, open_images(options.data, "train", config, options.on_broken)
    base = preset(options.preset) if options.preset else given.model.config
    config, follows = changed_shape(base, recipes.model), "num_classes" not in recipes.model
    train = open_images(options.data, "train", config, options.on_broken, any_classes=follows)
    return (replace(config, num_classes=len(train.classes)) if follows else config), train


def _adapt(options: TrainOptions, recipes: Recipes, given: Checkpoint, config: ModelConfig) -> Adapted:
    """Fit the given teacher to the student; refuse one that cannot be, before anything is written."""
    from ...model.train.finetune import adapt
    from ...model.train.train import TEACHER, as_real, check_given

    adapted = adapt(as_real(given), config, options.new_head, options.seed)
    check_given(adapted.model, config, recipes.stages)
    own = options.out / f"{TEACHER}.safetensors"
    assert options.teacher is not None
    check(
        not adapted.changes or own.resolve() != options.teacher.resolve(),
        f"{options.teacher} is where the fine-tuned teacher would be written; choose another folder with --out",
    )
    return adapted


def _say_what_becomes_of(adapted: Adapted, options: TrainOptions, recipe: str, recipes: Recipes) -> None:
    epochs = recipes.teacher.epochs
    what = f"taken as it is, with its {adapted.model.config.num_classes:,} classes; --new-head would begin them anew"
    if adapted.changes:
        what = f"{'; '.join(adapted.changes)}; it first learns {options.data}, by [teacher] of the recipe {recipe}: "
        what += f"{epochs} epoch{'' if epochs == 1 else 's'}"
    messages.print(f"teacher {options.teacher}: {what}", markup=False, soft_wrap=True)


def _result(options: TrainOptions, trained: dict[str, Checkpoint], task: _Task) -> TrainedPair:
    own = options.out / "teacher.safetensors"
    return TrainedPair(
        teacher=str(own if task.fine_tuned or options.teacher is None else options.teacher),
        student=str(options.out / "student.safetensors"),
        top1_teacher=trained["teacher"].metrics.get("top1"),
        top1_student=trained["student"].metrics["top1"],
        agreement=tuple(trained["student"].metrics["agreement"]),
        images=len(task.test),
        fine_tuned="; ".join(task.adapted.changes) if task.adapted is not None and task.fine_tuned else None,
    )


def _open_folder(options: TrainOptions, asked: dict[str, Any], world: World) -> RunFolder:
    """Open the run's folder: the main process first, which makes it, then those that only read."""
    from ...model.train.run_folder import RunFolder

    if not world.is_main:
        world.barrier()
    folder = RunFolder(
        options.out, asked, options.resume, options.overwrite, writes=world.is_main, keep=options.teacher
    )
    if world.is_main:
        world.barrier()
    return folder
