"""`bivit train`: from images to the checkpoints of a teacher and its student."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..sim.errors import check
from .shared.common import (
    BrokenOption,
    DataOption,
    JsonFlag,
    broken_images_named,
    messages,
    open_images,
    show,
    tool_versions,
)
from .shared.progress import step

if TYPE_CHECKING:
    from ..model.data.source import Source
    from ..model.files.checkpoint import Checkpoint
    from ..model.train.distributed import World
    from ..model.train.finetune import Adapted
    from ..model.train.recipe import Recipes
    from ..model.train.run_folder import RunFolder
    from ..sim.network.config import ModelConfig

#: What is trained when neither a preset nor a teacher is named.
DEFAULT_PRESET = "digits"
#: Recipe of a student whose shape is that of a given teacher.
FINETUNE = "finetune"

EpochsOption = Annotated[int | None, typer.Option(help="Epochs of the teacher and of each stage, not the recipe's.")]


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
    #: Start anew even where the folder holds a run that is not finished.
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


def train_pair(options: TrainOptions, *, command: str, progress: bool) -> dict[str, Any]:
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
    dict
        `teacher` and `student` (paths of their checkpoints), `top1_teacher`, `top1_student`, `agreement` (of attention
        scores with the teacher's, one a block), `images` (of the test split). Of several processes only the main one
        returns them, the others nothing.

    Raises
    ------
    BivitError
        When preset, recipe, teacher and data do not fit each other, when the folder's run cannot be continued or
        another process writes it, or when a loss is not finite.
    """
    from ..model.train.progress import unseen

    show_step = step if progress else unseen
    with show_step("load torch", None):
        from ..model.files.checkpoint import file_hash, load_checkpoint
        from ..model.train.distributed import join_world
        from ..model.train.fit import Session
        from ..model.train.recipe import load_recipe
        from ..model.train.train import Run, check_batches
        from ..sim.network.presets import preset
        from ..sim.system.locks import owned_folder

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
    fine_tuned = adapted is not None and bool(adapted.changes)
    check_batches(train, recipes, teacher=given is None or fine_tuned)
    asked: dict[str, Any] = {
        "preset": options.preset,
        "model": config.to_dict(),
        "recipe": recipes.to_dict(),
        "data": {"name": options.data, "train": len(train), "test": len(test)},
        "seed": options.seed,
        "teacher": file_hash(options.teacher) if options.teacher else None,
    }
    if options.on_broken == "skip":
        asked["data"]["on_broken"] = "skip"
    if options.new_head:
        asked["new_head"] = True
    provenance = {"command": command, "data": options.data, "versions": tool_versions()}
    with join_world() as world, owned_folder(options.out) if world.is_main else nullcontext():
        folder = _open_folder(options, asked, world)
        if folder.result is not None:
            return folder.result if world.is_main else {}
        if adapted is not None and world.is_main:
            _say_what_becomes_of(adapted, options, name, recipes)
        watch = show_step if world.is_main else unseen
        session = Session(world, folder, watch, options.workers, options.save_steps)
        run = Run(config, train, test, recipes, options.seed, session, provenance)
        if adapted is not None:
            run.teacher, run.first = (None, adapted.model) if fine_tuned else (given, None)
        result = _result(options, run.run(), len(test), adapted)
        with watch("draw the curves", None):
            folder.finish(result)
        return result if world.is_main else {}


def _open_train(options: TrainOptions, recipes: Recipes, given: Checkpoint | None) -> tuple[ModelConfig, Source]:
    """Return the student's shape and the images that it learns from.

    With a teacher, the shape follows the data where the recipe does not say otherwise: its number of classes.
    """
    from ..model.train.finetune import changed_shape
    from ..sim.network.presets import preset

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
    from ..model.train.finetune import adapt
    from ..model.train.train import TEACHER, as_real, check_given

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


def _result(
    options: TrainOptions, trained: dict[str, Checkpoint], images: int, adapted: Adapted | None
) -> dict[str, Any]:
    changes = "; ".join(adapted.changes) if adapted else ""
    own = options.out / "teacher.safetensors"
    return {
        "teacher": str(own if changes or options.teacher is None else options.teacher),
        "student": str(options.out / "student.safetensors"),
        "top1_teacher": trained["teacher"].metrics.get("top1"),
        "top1_student": trained["student"].metrics["top1"],
        "agreement": trained["student"].metrics["agreement"],
        "images": images,
    } | ({"fine_tuned": changes} if changes else {})


def _open_folder(options: TrainOptions, asked: dict[str, Any], world: World) -> RunFolder:
    """Open the run's folder: the main process first, which makes it, then those that only read."""
    from ..model.train.run_folder import RunFolder

    if not world.is_main:
        world.barrier()
    folder = RunFolder(options.out, asked, options.resume, options.overwrite, writes=world.is_main)
    if world.is_main:
        world.barrier()
    return folder


def train(
    preset: Annotated[
        str | None, typer.Option(help="Named shape, with its recipe: digits, or with --teacher the teacher's shape.")
    ] = None,
    data: DataOption = "digits",
    out: Annotated[Path, typer.Option(help="Folder for the checkpoints, the metrics and the state.")] = Path("out"),
    recipe: Annotated[str | None, typer.Option(help="Another preset's recipe, or a TOML file.")] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="Teacher; else one is trained. Fine-tuned where its classes or image size are others."),
    ] = None,
    new_head: Annotated[
        bool, typer.Option("--new-head", help="Begin the teacher's classifier anew, for as many but other classes.")
    ] = False,
    image_size: Annotated[
        int | None, typer.Option(help="Pixels along one side, as --set model.img_size; else the preset's or teacher's.")
    ] = None,
    epochs: EpochsOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of first weights, order and augmentation.")] = 0,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, as stages.0.lr=2e-3.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images ahead.")] = 0,
    save_steps: Annotated[int, typer.Option(min=0, help="Write the state every so many steps too.")] = 0,
    on_broken: BrokenOption = "stop",
    as_json: JsonFlag = False,
) -> None:
    """Train a real-valued teacher, then the binarized student that starts from it.

    The folder gets teacher.safetensors, student.safetensors, config.json, metrics.jsonl, curves.svg, tensorboard/ and
    last.pt, from which a run that was stopped continues. Several processes train together under torchrun.

    Example: bivit train --preset digits --data digits --out out/digits

    Example: bivit train --teacher teacher.safetensors --data photos --image-size 160 --out out/photos
    """
    size = () if image_size is None else (f"model.img_size={image_size}",)
    options = TrainOptions(
        preset=preset or (None if teacher else DEFAULT_PRESET),
        data=data,
        out=out,
        recipe=recipe,
        teacher=teacher,
        new_head=new_head,
        epochs=epochs,
        seed=seed,
        settings=(*(settings or ()), *size),
        resume=resume,
        workers=workers,
        save_steps=save_steps,
        on_broken=on_broken,
    )
    with broken_images_named():
        result = train_pair(options, command=options.command, progress=True)
    if result:
        show(result, as_json, f"{options.preset or teacher} on {data}")
