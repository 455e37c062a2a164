"""`bivit train`: from images to the checkpoints of a teacher and its student."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..sim.errors import check
from .runs.training import TrainOptions, train_pair
from .shared.common import BrokenOption, DataOption, JsonFlag, broken_images_named, show

#: What is trained when neither a preset nor a teacher is named.
DEFAULT_PRESET = "digits"

EpochsOption = Annotated[int | None, typer.Option(help="Epochs of the teacher and of each stage, not the recipe's.")]


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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the run in the folder first, whatever it is.")
    ] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read images ahead.")] = 0,
    save_steps: Annotated[int, typer.Option(min=0, help="Write the state every so many steps too.")] = 0,
    on_broken: BrokenOption = "stop",
    as_json: JsonFlag = False,
) -> None:
    """Train a real-valued teacher, then the binarized student that starts from it.

    The folder gets teacher.safetensors, student.safetensors, config.json, metrics.jsonl, curves.svg, tensorboard/ and
    last.pt, from which a run that was stopped continues. Several processes train together under torchrun. A folder that
    holds another run is refused without --overwrite; one that holds just this run, finished, gives its result.

    Example: bivit train --preset digits --data digits --out out/digits

    Example: bivit train --teacher teacher.safetensors --data photos --image-size 160 --out out/photos
    """
    check(not (resume and overwrite), "--resume continues the run in the folder, --overwrite removes it; give one")
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
        overwrite=overwrite,
        workers=workers,
        save_steps=save_steps,
        on_broken=on_broken,
    )
    with broken_images_named():
        result = train_pair(options, command=options.command, progress=True)
    if result is not None:
        show(result, as_json, f"{options.preset or teacher} on {data}")
