"""Operation counts: by hand, by the published ratios, and by counting while torch computes."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from program import assert_refused, invoke
from shapes import SWIN, SWIN_MODES, SWINS, TINY, TOKENS
from torch.utils.flop_counter import FlopCounterMode

from bivit.cli.ops import markdown, overview
from bivit.cli.shared.markers import markers
from bivit.model.files.checkpoint import Checkpoint, save_checkpoint
from bivit.model.vit.vit import BiViT, RealViT
from bivit.sim.counts.conventions import (
    CONVENTIONS,
    FLOAT_WEIGHTS,
    INTEGER_WEIGHTS,
    Term,
    hardware,
    honest,
    matmul,
    paper,
    summed,
)
from bivit.sim.counts.footprint import float_parameters, parameter_bits
from bivit.sim.counts.work import BINARY_PRODUCTS, BLOCK_PRODUCTS, Work, float_work, integer_work, products
from bivit.sim.errors import BivitError
from bivit.sim.network.config import ModelConfig
from bivit.sim.network.file import load_network, read_shape, save_network
from bivit.sim.network.formats import Formats
from bivit.sim.network.presets import PRESETS, preset
from bivit.sim.network.random import random_network
from helpers import ROOT

E8 = 1e8
MODES = {"layernorm": {}, "cheap": {"norm_mode": "mean", "qk_mode": "threshold", "attn_mode": "score"}}


def totals(works: list[Work]) -> dict[str, int]:
    """Counts by kind over all layers."""
    result: dict[str, int] = {}
    for work in works:
        result[work.kind] = result.get(work.kind, 0) + work.count
    return result


def test_products_of_a_tiny_deit_by_hand() -> None:
    """TOKENS: 3 x 3 patches of 2 x 2 x 2 values, 2 prefix tokens, D = 16, M = 32, 2 blocks, 11 classes."""
    assert totals(products(TOKENS)) == {
        "patch_embed": 9 * 8 * 16,
        "qkv": 2 * 11 * 16 * 48,
        "scores": 2 * 11 * 11 * 16,
        "context": 2 * 11 * 11 * 16,
        "proj": 2 * 11 * 16 * 16,
        "fc1": 2 * 11 * 16 * 32,
        "fc2": 2 * 11 * 32 * 16,
        "head": 2 * 16 * 11,
    }


def test_products_of_a_tiny_swin_by_hand() -> None:
    """SWIN: 16 tokens of 16 channels in windows of 4, twice; then 4 tokens of 32 channels in one window."""
    assert totals(products(SWIN)) == {
        "patch_embed": 16 * 4 * 16,
        "qkv": 2 * 16 * 16 * 48 + 4 * 32 * 96,
        "scores": 2 * 16 * 4 * 16 + 4 * 4 * 32,
        "context": 2 * 16 * 4 * 16 + 4 * 4 * 32,
        "proj": 2 * 16 * 16 * 16 + 4 * 32 * 32,
        "fc1": 2 * 16 * 16 * 32 + 4 * 32 * 64,
        "fc2": 2 * 16 * 16 * 32 + 4 * 32 * 64,
        "reduction": 4 * 64 * 32,
        "head": 32 * 3,
    }


def test_elements_of_a_tiny_swin_by_hand() -> None:
    stream, scores = 2 * 16 * 16 + 4 * 32, 2 * 16 * 4 * 1 + 4 * 4 * 2
    norms = 16 * 16 + 2 * stream + 4 * 64 + 4 * 32
    common = {"norm": norms, "position": scores, "gelu": 2 * stream, "residual": 2 * stream, "softmax": scores}
    assert totals(float_work(SWIN, binary=False)) == common
    assert totals(float_work(SWIN, binary=True)) == common | {"qk_norm": 2 * stream}
    cheap = replace(SWIN, **MODES["cheap"])
    assert totals(float_work(cheap, binary=False)) == common
    assert totals(float_work(cheap, binary=True)) == {k: v for k, v in common.items() if k != "softmax"}


def test_elements_of_tiny_integer_networks_by_hand() -> None:
    stream, scores = 2 * 16 * 16 + 4 * 32, 2 * 16 * 4 * 1 + 4 * 4 * 2
    common = {
        "scale": 16 * 16 + 4 * 32, "patch_norm": 16 * 16, "position": scores, "residual": 2 * stream,
        "pool": 4 * 32, "last_norm": 32,
    }  # fmt: skip
    assert totals(integer_work(SWIN)) == common | {
        "sign_norm": 2 * stream + 4 * 64, "qk_norm": 2 * stream, "softmax": scores, "threshold": 4 * stream,
    }  # fmt: skip
    assert totals(integer_work(replace(SWIN, **MODES["cheap"]))) == common | {
        "mean_norm": 2 * stream + 4 * 64, "threshold": 6 * stream + scores,
    }  # fmt: skip
    deit = totals(integer_work(TOKENS))
    assert (deit["position"], deit["last_norm"], "pool" in deit) == (9 * 16, 2 * 16, False)


@pytest.mark.parametrize("config", [TOKENS, TINY, *SWINS.values(), preset("deit_tiny"), preset("swin_tiny")])
def test_products_are_those_that_torch_counts(config: ModelConfig) -> None:
    model = RealViT(config).eval()
    shape = (1, config.img_size, config.img_size, config.in_chans)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(shape, dtype=torch.uint8))
    assert counter.get_total_flops() == 2 * sum(totals(products(config)).values())


@pytest.mark.parametrize("config", [TOKENS, TINY, SWIN, preset("deit_tiny"), preset("swin_tiny")])
@pytest.mark.parametrize("modes", MODES)
def test_parameters_are_those_of_the_models(config: ModelConfig, modes: str) -> None:
    config = replace(config, **MODES[modes])
    with torch.device("meta"):
        models = RealViT(config), BiViT(config)
    for model, binary in zip(models, (False, True), strict=True):
        shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
        assert float_parameters(config, binary) == shapes


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("deit_tiny", 5_910_800),
        ("deit_tiny_cls", 5_717_416),
        ("deit_small_cls", 22_050_664),
        ("deit_base_cls", 86_567_656),
        ("swin_tiny", 28_288_354),
        ("swin_small", 49_606_258),
    ],
)
def test_parameters_of_the_published_models(name: str, count: int) -> None:
    assert sum(map(math.prod, float_parameters(preset(name), binary=False).values())) == count


def test_bits_of_a_tiny_network_by_hand() -> None:
    config = replace(TINY, depth=1)
    bits = parameter_bits(config, Formats())
    assert list(bits) == ["patch_embed", "blocks.0", "head"]
    weights, rows = 48 * 16 + 16 * 16 + 2 * 32 * 16, 48 + 16 + 32 + 16
    norms, biases = 4 * 16, 48 + 16 + 32 + 16
    assert bits["blocks.0"]["float32"] == 32 * (weights + norms + biases)
    # q and k: gamma and beta a channel and a scale a head; v: a bias; the attention: a scale a head.
    signs = 2 * (2 * 16 + 2) + 16 + 2
    assert bits["blocks.0"]["binary"] == weights + 32 * (rows + norms + signs + 16 + 32 + 16)
    # int8 weights, S, B, n, and P of 20 bits: 4 tokens of 16 channels.
    assert bits["patch_embed"]["integer"] == 16 * (4 * 8 + 15 + 48) + 6 + 4 * 16 * 20


def test_bits_of_the_integer_network_hold_every_tensor() -> None:
    """No element of a network needs more bits than its range; tables are included."""
    bits = parameter_bits(SWIN, Formats())
    network = random_network(SWIN)
    for layer, counted in bits.items():
        held = 0
        for name, tensor in network.tensors.items():
            prefixes = {"patch_embed": ("patch_embed",), "head": ("norm", "head")}.get(layer, (f"{layer}.",))
            if name.startswith(prefixes):
                widths = [int(abs(value)).bit_length() for value in tensor.reshape(-1).tolist()]
                held += sum(widths) if tensor.dtype != np.uint64 else 0
        assert counted["integer"] > held


@pytest.mark.parametrize(
    ("name", "ratio", "exact", "real", "binary"),
    [("deit_tiny", 61.5, 53.9, 12.317, 0.2286), ("swin_tiny", 56.1, 55.9, 44.906, 0.8037)],
)
def test_the_papers_ratios(name: str, ratio: float, exact: float, real: float, binary: float) -> None:
    tally = paper(preset(name))
    assert tally.ratio == tally.table_ratio == ratio
    assert tally.exact_ratio == pytest.approx(exact, abs=0.05)
    assert tally.real_ops / E8 == pytest.approx(real, abs=5e-4)
    assert tally.ops / E8 == pytest.approx(binary, abs=5e-5)
    assert round(tally.table[0] / tally.table[1], 1) == ratio


def test_parts_of_swin_tiny_and_197_tokens_of_deit_tiny() -> None:
    parts = totals(products(preset("swin_tiny")))
    assert sum(parts[kind] for kind in BLOCK_PRODUCTS) / E8 == pytest.approx(43.019, abs=5e-4)
    assert parts["reduction"] / E8 == pytest.approx(1.734, abs=5e-4)
    assert parts["patch_embed"] / E8 == pytest.approx(0.1445, abs=5e-5)
    assert parts["head"] / E8 == pytest.approx(0.0077, abs=5e-5)
    assert paper(preset("deit_tiny_cls")).ratio == 61.0
    assert paper(preset("deit_small")).exact_ratio == pytest.approx(58.1, abs=0.05)
    assert paper(preset("swin_small")).exact_ratio == pytest.approx(57.4, abs=0.05)


def test_honest_and_weighted_counts_of_deit_tiny() -> None:
    """The float patch embedding alone limits the ratio to 26; the weighted elements are those of a public profiler."""
    limit = 12.610e8 / (12.317e8 / 64 + 0.2890e8 + 0.0038e8)
    assert limit == pytest.approx(26.0, abs=0.05)
    assert honest(preset("deit_tiny")).ratio == 23.2
    costs = {term.name: term.cost / E8 for term in summed(CONVENTIONS["weighted"](preset("deit_tiny")).binary)}
    for name, cost in {"norm": 0.076, "qk_norm": 0.073, "gelu": 0.146, "softmax": 0.056, "residual": 0.009}.items():
        assert costs[name] == pytest.approx(cost, abs=6e-4)


@pytest.mark.parametrize("name", PRESETS)
def test_conventions_are_consistent(name: str) -> None:
    config = preset(name)
    tallies = {key: convention(config) for key, convention in CONVENTIONS.items()}
    assert tallies["matmul"].exact_ratio == 64
    for tally in tallies.values():
        assert tally.ops == pytest.approx(tally.bops / 64 + tally.flops)
    assert tallies["matmul"].ops < tallies["paper"].ops < tallies["honest"].ops < tallies["weighted"].ops
    assert tallies["hardware"].ops < tallies["weighted"].ops
    binary = [work.count for work in products(config) if work.kind in BINARY_PRODUCTS]
    assert tallies["honest"].bops == tallies["hardware"].bops == sum(binary)


@pytest.mark.parametrize("config", [TINY, TOKENS, *SWIN_MODES.values()])
def test_every_element_has_a_weight(config: ModelConfig) -> None:
    assert {work.kind for work in float_work(config, binary=True)} <= set(FLOAT_WEIGHTS)
    assert {work.kind for work in integer_work(config)} <= set(INTEGER_WEIGHTS)


def test_cheap_modes_save_work_in_hardware_only() -> None:
    config = preset("deit_tiny")
    cheap = replace(config, **MODES["cheap"])
    assert hardware(cheap).ops < hardware(config).ops
    assert hardware(cheap).real_ops == hardware(config).real_ops
    assert matmul(cheap).ops == matmul(config).ops


def test_a_network_too_small_for_the_table_has_its_exact_ratio() -> None:
    tally = paper(preset("digits"))
    assert tally.table_ratio is None
    assert tally.ratio == round(tally.exact_ratio, 1) == 50.0


def test_a_term_is_count_times_weight_by_divisor() -> None:
    assert Term("norm", 10, weight=8, divisor=64).to_dict() == {
        "name": "norm", "count": 10, "weight": 8, "divisor": 64, "cost": 1.25,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["deit_tiny", "swin_tiny", "fashion"])
def test_json_of_the_command(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke("ops", name, "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert (result["name"], result["family"]) == (name, preset(name).family)
    published = {"deit_tiny": 61.5, "swin_tiny": 56.1}
    assert result["conventions"]["paper"]["ratio"] == published.get(name, paper(preset(name)).ratio)
    assert result["conventions"]["honest"]["ratio"] < result["conventions"]["paper"]["ratio"]
    for convention, tally in result["conventions"].items():
        for total, terms in (("ops", "terms"), ("real_ops", "real_terms")):
            for term in tally[terms]:
                assert term["cost"] == pytest.approx(term["count"] * term["weight"] / term["divisor"])
            assert sum(term["cost"] for term in tally[terms]) == pytest.approx(tally[total])
        assert tally["exact_ratio"] == pytest.approx(tally["real_ops"] / tally["ops"])
        assert sum(row["ops"][convention] for row in result["layers"]) == pytest.approx(tally["ops"])
    for kind, bits in result["memory_bits"].items():
        assert sum(row["memory_bits"][kind] for row in result["layers"]) == bits
    assert sum(row["macs"] for row in result["layers"]) == sum(totals(products(preset(name))).values())


def test_the_command_prints_the_arithmetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, arithmetic in (("deit_tiny", "12.3 / 0.2 = 61.5"), ("swin_tiny", "44.9 / 0.8 = 56.1")):
        done = invoke("ops", name, cwd=tmp_path, monkeypatch=monkeypatch)
        assert done.returncode == 0
        assert arithmetic in done.stdout
        assert all(convention in done.stdout for convention in CONVENTIONS)


def test_networks_and_checkpoints_are_counted_by_their_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formats = Formats(residual_bits=16, residual_frac_bits=8)
    save_network(random_network(SWIN, formats), tmp_path / "net")
    save_checkpoint(Checkpoint(RealViT(TINY), seed=0), tmp_path / "teacher")
    assert read_shape(tmp_path / "net") == (SWIN, formats)
    assert read_shape(tmp_path / "teacher") == (TINY, Formats())
    for file, config in (("net", SWIN), ("teacher", TINY)):
        done = invoke("ops", file, "--json", cwd=tmp_path, monkeypatch=monkeypatch)
        result = json.loads(done.stdout)
        assert result["conventions"]["matmul"]["real_ops"] == sum(totals(products(config)).values())
    assert load_network(tmp_path / "net").config == SWIN


def test_what_cannot_be_counted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noise").write_bytes(b"not a network")
    torch.save({}, tmp_path / "pickle")
    for arguments, message in (
        (["deit_huge"], "there is no preset and no file 'deit_huge'; presets are digits, "),
        (["noise"], "noise cannot be read as an integer network or a checkpoint"),
        (["pickle"], "pickle cannot be read as an integer network or a checkpoint"),
        (["digits", "--page", "page.md"], "--page needs the table of every preset; run `bivit ops all --page page.md`"),
        (["all", "--page", "page.md"], "there is no file page.md (the page)"),
    ):
        assert_refused(invoke("ops", *arguments, "--json", cwd=tmp_path, monkeypatch=monkeypatch), message)
    with pytest.raises(BivitError, match=r"there is no file .*nothing"):
        read_shape(tmp_path / "nothing")


def test_files_without_a_config_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    for header, message in (
        (None, "neither a network nor a checkpoint of bivit: its header has no object 'config'"),
        ("[]", "its header has no object 'config'"),
        ('{"config": {}, "formats": 3}', "its header has no object 'formats'"),
        ('{"config": {"family": "cnn"}}', "family in config in .* must be one of vit, swin, got 'cnn'"),
    ):
        save_file({"x": np.zeros(1)}, tmp_path / "file", {"bivit": header} if header else {})
        with pytest.raises(BivitError, match=message):
            read_shape(tmp_path / "file")


def test_the_table_in_the_docs_is_the_one_the_command_makes() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    begin, end = markers("results")
    found = text.partition(begin)[2].partition(end)[0].strip()
    assert found == markdown(overview(PRESETS)), "run `bivit ops all --page docs/operations.md`"
