"""`bivit train`: from images to the checkpoints of a teacher and its student."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import BrokenOption, DataOption, JsonFlag, broken_images_named, open_images, show, tool_versions
from .progress import step

if TYPE_CHECKING:
    from ..model.checkpoint import Checkpoint
    from ..model.distributed import World
    from ..model.run_folder import RunFolder

EpochsOption = Annotated[int | None, typer.Option(help="Epochs of the teacher and of each stage, not the recipe's.")]


@dataclass(frozen=True)
class TrainOptions:
    """What a training is asked for."""

    preset: str
    data: str
    out: Path
    #: A preset that has a recipe, or a TOML file; None takes the preset's own.
    recipe: str | None = None
    #: Checkpoint of a teacher to learn from; None trains one.
    teacher: Path | None = None
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
        words += ["--on-broken skip"] if self.on_broken == "skip" else []
        return " ".join(["bivit train", *words, *(f"--set {shlex.quote(setting)}" for setting in self.settings)])


def train_pair(options: TrainOptions, *, command: str, progress: bool) -> dict[str, Any]:
    """Train a teacher and the Bi-ViT that learns from it, into a folder (`bivit.model.run_folder`).

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
    from ..model.progress import unseen

    show_step = step if progress else unseen
    with show_step("load torch", None):
        from ..model.checkpoint import file_hash, load_checkpoint
        from ..model.distributed import join_world
        from ..model.fit import Session
        from ..model.recipe import load_recipe
        from ..model.train import Run, as_real, check_given
        from ..sim.locks import owned_folder
        from ..sim.presets import preset

    shape = preset(options.preset)
    recipes = load_recipe(options.recipe or options.preset, options.settings)
    config = recipes.shape(shape)
    recipes = recipes if options.epochs is None else recipes.with_epochs(options.epochs)
    given = load_checkpoint(options.teacher, kind="float") if options.teacher else None
    if given is not None:
        check_given(as_real(given), config, recipes.stages)
    with show_step("open the images", None):
        train, test = (open_images(options.data, split, config, options.on_broken) for split in ("train", "test"))
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
    provenance = {"command": command, "data": options.data, "versions": tool_versions()}
    with join_world() as world, owned_folder(options.out) if world.is_main else nullcontext():
        folder = _open_folder(options, asked, world)
        if folder.result is not None:
            return folder.result if world.is_main else {}
        watch = show_step if world.is_main else unseen
        session = Session(world, folder, watch, options.workers, options.save_steps)
        trained = Run(config, train, test, recipes, options.seed, session, provenance, given).run()
        result = _result(options, trained, len(test))
        with watch("draw the curves", None):
            folder.finish(result)
        return result if world.is_main else {}


def _result(options: TrainOptions, trained: dict[str, Checkpoint], images: int) -> dict[str, Any]:
    return {
        "teacher": str(options.teacher or options.out / "teacher.safetensors"),
        "student": str(options.out / "student.safetensors"),
        "top1_teacher": trained["teacher"].metrics.get("top1"),
        "top1_student": trained["student"].metrics["top1"],
        "agreement": trained["student"].metrics["agreement"],
        "images": images,
    }


def _open_folder(options: TrainOptions, asked: dict[str, Any], world: World) -> RunFolder:
    """Open the run's folder: the main process first, which makes it, then those that only read."""
    from ..model.run_folder import RunFolder

    if not world.is_main:
        world.barrier()
    folder = RunFolder(options.out, asked, options.resume, options.overwrite, writes=world.is_main)
    if world.is_main:
        world.barrier()
    return folder


def train(
    preset: Annotated[str, typer.Option(help="Named shape, with its recipe.")] = "digits",
    data: DataOption = "digits",
    out: Annotated[Path, typer.Option(help="Folder for the checkpoints, the metrics and the state.")] = Path("out"),
    recipe: Annotated[str | None, typer.Option(help="Another preset's recipe, or a TOML file.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="Checkpoint of a teacher; else one is trained.")] = None,
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
    """
    options = TrainOptions(
        preset=preset,
        data=data,
        out=out,
        recipe=recipe,
        teacher=teacher,
        epochs=epochs,
        seed=seed,
        settings=tuple(settings or ()),
        resume=resume,
        workers=workers,
        save_steps=save_steps,
        on_broken=on_broken,
    )
    with broken_images_named():
        result = train_pair(options, command=options.command, progress=True)
    if result:
        show(result, as_json, f"preset {preset} on {data}")
