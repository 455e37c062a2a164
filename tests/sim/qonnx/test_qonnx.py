"""The QONNX graph of a network: names, shapes, datatypes, and its arithmetic at the extremes (sim/qonnx/export.py)."""

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from qonnx.core.datatype import DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.util.cleanup import cleanup_model
from shapes import MODES, SWIN, SWINS, TOKENS, random_images

from bivit.sim.errors import BivitError
from bivit.sim.network.config import ModelConfig
from bivit.sim.network.file import network_hash
from bivit.sim.network.random import random_network
from bivit.sim.network.taps import tap_shapes
from bivit.sim.qonnx import export as qonnx_export
from bivit.sim.qonnx import operators as onnx_operators
from bivit.sim.qonnx.export import export_qonnx, save_qonnx
from bivit.sim.qonnx.graph import OnnxGraph, datatypes, integer_datatype
from bivit.sim.reference import fixed
from bivit.sim.reference.run import run_reference

SHAPES = MODES | {f"swin_{name}": config for name, config in SWINS.items()}
#: Roots around which a float's root may be off: squares and their neighbours, up to the largest argument.
ROOTS = [0, 1, 2, 3, 255, 256, 2**16, 2**26 - 1, 2**26 + 1, 94906265, 94906266, 2**30, 2**31 - 2, 2**31 - 1]
EDGES = [0, 1, 2**52 + 1, 2**53 - 1, 2**53 + 1, 2**62 - 1]
NEAR = {v for root in ROOTS for v in (root**2 - 1, root**2, root**2 + 1, root**2 + 2 * root)}
RADICANDS = sorted({v for v in NEAR if 0 <= v < 2**62} | {*EDGES})
SHIFTED = [-(2**62), -(2**53) - 1, -257, -256, -255, -129, -128, -127, -1, 0, 1, 127, 128, 255, 256, 2**53 + 1, 2**62]


