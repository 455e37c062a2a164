"""`bivit judge`: does the reference compute what independent implementations compute, on every named tensor?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..sim.errors import check
from ..sim.system.result import INLINE, Result
from .shared.common import JsonFlag, messages, open_images, show
from .shared.net import NetArgument, NetFacts, find_net
from .shared.pixels import RANDOM, random_pixels
from .shared.progress import step

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from ..sim.network.config import ModelConfig
    from ..sim.network.network import IntNetwork
    from .runs.compare import TapsOf

#: Exit code when a judge and the reference differ.
EXIT_MISMATCH = 1
#: Judges asked when none is named.
DEFAULT_JUDGES = ("onnxruntime", "qonnx")


@dataclass(frozen=True, kw_only=True)
class Verdict(Result):
    """What one judge found.

    Parameters
    ----------
    judge, version : str
    images, tensors : int
        Images compared, and tensors of each.
    mismatches : int
        Elements that differ, in all tensors and images.
    first : str or None
        The first tensor in hardware order that differs.
    differing : dict of str to int
        Elements that differ, by tensor; tensors without any are left out.
    """

    judge: str
    version: str
    images: int
    tensors: int
    mismatches: int
    first: str | None
    differing: dict[str, int]

    def __str__(self) -> str:
        if self.first is None:
            return f"{self.judge} agrees with the reference in all {self.tensors} tensors"
        return (
            f"{self.judge} differs from the reference in {len(self.differing)} of {self.tensors} "
            f"tensors, first in {self.first}: {self.differing[self.first]:,} elements"
        )


@dataclass(frozen=True, kw_only=True)
class Verdicts(Result):
    """What all judges found.

    Parameters
    ----------
    tensors_compared : int
        Of all images and judges.
    mismatches : int
        Elements that differ.
    images : int
    not_expressed : tuple of str
        Taps that the graph lacks.
    judges : tuple of Verdict
    """

    tensors_compared: int
    mismatches: int
    images: int
    not_expressed: tuple[str, ...]
    judges: tuple[Verdict, ...]


@dataclass(frozen=True, kw_only=True)
class JudgeReport(Result):
    """What `bivit judge` prints."""

    facts: NetFacts = field(metadata=INLINE)
    data: str
    found: Verdicts = field(metadata=INLINE)


def judge_network(
    network: IntNetwork, images: NDArray[np.uint8], judges: tuple[str, ...], model: onnx.ModelProto | None = None
) -> Verdicts:
    """Compare every tap of a network with those of each judge, on each image.

    Parameters
    ----------
    network : IntNetwork
    images : uint8[B, H, W, C]
    judges : tuple of str
        Names of `cli.runs.judges.JUDGES`.
    model : onnx.ModelProto, optional
        The graph to run; exported from the network when left out.

    Raises
    ------
    BivitError
        When the network has no graph, or the graph lacks a tap or does not run.
    """
    from .runs.judges import GRAPH_JUDGES, not_expressed, torch_judge

    if model is None and not GRAPH_JUDGES.keys().isdisjoint(judges):
        from ..sim.qonnx.export import export_qonnx

        with step("export the graph"):
            model = export_qonnx(network)
    missing = [] if model is None else not_expressed(network, model)
    check(not missing, f"the graph lacks the tensors {', '.join(missing)}; export it again")
    verdicts = []
    for name in judges:
        with step(f"compare with {name}, {len(images)} images", len(images)) as bar:
            if name in GRAPH_JUDGES:
                assert model is not None
                taps_of = GRAPH_JUDGES[name](network, model)
            else:
                taps_of = torch_judge(network)
            verdicts.append(_verdict(name, network, taps_of, images, bar.at))
    return Verdicts(
        tensors_compared=sum(one.tensors * one.images for one in verdicts),
        mismatches=sum(one.mismatches for one in verdicts),
        images=len(images),
        not_expressed=tuple(missing),
        judges=tuple(verdicts),
    )


def _verdict(
    name: str, network: IntNetwork, taps_of: TapsOf, images: NDArray[np.uint8], at: Callable[[float], None]
) -> Verdict:
    from .runs.compare import compare_taps

    done = 0

    def counted(batch: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        nonlocal done
        taps = taps_of(batch)
        done += len(batch)
        at(done)
        return taps

    # One image at a time: all tensors of an ImageNet model are some hundred megabytes.
    compared = compare_taps(network, counted, images, batch=1)
    return Verdict(
        judge=name,
        version=metadata.version(name),
        images=compared.images,
        tensors=compared.tensors,
        mismatches=sum(compared.differing.values()),
        first=next(iter(compared.differing), None),
        differing=compared.differing,
    )


def judge_images(config: ModelConfig, data: str | None, count: int, seed: int) -> NDArray[np.uint8]:
    """Return images to judge by: the first of a test split, or uniform noise when there is no data.

    Raises
    ------
    BivitError
        When the data set does not fit the network or has fewer images.
    """
    if data is None:
        return random_pixels(config, count, seed)
    from ..model.data.dataset import take

    return take(open_images(data, "test", config), count).images


def judge(
    net: NetArgument,
    data: Annotated[str | None, typer.Option(help="Data set of test images; random pixels when left out.")] = None,
    images: Annotated[int, typer.Option(help="Images to compare.")] = 4,
    seed: Annotated[int, typer.Option(help="Of random pixels, and of the random weights of a preset.")] = 0,
    judges: Annotated[
        list[str], typer.Option("--judge", help="onnxruntime, qonnx or torch; repeat for several.")
    ] = list(DEFAULT_JUDGES),  # noqa: B006
    qonnx: Annotated[
        Path | None, typer.Option(help="Judge this file of `bivit export NET --qonnx FILE`, not a fresh export.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run the network's QONNX graph in ONNX Runtime and in qonnx; compare every named tensor with the reference.

    Exit code 0 when every element is equal, 1 when not, naming the first tensor that differs.

    Example: bivit judge fashion --images 2

    Example: bivit judge zoo/digits/network.safetensors --data digits --images 4
    """
    from .runs.judges import JUDGES, load_graph

    unknown = [name for name in judges if name not in JUDGES]
    check(not unknown, f"judge must be one of {', '.join(JUDGES)}, got {', '.join(unknown)}")
    chosen = find_net(net, seed)
    pixels = judge_images(chosen.config, data, images, seed)
    model = None if qonnx is None else load_graph(qonnx, chosen.network)
    found = judge_network(chosen.network, pixels, tuple(dict.fromkeys(judges)), model)
    report = JudgeReport(facts=chosen.facts, data=data or RANDOM, found=found)
    show(report if as_json else _in_brief(report), as_json, f"{net} before {len(found.judges)} judges")
    if found.mismatches:
        for verdict in found.judges:
            if verdict.first is not None:
                messages.print(str(verdict), markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_MISMATCH)


def _in_brief(report: JudgeReport) -> dict[str, Any]:
    """The report for a terminal: rows without the counts of each tensor."""
    brief = {key: value for key, value in report.to_dict().items() if key != "not_expressed"}
    rows = [one.to_dict() | {"first": one.first or "none"} for one in report.found.judges]
    return brief | {"judges": [{key: value for key, value in row.items() if key != "differing"} for row in rows]}
