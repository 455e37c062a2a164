"""`bivit publish`: a finished training becomes an integer network with its metrics and a model card."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..sim.errors import check
from ..sim.system.files import read_json, write_json, write_text
from ..sim.system.locks import owned_folder
from ..sim.system.result import INLINE, Result
from .runs.exporting import CALIBRATION_IMAGES, export_checkpoint
from .shared.common import DataOption, JsonFlag, format_value, open_images, show, tool_versions
from .shared.progress import step

if TYPE_CHECKING:
    from ..sim.network.config import ModelConfig

#: Files of a published model.
NETWORK, METRICS, CARD = "network.safetensors", "metrics.json", "README.md"


@dataclass(frozen=True, kw_only=True)
class Metrics(Result):
    """The numbers of a card, as `METRICS` holds them.

    Parameters
    ----------
    measured : dict
        The other numbers of `bivit.model.files.export.measure_agreement`.
    top1 : float
        Of the integer network.
    top1_teacher : float or None
        As the training reports it.
    lowest_equal_bits : float
        Of the tensor of bits that differs most.
    seed : int
        Of the training.
    commands : tuple of str
        That of the training, and that of the export.
    versions : dict of str to str
    """

    measured: dict[str, Any] = field(metadata=INLINE)
    top1: float
    top1_teacher: float | None
    lowest_equal_bits: float
    seed: int
    commands: tuple[str, ...]
    versions: dict[str, str]


def publish_run(run: Path, data: str, out: Path, command: str) -> Metrics:
    """Export the student of a run, measure its network on the whole test split, and describe it.

    Parameters
    ----------
    run : Path
        Folder of `bivit train`.
    data : str
    out : Path
        Gets `NETWORK`, `METRICS` and `CARD`.
    command : str
        For the card.

    Raises
    ------
    BivitError
        When the folder holds no finished run, or the data do not fit the model.
    """
    from ..model.data.dataset import take
    from ..model.files.checkpoint import load_checkpoint
    from ..model.files.export import measure_agreement
    from ..model.train.run_folder import RESULT
    from ..model.vit.vit import BiViT
    from ..sim.network.file import load_network

    student, finished = run / "student.safetensors", (run / RESULT).is_file()
    check(
        finished or not (run / "config.json").is_file(),
        f"the training in {run} is not finished: there is no {run / RESULT}; repeat its `bivit train` with --resume",
    )
    check(
        finished and student.is_file(),
        f"{run} holds no finished training: there is no {student if finished else run / RESULT}; `bivit train --out` "
        "makes one",
    )
    export_checkpoint(student, data, out / NETWORK, CALIBRATION_IMAGES, command)
    checkpoint, network = load_checkpoint(student, kind="binary"), load_network(out / NETWORK)
    assert isinstance(checkpoint.model, BiViT)
    source = open_images(data, "test", network.config)
    test = take(source, len(source))
    measured = measure_agreement(checkpoint.model, network, test.images, test.labels)
    equal_bits = measured.pop("equal_bits").values()
    metrics = Metrics(
        top1=measured.pop("top1_integer"),
        measured=measured,
        top1_teacher=_teacher_top1(run),
        lowest_equal_bits=min(equal_bits),
        seed=checkpoint.seed,
        commands=(checkpoint.provenance.get("command", "unknown"), command),
        versions=tool_versions(),
    )
    write_json(out / METRICS, metrics.to_dict())
    _write_card(out, network.config, metrics, data)
    return metrics


def _teacher_top1(run: Path) -> float | None:
    """What the run reports; None when it was given a teacher of unknown accuracy."""
    from ..model.train.run_folder import RESULT

    result = run / RESULT
    found = read_json(result, "what the run gave")
    check(isinstance(found, dict), f"{result} is damaged: it must hold a JSON object; train again")
    top1 = found.get("top1_teacher")
    check(
        top1 is None or type(top1) in (int, float), f"{result} is damaged: top1_teacher must be a number; train again"
    )
    return top1


def _write_card(out: Path, config: ModelConfig, metrics: Metrics, data: str) -> None:
    from .pages.page import environment

    blocks = config.blocks
    shape = f"{config.img_size} x {config.img_size} x {config.in_chans} pixels, {config.num_tokens} tokens, "
    shape += f"{len(blocks)} blocks, {blocks[0].embed_dim} to {config.num_features} channels, family {config.family}"
    context = {
        "name": out.name,
        "kilobytes": format_value(round((out / NETWORK).stat().st_size / 1000)),
        "shape": shape,
        "modes": (blocks[0].norm_mode, blocks[0].qk_mode, blocks[0].attn_mode),
        "data": Path(data).name,
        "metrics": metrics.to_dict(),
        "seed": metrics.seed,
        "commands": metrics.commands,
        "path": (out / NETWORK).as_posix(),
        "made": f"{datetime.now(UTC):%Y-%m-%d}, {', '.join(f'{k} {v}' for k, v in metrics.versions.items())}",
    }
    write_text(out / CARD, environment().get_template("card.md.j2").render(context) + "\n")


def publish(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished `bivit train`.")],
    out: Annotated[Path, typer.Option(help="Folder for the network, its metrics and its card.")],
    data: DataOption = "digits",
    as_json: JsonFlag = False,
) -> None:
    """Export a finished training, measure it on all test images, and write its model card.

    Example: bivit publish out/digits --data digits --out zoo/digits
    """
    with owned_folder(out), step(f"publish {run}"):
        metrics = publish_run(run, data, out, f"bivit publish {run} --data {data} --out {out}")
    plain = {key: value for key, value in metrics.to_dict().items() if not isinstance(value, dict | list)}
    show(metrics if as_json else plain, as_json, f"{out} from {run}")
