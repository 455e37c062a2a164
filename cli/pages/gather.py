"""The report as one value: everything the page shows, from networks, runs and estimates. JSON can hold it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...sim.system.result import INLINE, Result
from ..shared.common import format_value, tool_versions
from .page import percent
from .samples import Sample, attention_matrices, sample_rows
from .timeline import Timeline, timeline_of

if TYPE_CHECKING:
    from pathlib import Path

    from ...cosim.summary import CosimSummary, RunRow
    from ...sim.mapping.program import FlowProgram
    from ...sim.network.network import IntNetwork
    from ..runs.compare import ComparedStudent
    from ..runs.estimates import EstimateTables
    from ..runs.exporting import Exported
    from ..runs.training import TrainedPair

#: Sample images on the page.
SAMPLES = 8
#: Test images that the attention heads are measured on.
_HEAD_IMAGES = 128


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What the stages of a demo leave for its report.

    Parameters
    ----------
    name, engine_name : str
        Of the network's preset and of the engine.
    command : str
        What repeats the demo.
    network : IntNetwork
        The folded student.
    program : FlowProgram
        Compiled for the engine.
    trained : TrainedPair
    exported : Exported
    compared : ComparedStudent
    cosim : CosimSummary
    estimates : EstimateTables
    """

    name: str
    engine_name: str
    command: str
    network: IntNetwork
    program: FlowProgram
    trained: TrainedPair
    exported: Exported
    compared: ComparedStudent
    cosim: CosimSummary
    estimates: EstimateTables


@dataclass(frozen=True)
class Named(Result):
    """A network or an engine on the page."""

    name: str


@dataclass(frozen=True)
class Tile(Result):
    """A figure at the top of the page."""

    label: str
    value: str


@dataclass(frozen=True)
class Accuracy(Result):
    """Top-1 of one model; None where a teacher was given without."""

    model: str
    arithmetic: str
    images: int
    top1: float | None


@dataclass(frozen=True)
class Compared(Result):
    """Which implementations were compared, on how many images and tensors, and what came out."""

    compared: str
    images: int
    tensors: int
    result: str
    good: bool


@dataclass(frozen=True, kw_only=True)
class Agreement(Result):
    """Comparisons, and the share of equal bits by tensor on the images of the export."""

    comparisons: tuple[Compared, ...]
    calibration_images: int
    tensors: dict[str, float]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Stall(Result):
    """Cycles that the engine waited in one run for one cause."""

    run: str
    cause: str
    cycles: int


@dataclass(frozen=True, kw_only=True)
class Report(Result):
    """The page (`bivit.cli.pages.page.render`), as a demo's `report.json` holds it."""

    made: str
    network: Named
    engine: Named
    tiles: tuple[Tile, ...]
    accuracy: tuple[Accuracy, ...]
    training: list[dict[str, Any]]
    heads: list[dict[str, Any]]
    agreement: Agreement
    cosim: tuple[RunRow, ...]
    stalls: tuple[Stall, ...]
    schedule: Timeline
    estimates: EstimateTables = field(metadata=INLINE)
    samples: tuple[Sample, ...]
    attention: dict[str, list[str]]
    facts: dict[str, str]
    versions: dict[str, str]


def gather(found: Gathered, folder: Path) -> Report:
    """Arrange what the stages found.

    Parameters
    ----------
    found : Gathered
    folder : Path
        Of the training.
    """
    from ...model.train.run_folder import read_metrics

    samples, attention = _samples(found)
    agreement = found.exported.agreement
    return Report(
        made=datetime.now(UTC).strftime("%Y-%m-%d"),
        network=Named(found.name),
        engine=Named(found.engine_name),
        tiles=_tiles(found),
        accuracy=_accuracy(found),
        training=read_metrics(folder),
        heads=_heads(found),
        agreement=Agreement(
            comparisons=_comparisons(found),
            calibration_images=agreement["images"],
            tensors=agreement["equal_bits"],
            warnings=found.exported.warnings,
        ),
        cosim=found.cosim.runs,
        stalls=_stalls(found.cosim.runs),
        schedule=timeline_of(found.program),
        estimates=found.estimates,
        samples=samples,
        attention=attention,
        facts=_facts(found),
        versions=tool_versions(),
    )


def _tiles(found: Gathered) -> tuple[Tile, ...]:
    cosim = found.cosim
    runs = cosim.cosim_images * len(cosim.runs)
    return (
        Tile("Top-1, real-valued teacher", percent(found.trained.top1_teacher)),
        Tile("Top-1, integer network", percent(found.compared.top1_integer)),
        Tile("predictions equal to the trained model's", percent(found.compared.same_predictions)),
        Tile("image runs bit-exact in RTL", f"{runs - cosim.cosim_mismatches} of {runs}"),
        Tile("cycles an image", format_value(round(cosim.cycles_simulated / cosim.cosim_images))),
        Tile("array utilisation", percent(cosim.array_utilisation)),
    )


