"""The report as one dictionary: everything the page shows, from networks, runs and estimates. JSON can hold it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..shared.common import format_value, tool_versions
from .page import percent
from .samples import attention_matrices, sample_rows
from .timeline import schedule_rows

if TYPE_CHECKING:
    from ...model.data.open import Dataset
    from ...model.vit.vit import RealViT
    from ...sim.network.network import IntNetwork
    from ...sim.program.compiler import Program
    from ..runs.compare import Comparison

#: Sample images on the page.
SAMPLES = 8


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What the stages of a demo leave for its report.

    Parameters
    ----------
    name, engine_name : str
        Of the network's preset and of the engine.
    teacher : RealViT
        The real-valued twin.
    network : IntNetwork
        The folded student.
    program : Program
        Compiled for the engine.
    test : Dataset
        Test split.
    accuracy : list of dict
        `model`, `arithmetic`, `images`, `top1`.
    same_predictions : float
        Share of the test images on which the trained student and the integer network predict the same.
    integer_mode : Comparison
        Torch integer mode with the reference.
    warnings : list of str
        Of the export.
    cosim : dict
        Result of `bivit.cli.cosim.simulate_runs`.
    estimates : dict
        Result of `bivit.cli.estimate.estimate_tables`.
    training : list of dict
        Metrics of the teacher's and the student's epochs (`bivit.model.train.run_folder`).
    heads : list of dict
        A row an attention head of the trained student (`bivit.model.attention_report`).
    facts : dict
        Names and values for the page's last part.
    """

    name: str
    engine_name: str
    teacher: RealViT
    network: IntNetwork
    program: Program
    test: Dataset
    accuracy: list[dict[str, Any]]
    same_predictions: float
    integer_mode: Comparison
    warnings: list[str]
    cosim: dict[str, Any]
    estimates: dict[str, Any]
    training: list[dict[str, Any]]
    heads: list[dict[str, Any]]
    facts: dict[str, Any]


def gather(found: Gathered) -> dict[str, Any]:
    """Arrange what the stages found as `bivit.cli.pages.page.render` takes it.

    Parameters
    ----------
    found : Gathered

    Returns
    -------
    dict
        Plain values, lists and dictionaries only.
    """
    samples, attention = _samples(found)
    agreement = found.network.agreement
    return {
        "made": datetime.now(UTC).strftime("%Y-%m-%d"),
        "network": {"name": found.name},
        "engine": {"name": found.engine_name},
        "tiles": _tiles(found),
        "accuracy": found.accuracy,
        "training": found.training,
        "heads": [{**row, "state": "constant" if row["constant"] else "alive"} for row in found.heads],
        "agreement": {
            "comparisons": _comparisons(found),
            "calibration_images": agreement["images"],
            "tensors": agreement["equal_bits"],
            "warnings": found.warnings,
        },
        "cosim": found.cosim["runs"],
        "stalls": _stalls(found.cosim["runs"]),
        "schedule": schedule_rows(found.program),
        **found.estimates,
        "samples": samples,
        "attention": attention,
        "facts": _facts(found),
        "versions": tool_versions(),
    }


def _tiles(found: Gathered) -> list[dict[str, str]]:
    """The figures at the top of the page."""
    cosim = found.cosim
    exact = cosim["cosim_images"] * len(cosim["runs"]) - cosim["cosim_mismatches"]
    cycles = cosim["cycles_simulated"] / cosim["cosim_images"]
    tiles = {
        "Top-1, real-valued teacher": percent(found.accuracy[0]["top1"]),
        "Top-1, integer network": percent(found.accuracy[-1]["top1"]),
        "predictions equal to the trained model's": percent(found.same_predictions),
        "image runs bit-exact in RTL": f"{exact} of {cosim['cosim_images'] * len(cosim['runs'])}",
        "cycles an image": format_value(round(cycles)),
        "array utilisation": percent(cosim["array_utilisation"]),
    }
    return [{"label": label, "value": value} for label, value in tiles.items()]


def _comparisons(found: Gathered) -> list[dict[str, Any]]:
    """Rows of the agreement table: which implementations, on how many images and tensors, and what came out."""
    mode, tensors = found.integer_mode, found.integer_mode.tensors
    rows = [
        {
            "compared": "trained torch model and integer network, predictions",
            "images": len(found.test),
            "tensors": 1,
            "result": f"{percent(found.same_predictions, 2)} equal",
            "good": found.same_predictions >= 0.99,
        },
        {
            "compared": "torch integer mode and numba reference, every tensor",
            "images": mode.images,
            "tensors": tensors,
            "result": "all equal" if not mode.differing else f"{len(mode.differing)} tensors differ",
            "good": not mode.differing,
        },
    ]
    for run in found.cosim["runs"]:
        rows.append(
            {
                "compared": f"Verilog and numba reference, every tensor, {run['run']}",
                "images": run["images"],
                "tensors": tensors,
                "result": "all equal" if not run["mismatches"] else f"{run['mismatches']} images differ",
                "good": not run["mismatches"],
            }
        )
    return rows


def _stalls(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each run and cause."""
    causes = {"stall_pixels": "pixels not there yet", "stall_logits": "logits not taken yet"}
    return [{"run": run["run"], "cause": text, "cycles": run[name]} for run in runs for name, text in causes.items()]


def _samples(found: Gathered) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """Sample images with the last block's attention, and every attention matrix of the first one."""
    import torch

    from ...model.vit.vit import forward_taps
    from ...sim.network.config import vit_only
    from ...sim.reference.run import run_reference

    config = vit_only(found.network.config)
    names = [f"blocks.{block}.attn.attn_sign" for block in range(config.depth)]
    images, labels = found.test.images[:SAMPLES], found.test.labels[:SAMPLES]
    with torch.no_grad():
        _, softmax = forward_taps(found.teacher, torch.from_numpy(images), names)
    result = run_reference(found.network, images, taps=names)
    real = {name: softmax[name].numpy() for name in names}
    rows = sample_rows(images, labels, result.predictions, real[names[-1]], result.taps[names[-1]], config)
    return rows, attention_matrices([real[name][0] for name in names], [result.taps[name][0] for name in names])


def _facts(found: Gathered) -> dict[str, Any]:
    """What the page says of network and engine."""
    from ...sim.network.file import network_hash

    config, engine = found.program.layout.config, found.program.layout.engine
    modes = f"norm {config.norm_mode}, q and k {config.qk_mode}, attention {config.attn_mode}"
    return {
        "network": f"{config.depth} blocks, {config.embed_dim} channels, {config.num_heads} heads, "
        f"{config.num_tokens} tokens, {config.num_classes} classes; {modes}",
        "network's SHA-256": network_hash(found.network),
        "engine": f"{engine.rows} x {engine.columns} dot units of 64 products, {engine.lanes} lanes, "
        f"{engine.dense_lanes} int8 multipliers, fabric {engine.fabric}",
        "program": f"{len(found.program.instructions)} instructions",
        "simulator": found.cosim["simulator"],
        **found.facts,
    }
