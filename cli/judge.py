"""`bivit judge`: does the reference compute what independent implementations compute, on every named tensor?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..sim.errors import check
from .shared.common import JsonFlag, messages, open_images, show
from .shared.net import NetArgument, find_net
from .shared.pixels import RANDOM, random_pixels
from .shared.progress import step

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from ..sim.network.config import ModelConfig
    from ..sim.network.network import IntNetwork
    from .runs.compare import Comparison, TapsOf

#: Exit code when a judge and the reference differ.
EXIT_MISMATCH = 1
#: Judges asked when none is named.
DEFAULT_JUDGES = ("onnxruntime", "qonnx")


@dataclass(frozen=True)
class Verdict:
    """What one judge found.

    Attributes
    ----------
    judge, version : str
    comparison : Comparison
    """

    judge: str
    version: str
    comparison: Comparison

    @property
    def mismatches(self) -> int:
        """Elements that differ, in all tensors and images."""
        return sum(self.comparison.differing.values())

    @property
    def first(self) -> str | None:
        """The first tensor in hardware order that differs."""
        return next(iter(self.comparison.differing), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return {
            "judge": self.judge,
            "version": self.version,
            "images": self.comparison.images,
            "tensors": self.comparison.tensors,
            "mismatches": self.mismatches,
            "first": self.first,
            "differing": self.comparison.differing,
        }


def judge_network(
    network: IntNetwork, images: NDArray[np.uint8], judges: tuple[str, ...], model: onnx.ModelProto | None = None
) -> dict[str, Any]:
    """Compare every tap of a network with those of each judge, on each image.

    Parameters
    ----------
    network : IntNetwork
    images : uint8[B, H, W, C]
    judges : tuple of str
        Names of `cli.runs.judges.JUDGES`.
    model : onnx.ModelProto, optional
        The graph to run; exported from the network when left out.

    Returns
    -------
    dict
        `tensors_compared` (of all images and judges), `mismatches` (elements that differ), `images`, `not_expressed`
        (taps that the graph lacks) and `judges`, one row each (`Verdict`).

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
    return {
        "tensors_compared": sum(one.comparison.tensors * one.comparison.images for one in verdicts),
        "mismatches": sum(one.mismatches for one in verdicts),
        "images": len(images),
        "not_expressed": missing,
        "judges": [one.to_dict() for one in verdicts],
    }


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
    return Verdict(name, metadata.version(name), compare_taps(network, counted, images, batch=1))


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
    result = {**chosen.facts, "data": data or RANDOM}
    result |= judge_network(chosen.network, pixels, tuple(dict.fromkeys(judges)), model)
    show(result if as_json else _in_brief(result), as_json, f"{net} before {len(result['judges'])} judges")
    if result["mismatches"]:
        for row in result["judges"]:
            if row["first"] is not None:
                messages.print(
                    f"{row['judge']} differs from the reference in {len(row['differing'])} of {row['tensors']} "
                    f"tensors, first in {row['first']}: {row['differing'][row['first']]:,} elements",
                    markup=False,
                    soft_wrap=True,
                )
        raise typer.Exit(EXIT_MISMATCH)


def _in_brief(result: dict[str, Any]) -> dict[str, Any]:
    """The result for a terminal: rows without the counts of each tensor."""
    rows = [{key: value for key, value in row.items() if key != "differing"} for row in result["judges"]]
    for row in rows:
        row["first"] = row["first"] or "none"
    return {key: value for key, value in result.items() if key != "not_expressed"} | {"judges": rows}