def _accuracy(found: Gathered) -> tuple[Accuracy, ...]:
    images, trained = len(found.compared.test), found.trained
    return (
        Accuracy("real-valued teacher", "float32", images, trained.top1_teacher),
        Accuracy("Bi-ViT student, as trained", "single bits and roundings, in torch", images, trained.top1_student),
        Accuracy("integer network", "integers only, as the hardware", images, found.compared.top1_integer),
    )


def _heads(found: Gathered) -> list[dict[str, Any]]:
    """A row an attention head of the trained student (`bivit.model.attention_report`)."""
    from ...model.attention_report import attention_report
    from ...model.data.dataset import take
    from ...model.files.checkpoint import load_checkpoint
    from ...model.vit.vit import BiViT

    student = load_checkpoint(found.trained.student, kind="binary").model
    assert isinstance(student, BiViT)
    rows = attention_report(student, take(found.compared.test, _HEAD_IMAGES).images)
    return [{**row, "state": "constant" if row["constant"] else "alive"} for row in rows]


def _comparisons(found: Gathered) -> tuple[Compared, ...]:
    mode, same = found.compared.integer_mode, found.compared.same_predictions
    trained = "trained torch model and integer network, predictions"
    result = "all equal" if not mode.differing else f"{len(mode.differing)} tensors differ"
    implementations = "torch integer mode and numba reference, every tensor"
    runs = (
        Compared(
            f"Verilog and numba reference, every tensor, {run.run}",
            run.images,
            mode.tensors,
            "all equal" if not run.mismatches else f"{run.mismatches} images differ",
            not run.mismatches,
        )
        for run in found.cosim.runs
    )
    return (
        Compared(trained, len(found.compared.test), 1, f"{percent(same, 2)} equal", same >= 0.99),
        Compared(implementations, mode.images, mode.tensors, result, not mode.differing),
        *runs,
    )


def _stalls(runs: tuple[RunRow, ...]) -> tuple[Stall, ...]:
    """One row for each run and cause: what the edge waited for at the ports, what the array waited for."""
    ports = {"edge: pixels not there yet": "stall_pixels", "edge: logits not taken yet": "stall_logits"}
    return tuple(
        Stall(run.run, cause, cycles)
        for run in runs
        for cause, cycles in (
            *((cause, getattr(run, name)) for cause, name in ports.items()),
            *((f"array: {cause}", cycles) for cause, cycles in run.stalls.items() if cycles),
        )
    )


def _samples(found: Gathered) -> tuple[tuple[Sample, ...], dict[str, list[str]]]:
    """Sample images with the last block's attention, and every attention matrix of the first one."""
    import torch

    from ...model.files.checkpoint import load_checkpoint
    from ...model.vit.vit import RealViT, forward_taps
    from ...sim.network.config import vit_only
    from ...sim.reference.run import run_reference

    teacher = load_checkpoint(found.trained.teacher, kind="float").model
    assert isinstance(teacher, RealViT)
    config, test = vit_only(found.network.config), found.compared.test
    names = [f"blocks.{block}.attn.attn_sign" for block in range(config.depth)]
    images, labels = test.images[:SAMPLES], test.labels[:SAMPLES]
    with torch.no_grad():
        _, softmax = forward_taps(teacher, torch.from_numpy(images), names)
    result = run_reference(found.network, images, taps=names)
    real = {name: softmax[name].numpy() for name in names}
    rows = sample_rows(images, labels, result.predictions, real[names[-1]], result.taps[names[-1]], config)
    return rows, attention_matrices([real[name][0] for name in names], [result.taps[name][0] for name in names])


def _facts(found: Gathered) -> dict[str, str]:
    """What the page says of network and engine."""
    from ...sim.flow.streams import Stream
    from ...sim.network.file import network_hash

    config, flow = found.program.layout.config, found.program.flow
    engine = flow.engine
    modes = f"norm {config.norm_mode}, q and k {config.qk_mode}, attention {config.attn_mode}"
    return {
        "network": f"{config.depth} blocks, {config.embed_dim} channels, {config.num_heads} heads, "
        f"{config.num_tokens} tokens, {config.num_classes} classes; {modes}",
        "network's SHA-256": network_hash(found.network),
        "engine": f"{engine.rows} x {engine.columns} dot units of 64 products, {flow.images} images in flight, "
        f"{flow.dense_patches} x {flow.dense_channels} int8 products, {flow.products_per_dsp} a multiplier block, "
        f"fabric {engine.fabric}",
        "table": f"{len(found.program.table.slots)} slots of {len(Stream)} streams",
        "simulator": found.cosim.simulator,
        "command": found.command,
    }