def infer(model: onnx.ModelProto, inputs: dict[str, NDArray]) -> NDArray:
    """First output in ONNX Runtime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def infer_in_qonnx(model: onnx.ModelProto, inputs: dict[str, NDArray]) -> NDArray:
    """First output in qonnx, which rounds to the datatypes: a warning, and so an error, when a value does not fit."""
    (output,) = execute_onnx(ModelWrapper(model), inputs).values()
    return output


ENGINES = [infer, infer_in_qonnx]


@pytest.mark.parametrize("name", SHAPES)
def test_every_tap_is_a_tensor_of_its_name_and_shape(name: str) -> None:
    config = SHAPES[name]
    model = export_qonnx(random_network(config), batch=2)
    onnx.checker.check_model(model, full_check=True)
    infos = {info.name: info for info in (*model.graph.value_info, *model.graph.output)}
    shapes = {key: [axis.dim_value for axis in info.type.tensor_type.shape.dim] for key, info in infos.items()}
    taps = tap_shapes(config)
    assert {tap: shapes.get(tap) for tap in taps} == {tap: [2, *shape] for tap, shape in taps.items()}
    assert set(taps) <= set(datatypes(model))
    assert {output for node in model.graph.node for output in node.output} == set(shapes)
    assert all(0 not in shape for shape in shapes.values())


def test_the_graph_says_which_network_it_is() -> None:
    network = random_network(SWIN)
    model = export_qonnx(network)
    header = json.loads(model.metadata_props[0].value)
    assert header == {"format": "bivit-qonnx", "version": 1, "network_sha256": network_hash(network)}
    assert (model.producer_name, [info.name for info in model.graph.output]) == ("bivit", ["head"])


@pytest.mark.parametrize("config", [MODES["tokens"], MODES["all_cheap"], SWIN, SWINS["three_stages"]])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_file_as_it_is_gives_the_logits(config: ModelConfig, batch: int, tmp_path: Path) -> None:
    """Without the taps as outputs, so with whatever ONNX Runtime optimises then."""
    network, images = random_network(config, seed=3), random_images(config, batch, seed=4)
    save_qonnx(export_qonnx(network, batch), tmp_path / "net.onnx")
    logits = infer(onnx.load(tmp_path / "net.onnx"), {"images": images})
    assert np.array_equal(logits, run_reference(network, images).logits)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.parametrize("config", [MODES["tokens"], SWIN])
def test_datatypes_hold_every_value(config: ModelConfig) -> None:
    network, images = random_network(config, seed=5), random_images(config, 4, seed=6)
    taps, stated = run_reference(network, images, taps="all").taps, datatypes(export_qonnx(network))
    for name, values in taps.items():
        values = 2 * values - 1 if stated[name] == "BIPOLAR" else values
        assert DataType[stated[name]].allowed(values).all(), name


@pytest.mark.parametrize("config", [replace(TOKENS, depth=1), replace(SWIN, depths=(1,), num_heads=(1,))])
def test_qonnx_cleans_the_graph_up_and_runs_it_with_rounding(config: ModelConfig) -> None:
    network, images = random_network(config, seed=7), random_images(config, 1, seed=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = cleanup_model(ModelWrapper(export_qonnx(network)))
        logits = execute_onnx(model, {"global_in": images})["global_out"]
    assert np.array_equal(logits, run_reference(network, images).logits)
    assert "BipolarQuant" in {node.op_type for node in model.graph.node}


def unary(build: Callable[[OnnxGraph, str], str], values: list[int]) -> tuple[onnx.ModelProto, dict[str, NDArray]]:
    """A graph of one operator on int64, and its input."""
    graph, numbers = OnnxGraph("one"), np.array(values, dtype=np.int64)
    result = build(graph, graph.input("x", np.int64, numbers.shape))
    return graph.model([result], "0", {}), {"x": numbers}


@pytest.mark.parametrize("engine", ENGINES)
def test_isqrt_at_the_extremes(engine: Callable) -> None:
    roots = engine(*unary(onnx_operators.isqrt, RADICANDS))
    assert roots.tolist() == fixed.isqrt(np.array(RADICANDS)).tolist() == [math.isqrt(v) for v in RADICANDS]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("bits", [1, 8, 40])
def test_shifts_round_to_minus_infinity(engine: Callable, bits: int) -> None:
    shifted = engine(*unary(lambda graph, x: onnx_operators.shift(graph, x, bits), SHIFTED))
    assert shifted.tolist() == [value >> bits for value in SHIFTED]
    half = 1 << (bits - 1)
    rounded = engine(*unary(lambda graph, x: onnx_operators.shift(graph, graph.op("Add", x, half), bits), SHIFTED))
    assert rounded.tolist() == fixed.round_half_up_shift(np.array(SHIFTED), bits).tolist()


@pytest.mark.parametrize("engine", ENGINES)
def test_saturation_clamps_as_the_reference(engine: Callable) -> None:
    values = [-(2**40), -(2**19) - 1, -(2**19), -1, 0, 2**19 - 1, 2**19, 2**62]
    clamped = engine(*unary(lambda graph, x: onnx_operators.saturate(graph, x, 20), values))
    assert clamped.tolist() == fixed.saturate_signed(np.array(values), 20)[0].tolist()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_sign_of_a_large_difference_does_not_depend_on_its_rounding(engine: Callable) -> None:
    values = [-(2**62), -(2**24) - 1, -1, 0, 1, 2**24 + 1, 2**62]
    signs = engine(*unary(lambda graph, x: graph.bipolar_quant(graph.op("Cast", x, to=onnx.TensorProto.FLOAT)), values))
    assert signs.tolist() == [-1, -1, -1, 1, 1, 1, 1]


def test_a_row_too_long_for_float32_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    onnx_operators.check_length("fc", 2**24 - 2)
    with pytest.raises(BivitError, match=r"blocks\.0\.mlp\.fc2 multiplies rows of 16,777,215 bits"):
        onnx_operators.check_length("blocks.0.mlp.fc2", 2**24 - 1)
    monkeypatch.setattr(onnx_operators, "LONGEST_ROW", 31)
    with pytest.raises(BivitError, match=r"blocks\.0\.mlp\.fc2 multiplies rows of 32 bits"):
        export_qonnx(random_network(MODES["softmax"]))


def test_a_graph_too_large_for_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qonnx_export, "LARGEST_CONSTANTS", 10_000)
    with pytest.raises(BivitError, match=r"constants of [\d,]+ bytes and an ONNX file holds up to 10,000"):
        export_qonnx(random_network(MODES["softmax"]))


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(BivitError, match="batch must be 1 or more, got 0"):
        export_qonnx(random_network(MODES["softmax"]), batch=0)


def test_two_tensors_of_one_name_are_refused() -> None:
    graph = OnnxGraph("twice")
    graph.input("x", np.int64, (2,))
    with pytest.raises(BivitError, match="two tensors named x"):
        graph.op("Add", "x", 1, name="x")


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    model, file = export_qonnx(random_network(MODES["all_cheap"])), tmp_path / "file"
    file.write_text("")
    with pytest.raises(BivitError, match=r"cannot write .*file/net\.onnx"):
        save_qonnx(model, file / "net.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 0, "BINARY"),
        (0, 1, "BINARY"),
        (0, 2, "UINT2"),
        (0, 256, "UINT9"),
        (0, 2**36, "UINT37"),
        (-1, 0, "INT1"),
        (-128, 127, "INT8"),
        (-129, 0, "INT9"),
        (-(2**31), 2**31 - 1, "INT32"),
    ],
)
def test_datatypes_are_as_narrow_as_can_be(low: int, high: int, expected: str) -> None:
    assert integer_datatype(low, high) == expected
    kind = DataType[expected]
    assert kind.min() <= low
    assert high <= kind.max()
