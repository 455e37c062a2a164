"""`bivit import`: a checkpoint of another library as teacher, or as the start of a student."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..sim.errors import check, some
from ..sim.system.result import INLINE, Result
from .shared.common import JsonFlag, messages, print_json, show, tool_versions

if TYPE_CHECKING:
    from ..model.importing.importer import Imported

#: What an imported model may become.
ROLES = ("teacher", "student")


@dataclass(frozen=True)
class Written(Result):
    """The checkpoint that was written, and what of a published Bi-ViT does not carry over to it."""

    out: Path
    differences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ImportReport(Result):
    """What `bivit import` found; lists are of names of tensors, but for those of other weights and settings."""

    format: str
    kind: str
    weights: str
    other_weights: Sequence[str]
    preset: str | None
    image_size: int
    classes: int
    eps: float
    config: dict[str, Any]
    settings: Sequence[dict[str, Any]]
    unread: Sequence[str]
    missing: Sequence[str]
    unexpected: Sequence[str]
    zero: Sequence[str]
    ignored: Sequence[str]
    converted: Sequence[Sequence[str]]
    written: Written | None = field(metadata=INLINE)


def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Checkpoint: .safetensors, .pth, .pt, .ckpt or .bin.")],
    out: Annotated[Path | None, typer.Option(help="Checkpoint to write; else the file is only looked at.")] = None,
    role: Annotated[str, typer.Option("--as", help="teacher: as it is. student: binarized, to train on.")] = "teacher",
    image_size: Annotated[int | None, typer.Option(help="Pixels, where the file does not tell (Swin).")] = None,
    heads: Annotated[int | None, typer.Option(help="Heads of a DeiT, where the file does not tell.")] = None,
    eps: Annotated[float | None, typer.Option(help="Eps of the norms.")] = None,
    mean: Annotated[str | None, typer.Option(help="Pixel mean a channel, 0 to 1, with commas.")] = None,
    std: Annotated[str | None, typer.Option(help="Pixel standard deviation a channel, with commas.")] = None,
    weights: Annotated[str | None, typer.Option(help="Which model, of a file that holds several.")] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(help="Pattern of tensors that are no part of the model, as 'criterion.*'.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Read a checkpoint of timm, Hugging Face or the Bi-ViT's published code; name every tensor that differs.

    Example: bivit import deit_tiny_distilled_patch16_224.pth --out teacher.safetensors
    """
    from ..model.importing.importer import ImportOptions, import_checkpoint

    check(role in ROLES, f"--as must be one of {', '.join(ROLES)}, got {role!r}")
    check(out is None or not out.is_dir(), f"--out {out} is a folder; give the name of a file in it")
    check(out is None or out.resolve() != file.resolve(), f"--out {out} is FILE itself; give another name")
    options = ImportOptions(
        image_size, heads, eps, _numbers("--mean", mean), _numbers("--std", std), weights, tuple(ignore or ())
    )
    imported = import_checkpoint(file, options)
    written = None
    if out is not None and imported.complete:
        written = Written(out, tuple(_write(imported, out, role, f"bivit import {file} --as {role}")))
    report = _report(imported, written)
    if as_json:
        print_json(report.to_dict())
    else:
        _print(report, str(file))
    check(
        imported.complete,
        f"{file} does not hold the tensors of its model; missing: {some(imported.missing) or 'none'}; "
        f"unexpected: {some(imported.unexpected) or 'none'}; nothing was written. Tensors that are no part of the "
        "model may be left out by --ignore",
    )


def _report(imported: Imported, written: Written | None) -> ImportReport:
    from ..sim.network.presets import PRESETS

    config = imported.model.config
    same = [name for name, shape in PRESETS.items() if replace(shape, qk_mode=config.qk_mode) == config]
    return ImportReport(
        format=imported.format,
        kind=imported.model.kind,
        weights=imported.where,
        other_weights=imported.others,
        preset=same[0] if same else None,
        image_size=config.img_size,
        classes=config.num_classes,
        eps=config.eps,
        config=config.to_dict(),
        settings=imported.settings,
        unread=imported.unread,
        missing=imported.missing,
        unexpected=imported.unexpected,
        zero=imported.zero,
        ignored=imported.ignored,
        converted=imported.converted,
        written=written,
    )


def _print(report: ImportReport, title: str) -> None:
    """Print the report as tables, lists of tensors by their length; what was left aside goes to standard error."""
    plain = {key: value for key, value in report.to_dict().items() if not isinstance(value, list | dict)}
    lists = {"converted": report.converted, "ignored": report.ignored, "zero": report.zero}
    counts = {name: len(names) for name, names in lists.items() if names}
    settings = [row | {"value": json.dumps(row["value"])} for row in report.settings]
    show(plain | counts | {"settings": settings}, False, title)
    for what, values in (
        ("other weights in the file, taken by --weights", report.other_weights),
        ("not read, and no effect on results is known", report.unread),
    ):
        if values:
            messages.print(f"bivit: {what}: {some(values, most=20)}", markup=False, soft_wrap=True)


def _write(imported: Imported, out: Path, role: str, command: str) -> list[str]:
    """Write the checkpoint; return what of a published Bi-ViT does not carry over to a student."""
    from ..model.files.checkpoint import Checkpoint, save_checkpoint
    from ..model.train.start import start_from
    from ..model.vit.official import OfficialBiViT, to_bivit
    from ..model.vit.vit import BiViT, VisionTransformer

    model: VisionTransformer = imported.model
    differences: list[str] = []
    if role == "student" and isinstance(imported.model, OfficialBiViT):
        model, differences = to_bivit(imported.model)
    elif role == "student":
        model = BiViT(model.config, model.pixels)
        start_from(model, imported.model)
    out.parent.mkdir(parents=True, exist_ok=True)
    provenance = {"command": command, "versions": tool_versions(), "settings": imported.settings}
    save_checkpoint(Checkpoint(model, seed=0, provenance=provenance), out)
    return differences


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        check(False, f"{option} takes numbers with commas, as 0.485,0.456,0.406, got {text!r}")
        raise
