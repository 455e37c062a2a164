"""Independent judges find the reference equal in every mode, and every planted fault (cli/judge.py)."""

import json
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import nasty_model
from numpy.typing import NDArray
from onnx import numpy_helper
from program import assert_refused, invoke
from shapes import MODES, SWIN, SWIN_MODES, SWINS, TINY, random_images

from bivit.cli.judge import judge_images, judge_network
from bivit.cli.runs.judges import JUDGES
from bivit.model.files.checkpoint import Checkpoint, save_checkpoint
from bivit.model.files.export import ConstantHeadWarning, export_network
from bivit.sim.bits import signed_range
from bivit.sim.errors import BivitError
from bivit.sim.network.config import ModelConfig
from bivit.sim.network.file import load_network, save_network
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.presets import preset
from bivit.sim.network.random import random_network
from bivit.sim.network.taps import tap_names
from bivit.sim.qonnx.export import export_qonnx, save_qonnx
from bivit.sim.reference.run import run_reference

#: Every combination of modes; qonnx makes a session for every node, so its networks have one block of each kind.
COMBINED = {
    name: replace(TINY, depth=1, norm_mode=swin.norm_mode, qk_mode=swin.qk_mode, attn_mode=swin.attn_mode)
    for name, swin in SWIN_MODES.items()
} | {f"swin_{name}": config for name, config in SWIN_MODES.items()}
SHAPES = MODES | {f"swin_{name}": config for name, config in SWINS.items()}
GRAPH_JUDGES = ("onnxruntime", "qonnx")


def agree(network: IntNetwork, judges: tuple[str, ...], images: int = 1) -> None:
    """Every judge compares every tap of every image and finds it equal."""
    pixels = judge_images(network.config, None, images, seed=1)
    result = judge_network(network, pixels, judges)
    tensors = len(tap_names(network.config))
    rows = [(row.judge, row.images, row.tensors, row.differing) for row in result.judges]
    assert rows == [(name, images, tensors, {}) for name in judges]
    assert (result.tensors_compared, result.mismatches) == (tensors * images * len(judges), 0)
    assert result.not_expressed == ()


@pytest.mark.parametrize("name", COMBINED)
def test_every_mode_before_every_judge(name: str) -> None:
    agree(random_network(COMBINED[name], seed=1), JUDGES)


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape(name: str) -> None:
    agree(random_network(SHAPES[name], seed=2), ("onnxruntime", "torch"), images=5)


@pytest.mark.parametrize("name", ["odd", "all_cheap", "swin_words_with_padding"])
def test_shapes_that_fill_no_word_in_qonnx(name: str) -> None:
    agree(random_network(SHAPES[name], seed=3), ("qonnx",))


@pytest.mark.parametrize("name", ["digits", "fashion_cls", "swin_fashion", "swin_cifar"])
def test_small_presets(name: str) -> None:
    agree(random_network(preset(name), seed=4), GRAPH_JUDGES)


