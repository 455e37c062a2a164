"""Independent judges of the reference: other implementations of the same network, as `cli.runs.compare` takes them.

`onnxruntime` and `qonnx` run the exported graph (`sim.qonnx.export`); `torch` runs the integer mode of the model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...sim.errors import BivitError, check
from ...sim.network.file import network_hash
from ...sim.network.network import IntNetwork
from ...sim.network.taps import tap_names
from ...sim.system.files import parse_json
from .compare import TapsOf

if TYPE_CHECKING:
    import onnx

Taps = dict[str, NDArray[Any]]

#: Switches qonnx's rounding of annotated tensors, which could hide a difference.
_SANITIZE = "SANITIZE_QUANT_TENSORS"


def onnxruntime_judge(network: IntNetwork, model: onnx.ModelProto) -> TapsOf:
    """Run the graph in ONNX Runtime, every named tensor an output.

    Parameters
    ----------
    network : IntNetwork
        Its config gives the names.
    model : onnx.ModelProto
        Of `sim.qonnx.export.export_qonnx`; not changed.

    Returns
    -------
    callable
        uint8[B, H, W, C] to the taps [B, ...].

    Raises
    ------
    BivitError
        When ONNX Runtime refuses the graph.
    """
    import onnxruntime

    names = tap_names(network.config)
    with_taps = type(model)()
    with_taps.CopyFrom(model)
    known = {output.name for output in model.graph.output}
    infos = {info.name: info for info in model.graph.value_info}
    with_taps.graph.output.extend(infos[name] for name in names if name not in known)
    try:
        session = onnxruntime.InferenceSession(with_taps.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:  # Its errors have no public base class.
        raise BivitError(f"ONNX Runtime does not take the graph: {error}; export it again") from error
    del with_taps

    def run(images: NDArray[np.uint8]) -> Taps:
        return dict(zip(names, session.run(names, {_input(model): images}), strict=True))

    return _by_batches("ONNX Runtime", model, run, names)


def qonnx_judge(network: IntNetwork, model: onnx.ModelProto) -> TapsOf:
    """Run the graph node by node in qonnx, with its own implementation of its operators.

    Parameters
    ----------
    network : IntNetwork
        Its config gives the names.
    model : onnx.ModelProto
        As for `onnxruntime_judge`; qonnx adds the shapes of constants to it.

    Returns
    -------
    callable
        uint8[B, H, W, C] to the taps [B, ...].
    """
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    names, wrapper = tap_names(network.config), ModelWrapper(model)

    def run(images: NDArray[np.uint8]) -> Taps:
        with _no_rounding():
            context = execute_onnx(wrapper, {_input(model): images}, return_full_exec_context=True)
        return {name: context[name] for name in names}

    return _by_batches("qonnx", model, run, names)


def torch_judge(network: IntNetwork) -> TapsOf:
    """Run the network in the integer mode of the torch model."""
    from ...model.integer.run import run_integer

    return lambda images: run_integer(network, images).taps


#: Judges of the graph by name; the name is also that of the package.
GRAPH_JUDGES: dict[str, Callable[[IntNetwork, onnx.ModelProto], TapsOf]] = {
    "onnxruntime": onnxruntime_judge,
    "qonnx": qonnx_judge,
}
#: Every judge.
JUDGES = (*GRAPH_JUDGES, "torch")


def load_graph(path: Path, network: IntNetwork) -> onnx.ModelProto:
    """Read a graph of `bivit export --qonnx`.

    Parameters
    ----------
    path : Path
    network : IntNetwork
        What the graph must have been exported from.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    BivitError
        When the file is no such graph, or that of another network.
    """
    import onnx
    from google.protobuf.message import DecodeError

    from ...sim.qonnx.export import QONNX_FORMAT, QONNX_VERSION

    check(path.is_file(), f"there is no graph {path}; `bivit export NET --qonnx FILE` writes one")
    try:
        model = onnx.load(path)
        properties = {entry.key: entry.value for entry in model.metadata_props}
        header = parse_json(properties.get("bivit", "null"), f"the header of {path}")
    except DecodeError as error:
        raise BivitError(f"{path} is damaged or not an ONNX file: {error}; export it again") from error
    got = {key: header.get(key) for key in ("format", "version")} if isinstance(header, dict) else None
    check(
        got == {"format": QONNX_FORMAT, "version": QONNX_VERSION},
        f"{path} must be a graph of `bivit export --qonnx`, format {QONNX_FORMAT!r} of version {QONNX_VERSION}, "
        f"got {got}",
    )
    check(
        header.get("network_sha256") == network_hash(network),
        f"{path} was exported from another network; export this one with `bivit export NET --qonnx FILE`",
    )
    return model


def not_expressed(network: IntNetwork, model: onnx.ModelProto) -> list[str]:
    """Taps that no tensor of the graph has the name of, in hardware order."""
    graph = model.graph
    names = {info.name for infos in (graph.value_info, graph.output, graph.input) for info in infos}
    return [name for name in tap_names(network.config) if name not in names]


def _input(model: onnx.ModelProto) -> str:
    return model.graph.input[0].name


def _by_batches(
    judge: str, model: onnx.ModelProto, run: Callable[[NDArray[np.uint8]], Taps], names: list[str]
) -> TapsOf:
    """Run as many images at a time as the graph takes, and give bits as 0 and 1."""
    from ...sim.qonnx.graph import datatypes

    stated = datatypes(model)
    size = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value

    def taps_of(images: NDArray[np.uint8]) -> Taps:
        check(len(images) % size == 0, f"the graph takes {size} images at a time, got {len(images)}")
        try:
            parts = [_bits(run(images[start : start + size]), stated) for start in range(0, len(images), size)]
        except Exception as error:  # Neither judge's errors have a public base class.
            raise BivitError(f"{judge} cannot run the graph: {error}; export it again") from error
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    return taps_of


def _bits(taps: Taps, stated: Mapping[str, str]) -> Taps:
    """Map +1 and -1 to 1 and 0. Nothing is rounded: in float64 any other float32 stays neither 0 nor 1."""
    return {
        name: (tensor.astype(np.float64) + 1) / 2 if stated.get(name) == "BIPOLAR" else tensor
        for name, tensor in taps.items()
    }


@contextmanager
def _no_rounding() -> Iterator[None]:
    before = os.environ.get(_SANITIZE)
    os.environ[_SANITIZE] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SANITIZE]
        else:
            os.environ[_SANITIZE] = before
