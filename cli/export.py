"""`bivit export`: from a trained student to an integer network, and how well the two agree; from that to QONNX."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from ..sim.errors import check
from ..sim.system.result import INLINE, Result
from .runs.exporting import CALIBRATION_IMAGES, Graph, export_checkpoint, export_graph
from .shared.common import BrokenOption, DataOption, JsonFlag, messages, show
from .shared.net import NetFacts, SeedOption, find_net, find_preset
from .shared.progress import step

#: Network of a student when no other file is named.
DEFAULT_OUT = Path("out/network.safetensors")


@dataclass(frozen=True)
class GraphReport(Result):
    """What `bivit export` prints of a network."""

    facts: NetFacts = field(metadata=INLINE)
    graph: Graph = field(metadata=INLINE)


@dataclass(frozen=True)
class ExportReport(Result):
    """What `bivit export` prints of a student."""

    network: Path
    agreement: dict[str, Any] = field(metadata=INLINE)
    graph: Graph | None = field(metadata=INLINE)
    warnings: tuple[str, ...]


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Student, as written by `bivit train`; or, with --qonnx, an integer network or a preset.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help=f"Integer network to write, of a student; {DEFAULT_OUT} when left out.")
    ] = None,
    data: DataOption = "digits",
    calibration: Annotated[int, typer.Option(help="Train images to compare a student on.")] = CALIBRATION_IMAGES,
    on_broken: BrokenOption = "stop",
    qonnx: Annotated[Path | None, typer.Option(help="QONNX graph to write (docs/qonnx.md).")] = None,
    seed: SeedOption = 0,
    as_json: JsonFlag = False,
) -> None:
    """Fold a trained student into an integer network; print how well the two agree. Or write a network as QONNX.

    Example: bivit export out/digits/student.safetensors --out out/digits/network.safetensors

    Example: bivit export out/digits/network.safetensors --qonnx out/digits/network.onnx
    """
    from ..sim.network.file import NETWORK_FORMAT, file_format, load_network

    preset = find_preset(source) is not None
    if preset or (Path(source).is_file() and file_format(source) == NETWORK_FORMAT):
        what = "a preset, whose weights are random" if preset else "an integer network already"
        check(qonnx is not None, f"{source} is {what}; give --qonnx FILE to write its graph")
        check(out is None, f"{source} is {what}; --out is for students, leave it out")
        assert qonnx is not None
        chosen = find_net(source, seed)
        with step(f"export {source}"):
            written = export_graph(chosen.network, qonnx)
        show(GraphReport(chosen.facts, written), as_json, f"{source} as QONNX")
        return
    target = out or DEFAULT_OUT
    check(qonnx != target, f"--qonnx and --out are the same file {target}; give them different names")
    with step(f"export {source}"):
        command = f"bivit export {source} --data {data}"
        exported = export_checkpoint(Path(source), data, target, calibration, command, on_broken)
        graph = None if qonnx is None else export_graph(load_network(target), qonnx)
    for warning in exported.warnings:
        messages.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
    report = ExportReport(target, exported.agreement, graph, exported.warnings)
    show(report if as_json else _in_brief(report), as_json, f"{source} as integers")


def _in_brief(report: ExportReport) -> dict[str, Any]:
    """The report for a terminal: lists left out, and a row a tensor."""
    plain = {name: value for name, value in report.to_dict().items() if not isinstance(value, dict | list)}
    rows = [{"tensor": name, "equal bits": share} for name, share in report.agreement["equal_bits"].items()]
    return plain | {"tensors": rows}