@pytest.mark.parametrize("name", ["fashion", "cifar"])
def test_small_presets_that_differ_in_size_only(name: str) -> None:
    agree(random_network(preset(name), seed=4), ("onnxruntime", "torch"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deit_tiny", "swin_tiny"])
def test_imagenet_presets(name: str) -> None:
    """Without qonnx, which takes a minute for an image: its look-ups grow with the square of the nodes."""
    agree(random_network(preset(name), seed=5), ("onnxruntime", "torch"))


@pytest.mark.parametrize("config", [*MODES.values(), SWIN, *SWIN_MODES.values()])
def test_networks_at_the_ends_of_their_formats(config: ModelConfig) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantHeadWarning)
        network = export_network(nasty_model(config, seed=1), random_images(config, 12))
    agree(network, ("onnxruntime",), images=4)


def changed(network: IntNetwork, name: str, change: Callable[[NDArray], NDArray]) -> IntNetwork:
    """The network with one other tensor."""
    tensor = network.tensors[name]
    return replace(network, tensors=network.tensors | {name: change(tensor).astype(tensor.dtype)})


@pytest.mark.parametrize("config", [TINY, SWIN])
def test_a_residual_stream_that_saturates(config: ModelConfig) -> None:
    network, block = random_network(config, seed=6), config.blocks[0].name
    network = changed(network, f"{block}.attn.proj.scale", lambda scale: np.full_like(scale, signed_range(16)[1]))
    network = changed(network, f"{block}.attn.proj.bias", lambda bias: np.resize(signed_range(20), bias.shape))
    run = run_reference(network, judge_images(config, None, 1, seed=1), taps=[f"{block}.add1"])
    assert run.saturations > 0
    assert set(signed_range(20)) <= set(run.taps[f"{block}.add1"].ravel().tolist())
    agree(network, GRAPH_JUDGES)


@pytest.mark.parametrize("tau", [0, 1 << 16])
def test_the_ends_of_tau(tau: int) -> None:
    """With 0 every pair that may attend gets a bit, also where the table says 0, and no other pair."""
    network, attn = random_network(SWIN, seed=7), f"{SWIN.blocks[1].name}.attn"
    network = changed(network, f"{attn}.attn_sign.tau", lambda values: np.full_like(values, tau))
    network = changed(network, f"{attn}.attn_sign.exp", lambda table: np.where(np.arange(table.shape[1]) < 2, table, 0))
    taps = run_reference(network, judge_images(SWIN, None, 1, seed=1), taps="all").taps
    if tau == 0:
        assert np.array_equal(taps[f"{attn}.attn_sign"], taps[f"{attn}.scores"] >= 0)
        assert (taps[f"{attn}.scores"] < 0).any()
    agree(network, ("onnxruntime", "torch"))


def plant(model: onnx.ModelProto, name: str, change: Callable[[NDArray], None]) -> None:
    """Change one constant of a graph in place."""
    (constant,) = (constant for constant in model.graph.initializer if constant.name == name)
    values = numpy_helper.to_array(constant).copy()
    change(values)
    constant.CopyFrom(numpy_helper.from_array(values, name))


def flip(values: NDArray) -> None:
    values[3, 5] *= -1


def add(amount: int, *index: Any) -> Callable[[NDArray], None]:
    def change(values: NDArray) -> None:
        values[index] += amount

    return change


#: Constant of the graph, what happens to it, the first tensor that must differ.
FAULTS = {
    "weight_bit": ("blocks.0.attn.qkv.weight", flip, "blocks.0.attn.qkv"),
    "weight_bit_of_the_last_product": ("blocks.1.mlp.fc2.weight", flip, "blocks.1.mlp.fc2"),
    "pixel_weight": ("patch_embed.proj.weight", add(1, 0, 0), "patch_embed"),
    "norm_threshold": ("blocks.1.norm1.theta", add(3000), "blocks.1.norm1"),
    "eps": ("blocks.0.norm2.eps", add(1 << 40), "blocks.0.norm2.r"),
    "head_norm_scale": ("blocks.0.attn.k_norm.scale", add(1, 1, 0, 2), "blocks.0.attn.k_norm.s1"),
    "threshold": ("blocks.0.mlp.act.theta", add(6), "blocks.0.mlp.act"),
    "table_entry": ("blocks.1.attn.attn_sign.exp", add(-1, 0, 0), "blocks.1.attn.attn_sign.z"),
    "tau": ("blocks.0.attn.attn_sign.tau", add(30000), "blocks.0.attn.attn_sign"),
    "residual_bias": ("blocks.0.mlp.fc2.bias", add(1, 7), "blocks.0.add2"),
    "class_bias": ("head.bias", add(1, 1), "head"),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("judge", GRAPH_JUDGES)
def test_a_planted_fault_is_named(name: str, judge: str) -> None:
    constant, change, first = FAULTS[name]
    network = random_network(TINY, seed=8)
    model = export_qonnx(network)
    plant(model, constant, change)
    result = judge_network(network, judge_images(TINY, None, 2, seed=1), (judge,), model)
    (row,) = result.judges
    assert row.first == first
    assert result.mismatches == row.mismatches == sum(row.differing.values()) > 0
    assert list(row.differing) == [tap for tap in tap_names(TINY) if tap in row.differing]


def test_a_fault_of_a_window_is_named() -> None:
    network, block = random_network(SWIN, seed=9), SWIN.blocks[1].name
    for constant, change in (
        (f"{block}.attn.relative_position_bias_table", add(1, 0)),
        (f"{block}.attn.scores.allowed", lambda allowed: np.logical_not(allowed, out=allowed)),
    ):
        model = export_qonnx(network)
        plant(model, constant, change)
        result = judge_network(network, judge_images(SWIN, None, 1, seed=1), ("onnxruntime",), model)
        assert [row.first for row in result.judges] == [f"{block}.attn.scores"]


def test_a_shift_that_rounds_to_zero_is_found() -> None:
    network = random_network(TINY, seed=10)
    model = export_qonnx(network)
    for node in model.graph.node:
        if node.op_type == "Mod":
            node.attribute.add(name="fmod", i=1, type=onnx.AttributeProto.INT)
    result = judge_network(network, judge_images(TINY, None, 1, seed=1), GRAPH_JUDGES, model)
    assert [row.first for row in result.judges] == ["patch_embed"] * 2


def test_no_rounding_hides_a_bit_that_is_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """qonnx rounds annotated tensors unless told not to; the smallest step above 1 must be seen."""
    monkeypatch.setenv("SANITIZE_QUANT_TENSORS", "1")
    network = random_network(TINY, seed=11)
    model = export_qonnx(network)
    plant(model, "number_float32_1.0", lambda values: values.fill(np.nextafter(np.float32(1), np.float32(2))))
    result = judge_network(network, judge_images(TINY, None, 1, seed=1), GRAPH_JUDGES, model)
    assert [row.first for row in result.judges] == ["blocks.0.norm1"] * 2
    assert os.environ["SANITIZE_QUANT_TENSORS"] == "1"


def test_a_graph_without_a_tap_is_refused() -> None:
    network = random_network(TINY, seed=12)
    model = export_qonnx(network)
    infos = model.graph.value_info
    infos.remove(next(info for info in infos if info.name == "norm.q"))
    with pytest.raises(BivitError, match=r"the graph lacks the tensors norm\.q"):
        judge_network(network, random_images(TINY, 1), ("onnxruntime",), model)


@pytest.mark.parametrize("judge", GRAPH_JUDGES)
def test_a_graph_that_does_not_run_is_refused(judge: str) -> None:
    network = random_network(TINY, seed=12)
    model = export_qonnx(network)
    next(node for node in model.graph.node if node.op_type == "Sqrt").op_type = "NoSuchOperator"
    with pytest.raises(BivitError, match="graph"):
        judge_network(network, random_images(TINY, 1), (judge,), model)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, its graph, the same with a fault, and the student of another network."""
    path = tmp_path_factory.mktemp("judge")
    network = random_network(TINY, seed=13)
    save_network(network, path / "net.safetensors")
    save_network(random_network(TINY, seed=14), path / "other.safetensors")
    model = export_qonnx(network)
    save_qonnx(model, path / "net.onnx")
    plant(model, "blocks.1.attn.proj.weight", flip)
    save_qonnx(model, path / "fault.onnx")
    (path / "text.onnx").write_text("no graph at all")
    onnx.save(onnx.ModelProto(ir_version=9), path / "empty.onnx")
    return path


def test_the_command_agrees(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [arg for name in JUDGES for arg in ("--judge", name)]
    for graph in ([], ["--qonnx", folder / "net.onnx"]):
        done = invoke(
            "judge", folder / "net.safetensors", *arguments, *graph, "--images", "2", "--json", cwd=tmp_path,
            monkeypatch=monkeypatch,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert [row["judge"] for row in result["judges"]] == list(JUDGES)
        assert (result["images"], result["mismatches"]) == (2, 0)
        assert result["tensors_compared"] == 2 * 3 * len(tap_names(TINY))
        assert all(row["version"] for row in result["judges"])


def test_the_command_names_a_fault(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("judge", folder / "net.safetensors", "--qonnx", folder / "fault.onnx", "--images", "1")
    done = invoke(*arguments, "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert [row["first"] for row in result["judges"]] == ["blocks.1.attn.proj"] * 2
    for name in GRAPH_JUDGES:
        assert f"{name} differs from the reference in " in done.stderr
    assert "first in blocks.1.attn.proj: " in done.stderr
    done = invoke(*arguments, cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 1
    assert "blocks.1.attn.proj" in done.stdout


def test_test_images_are_those_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_network(random_network(preset("digits"), seed=1), tmp_path / "net.safetensors")
    arguments = ("judge", "net.safetensors", "--data", "digits", "--images", "3", "--judge", "onnxruntime", "--json")
    done = invoke(*arguments, cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 3
    assert not np.array_equal(judge_images(TINY, None, 2, seed=1), judge_images(TINY, None, 2, seed=2))
    assert judge_images(preset("digits"), "digits", 2, seed=0).max() <= 16 * 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["{folder}/net.safetensors", "--judge", "tflite"],
            "judge must be one of onnxruntime, qonnx, torch, got tflite",
        ),
        (["{folder}/net.safetensors", "--images", "0"], "images must be 1 or more, got 0"),
        (["{folder}/net.safetensors", "--seed", "-1"], "seed must be 0 or more, got -1"),
        (["{folder}/net.safetensors", "--data", "digits"], "images must have shape [B, 4, 4, 1]"),
        (["{folder}/net.onnx"], "not a safetensors file"),
        (["nothing.safetensors"], "there is no network file nothing.safetensors"),
        (["{folder}/net.safetensors", "--qonnx", "nothing.onnx"], "there is no graph nothing.onnx"),
        (["{folder}/net.safetensors", "--qonnx", "{folder}/text.onnx"], "damaged or not an ONNX file"),
        (["{folder}/net.safetensors", "--qonnx", "{folder}/empty.onnx"], "must be a graph of `bivit export --qonnx`"),
        (["{folder}/other.safetensors", "--qonnx", "{folder}/net.onnx"], "was exported from another network"),
    ],
)
def test_judge_refuses_bad_input(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    filled = [argument.format(folder=folder) for argument in arguments]
    assert_refused(invoke("judge", *filled, "--json", cwd=tmp_path, monkeypatch=monkeypatch), message)


def test_a_network_is_exported_as_it_is(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke(
        "export", folder / "net.safetensors", "--qonnx", "out/net.onnx", "--json", cwd=tmp_path, monkeypatch=monkeypatch
    )
    assert done.returncode == 0, done.stderr
    nodes, size = len(onnx.load(folder / "net.onnx").graph.node), (folder / "net.onnx").stat().st_size
    source = str(folder / "net.safetensors")
    assert json.loads(done.stdout) == {
        "network": source, "weights": source,
        "qonnx": "out/net.onnx", "nodes": nodes, "named_tensors": len(tap_names(TINY)), "bytes": size
    }  # fmt: skip
    assert (tmp_path / "out/net.onnx").read_bytes() == (folder / "net.onnx").read_bytes()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "net.onnx"]


def test_a_student_is_exported_to_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nasty_model(preset("digits"), seed=2)
    save_checkpoint(Checkpoint(model, seed=0), tmp_path / "student.safetensors")
    done = invoke(
        "export", "student.safetensors", "--out", "net.safetensors", "--qonnx", "net.onnx", "--calibration", "16",
        "--json", cwd=tmp_path, monkeypatch=monkeypatch,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["network"], result["qonnx"]) == ("net.safetensors", "net.onnx")
    assert result["same_predictions"] == 1.0
    network = load_network(tmp_path / "net.safetensors")
    pixels = judge_images(network.config, None, 2, seed=0)
    assert judge_network(network, pixels, GRAPH_JUDGES, onnx.load(tmp_path / "net.onnx")).mismatches == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{folder}/net.safetensors"], "is an integer network already; give --qonnx FILE"),
        (
            ["{folder}/net.safetensors", "--qonnx", "a.onnx", "--out", "b"],
            "is an integer network already; --out is for students, leave it out",
        ),
        (["{folder}/net.safetensors", "--qonnx", "{folder}/text.onnx/a.onnx"], "text.onnx is no folder"),
        (["{folder}/net.onnx", "--qonnx", "a.onnx"], "net.onnx"),
        (["x.safetensors", "--out", "a", "--qonnx", "a"], "--qonnx and --out are the same file a"),
    ],
)
def test_export_refuses_bad_input(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    filled = [argument.format(folder=folder) for argument in arguments]
    done = invoke("export", *filled, "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
