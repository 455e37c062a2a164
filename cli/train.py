"""`bivit train`, `bivit eval` and `bivit export`: from images to checkpoints to an integer network."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import DataOption, JsonFlag, messages, show, step, tool_versions

#: Calibration images of an export, from the train split: enough for shares of equal bits to four digits.
CALIBRATION_IMAGES = 256

PresetOption = Annotated[str, typer.Option("--preset", help="Named shape and its recipe.")]
EpochsOption = Annotated[int | None, typer.Option(help="Epochs of each model, instead of the recipe's.")]


def train_pair(
    preset: str, data: str, out: Path, *, epochs: int | None, seed: int, command: str, progress: bool
) -> dict[str, Any]:
    """Train a teacher and the Bi-ViT that learns from it; write `teacher.safetensors` and `student.safetensors`.

    Parameters
    ----------
    preset : str
        Key of `bivit.sim.config.PRESETS` that has a recipe.
    data : str
        Data set.
    out : Path
        Folder, made when it does not exist.
    epochs : int or None
        Instead of the recipe's.
    seed : int
        Of weights, order and augmentation.
    command : str
        For the provenance.
    progress : bool
        Whether to show bars.

    Returns
    -------
    dict
        `teacher` and `student` (paths), `top1_teacher`, `top1_student`, `images` (of the test split).

    Raises
    ------
    BivitError
        When the preset has no recipe, or the data do not fit it.
    """
    from ..model.checkpoint import Checkpoint, save_checkpoint
    from ..model.data import load_dataset
    from ..model.train import RECIPES, train_student, train_teacher
    from ..model.vit import RealViT
    from ..sim.config import preset as named_shape
    from ..sim.errors import check

    config = named_shape(preset)
    check(preset in RECIPES, f"there is no recipe for the preset {preset!r}; allowed are {', '.join(RECIPES)}")
    recipes = RECIPES[preset]
    if epochs is not None:
        recipes = replace(
            recipes, teacher=replace(recipes.teacher, epochs=epochs), student=replace(recipes.student, epochs=epochs)
        )
    train, test = load_dataset(data, "train"), load_dataset(data, "test")
    out.mkdir(parents=True, exist_ok=True)
    provenance = {"command": command, "data": data, "versions": tool_versions()}
    paths = {"teacher": out / "teacher.safetensors", "student": out / "student.safetensors"}
    teacher = train_teacher(config, train, test, recipes.teacher, seed, progress)
    save_checkpoint(Checkpoint(teacher.model, seed, teacher.metrics, provenance), paths["teacher"])
    assert isinstance(teacher.model, RealViT)
    student = train_student(teacher.model, train, test, recipes.student, seed, progress)
    save_checkpoint(Checkpoint(student.model, seed, student.metrics, provenance), paths["student"])
    return {
        **{name: str(path) for name, path in paths.items()},
        "top1_teacher": teacher.metrics["top1"],
        "top1_student": student.metrics["top1"],
        "images": len(test),
    }


def train(
    preset: PresetOption = "digits",
    data: DataOption = "digits",
    out: Annotated[Path, typer.Option(help="Folder for teacher.safetensors and student.safetensors.")] = Path("out"),
    epochs: EpochsOption = None,
    seed: Annotated[int, typer.Option(help="Of first weights, order and augmentation.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Train a real-valued teacher, then the binarized student that starts from it.

    Example: bivit train --preset digits --data digits --out out/digits
    """
    command = f"bivit train --preset {preset} --data {data} --seed {seed}" + (f" --epochs {epochs}" if epochs else "")
    progress = messages.is_terminal and not as_json
    result = train_pair(preset, data, out, epochs=epochs, seed=seed, command=command, progress=progress)
    show(result, as_json, f"preset {preset} on {data}")


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Checkpoint, as written by `bivit train`.")],
    data: DataOption = "digits",
    as_json: JsonFlag = False,
) -> None:
    """Measure Top-1 of a trained model, teacher or student, on the test images.

    Example: bivit eval out/digits/student.safetensors --data digits
    """
    from ..model.checkpoint import load_checkpoint
    from ..model.data import load_dataset
    from ..model.evaluate import evaluate as top1_of

    model, test = load_checkpoint(checkpoint).model, load_dataset(data, "test")
    result = {"kind": model.kind, "top1": top1_of(model, test), "images": len(test)}
    show(result, as_json, f"{checkpoint} on {data}")


def export_checkpoint(checkpoint: Path, data: str, out: Path, calibration: int, command: str) -> dict[str, Any]:
    """Fold a student into integers and write the network; return what the export measured.

    Parameters
    ----------
    checkpoint : Path
        Of the binarized student.
    data : str
        Data set whose train split gives the calibration images.
    out : Path
        The network file.
    calibration : int
        How many of them.
    command : str
        For the provenance.

    Returns
    -------
    dict
        `agreement` as `bivit.model.export.export_network` stores it, and `warnings`, a list of messages.

    Raises
    ------
    BivitError
        When the checkpoint is not a student, or cannot be expressed in integers.
    """
    from ..model.checkpoint import file_hash, load_checkpoint
    from ..model.data import load_dataset
    from ..model.export import export_network
    from ..model.vit import BiViT
    from ..sim.artefact import save_network

    loaded = load_checkpoint(checkpoint, kind="binary")
    assert isinstance(loaded.model, BiViT)
    images = load_dataset(data, "train").take(calibration)
    provenance = {
        "command": command,
        "checkpoint_sha256": file_hash(checkpoint),
        "seed": loaded.seed,
        "data": data,
        "versions": tool_versions(),
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = export_network(loaded.model, images.images, images.labels, provenance)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_network(network, out)
    return {"agreement": network.agreement, "warnings": [str(warning.message) for warning in caught]}


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="Student, as written by `bivit train`.")],
    out: Annotated[Path, typer.Option(help="Integer network to write.")] = Path("out/network.safetensors"),
    data: DataOption = "digits",
    calibration: Annotated[int, typer.Option(help="Train images to compare on.")] = CALIBRATION_IMAGES,
    as_json: JsonFlag = False,
) -> None:
    """Fold a trained student into an integer network; print how well the two agree.

    Example: bivit export out/digits/student.safetensors --out out/digits/network.safetensors
    """
    with step(f"export {checkpoint}"):
        result = export_checkpoint(checkpoint, data, out, calibration, f"bivit export {checkpoint} --data {data}")
    for warning in result["warnings"]:
        messages.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    agreement = result["agreement"]
    if as_json:
        show({"network": str(out), **agreement, "warnings": result["warnings"]}, True, "")
        return
    plain = {name: value for name, value in agreement.items() if not isinstance(value, dict | list)}
    rows = [{"tensor": name, "equal bits": share} for name, share in agreement["equal_bits"].items()]
    show({"network": str(out), **plain, "tensors": rows}, False, f"{checkpoint} as integers")
