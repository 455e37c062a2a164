"""The network file: round trip, header, damage, and nothing half-written (sim/network/file.py)."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from bivit.sim.errors import BivitError
from bivit.sim.network.config import ViTConfig, config_from_dict
from bivit.sim.network.file import load_network, network_hash, save_network
from bivit.sim.network.formats import Formats
from bivit.sim.network.network import IntNetwork
from bivit.sim.network.random import random_network
from bivit.sim.reference.run import run_reference

CONFIG = ViTConfig(img_size=4, patch_size=2, in_chans=1, num_classes=3, embed_dim=16, depth=1, num_heads=2)
MODES = [CONFIG, replace(CONFIG, dist_token=True, norm_mode="mean", qk_mode="threshold", attn_mode="score")]


@pytest.fixture
def network() -> IntNetwork:
    return replace(random_network(CONFIG), provenance={"command": "test"}, agreement={"top1": 0.75, "taps": {"a": 1}})


@pytest.fixture
def saved(network: IntNetwork, tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    save_network(network, path)
    return path


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["bivit"])
        return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118


def write(path: Path, tensors: dict[str, np.ndarray], header: Any) -> None:
    save_file(tensors, path, {"bivit": header if isinstance(header, str) else json.dumps(header)})


@pytest.mark.parametrize("config", MODES)
def test_round_trip(config: ViTConfig, tmp_path: Path) -> None:
    network = random_network(config, Formats(residual_bits=18, head_m=32), seed=5)
    save_network(network, tmp_path / "net.safetensors")
    loaded = load_network(tmp_path / "net.safetensors")
    assert (loaded.config, loaded.formats) == (network.config, network.formats)
    assert set(loaded.tensors) == set(network.tensors)
    for name, tensor in network.tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert np.array_equal(loaded.tensors[name], tensor)
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1), dtype=np.uint8)
    assert np.array_equal(run_reference(loaded, images).logits, run_reference(network, images).logits)


def test_provenance_and_agreement_are_kept(network: IntNetwork, saved: Path) -> None:
    loaded = load_network(saved)
    assert loaded.provenance == network.provenance
    assert loaded.agreement == network.agreement


def test_the_header_is_as_documented(network: IntNetwork, saved: Path) -> None:
    with safe_open(saved, framework="numpy") as file:
        assert set(file.metadata()) == {"bivit"}
    _, header = read(saved)
    assert list(header) == ["format", "version", "config", "formats", "provenance", "agreement", "sha256"]
    assert (header["format"], header["version"]) == ("bivit-network", 1)
    assert header["sha256"] == network_hash(network)
    assert header["config"]["family"] == "vit"
    assert config_from_dict(header["config"], "the header") == CONFIG


def test_the_file_is_the_same_each_time(network: IntNetwork, saved: Path, tmp_path: Path) -> None:
    save_network(network, str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_the_hash_depends_on_config_formats_and_each_tensor(network: IntNetwork) -> None:
    hashes = {network_hash(network)}
    hashes.add(network_hash(replace(network, config=replace(CONFIG, eps=1e-5))))
    hashes.add(network_hash(replace(network, formats=Formats(mean_shift=7))))
    for name, tensor in network.tensors.items():
        changed = tensor.copy()
        # A later row or element may change by one without leaving its range, the end of a falling table included.
        changed.flat[-1] = tensor.flat[-1] - 1 if tensor.flat[-1] > 1 else tensor.flat[-1] + 1
        if not name.endswith(".weight") or tensor.dtype != np.uint64:
            hashes.add(network_hash(replace(network, tensors=network.tensors | {name: changed})))
        else:
            flipped = tensor ^ np.uint64(1)
            hashes.add(network_hash(replace(network, tensors=network.tensors | {name: flipped})))
    assert len(hashes) == 3 + len(network.tensors)
    assert network_hash(replace(network, provenance={}, agreement={})) == network_hash(network)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BivitError, match=r"there is no network file .*nothing\.safetensors.*bivit export"):
        load_network(tmp_path / "nothing.safetensors")
    with pytest.raises(BivitError, match="there is no network file"):
        load_network(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_truncated_file(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BivitError, match="truncated or not a safetensors file"):
        load_network(saved)


def test_every_damaged_byte_is_found(network: IntNetwork, saved: Path) -> None:
    content = saved.read_bytes()
    header_end = 8 + int.from_bytes(content[:8], "little")
    random = np.random.default_rng(0)
    positions = [*random.integers(0, header_end, 400), *random.integers(header_end, len(content), 100)]
    refused = 0
    for position in map(int, positions):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(random.integers(8))
        saved.write_bytes(damaged)
        try:
            # Provenance and agreement are outside the hash, so their bytes may change; what is computed may not.
            assert network_hash(load_network(saved)) == network_hash(network)
        except BivitError:
            refused += 1
        else:
            assert position < header_end
    assert refused > 400


def test_a_flipped_weight_bit_is_damage(saved: Path) -> None:
    tensors, header = read(saved)
    tensors["blocks.0.attn.qkv.weight"][3, 0] ^= np.uint64(4)
    write(saved, tensors, header)
    with pytest.raises(BivitError, match=r"net\.safetensors is damaged: its hash is .* export it again"):
        load_network(saved)


def test_another_config_than_was_hashed_is_damage(saved: Path) -> None:
    tensors, header = read(saved)
    header["config"]["eps"] = 1e-3
    write(saved, tensors, header)
    with pytest.raises(BivitError, match="is damaged"):
        load_network(saved)


def drop(*keys: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda header: {key: value for key, value in header.items() if key not in keys}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h | {"format": "onnx"}, "not a bivit network: its format is 'onnx', allowed is 'bivit-network'"),
        (lambda h: h | {"version": 2}, "is of version 2, this bivit reads version 1"),
        (drop("format"), "its format is null"),
        (drop("agreement", "sha256"), "lacks agreement, sha256"),
        (lambda h: h | {"config": 3}, "config in the header of .* must be an object, got 3"),
        (lambda h: h | {"config": h["config"] | {"layers": 3}}, "unknown keys layers"),
        (lambda h: h | {"config": drop("depth")(h["config"])}, "is incomplete: it lacks depth"),
        (lambda h: h | {"config": h["config"] | {"num_heads": 3}}, "not a multiple of num_heads 3"),
        (
            lambda h: h | {"formats": h["formats"] | {"head_m": "a"}},
            "head_m must be an integer, got 'a'",
        ),
        (lambda h: "not JSON", "its header is not JSON"),
        (lambda h: "[]", "its header is not a JSON object"),
    ],
)
def test_bad_headers(saved: Path, change: Callable[[dict[str, Any]], Any], message: str) -> None:
    tensors, header = read(saved)
    write(saved, tensors, change(header))
    with pytest.raises(BivitError, match=message):
        load_network(saved)


def test_a_safetensors_file_of_something_else(tmp_path: Path) -> None:
    save_file({"a": np.zeros(3, dtype=np.float32)}, tmp_path / "other")
    with pytest.raises(BivitError, match="not a bivit network: its metadata lacks the key 'bivit'"):
        load_network(tmp_path / "other")


def test_missing_and_unexpected_tensors(saved: Path) -> None:
    tensors, header = read(saved)
    bias = tensors.pop("head.bias")
    write(saved, tensors, header)
    with pytest.raises(BivitError, match=r"lacks the tensors head\.bias"):
        load_network(saved)
    write(saved, tensors | {"head.bias": bias, "head.extra": bias}, header)
    with pytest.raises(BivitError, match=r"unexpected tensors head\.extra"):
        load_network(saved)


def test_values_out_of_range_are_refused_although_the_hash_is_right(network: IntNetwork, tmp_path: Path) -> None:
    network.tensors["norm.eps"] = np.zeros_like(network.tensors["norm.eps"])
    header = {"format": "bivit-network", "version": 1, "provenance": {}, "agreement": {}}
    header |= {"config": CONFIG.to_dict(), "formats": vars(network.formats), "sha256": network_hash(network)}
    write(tmp_path / "net", network.tensors, header)
    with pytest.raises(BivitError, match=r"norm\.eps must be 1 to"):
        load_network(tmp_path / "net")


@pytest.mark.parametrize("value", [{1, 2}, float("nan")], ids=["set", "nan"])
def test_nothing_is_written_when_the_header_is_not_json(network: IntNetwork, saved: Path, value: Any) -> None:
    before = saved.read_bytes()
    with pytest.raises(BivitError, match="provenance and agreement must hold JSON values only"):
        save_network(replace(network, provenance={"value": value}), saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_folder_that_cannot_be_written(network: IntNetwork, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BivitError, match=r"cannot write .*net: .*file is no folder; .*choose a folder"):
        save_network(network, tmp_path / "file" / "net")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BivitError, match=r"cannot write .*folder: it is a folder"):
        save_network(network, tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_others_may_read_it_as_far_as_the_umask_lets_them(saved: Path) -> None:
    plain = saved.with_name("plain")
    plain.touch()
    assert saved.stat().st_mode == plain.stat().st_mode


def test_the_hash_is_as_documented(saved: Path) -> None:
    tensors, header = read(saved)
    text = json.dumps([header["config"], header["formats"]], sort_keys=True, separators=(", ", ": "))
    data = text.encode("ascii")
    for name in sorted(tensors):
        shape = ", ".join(str(size) for size in tensors[name].shape)
        shape = f"({shape},)" if tensors[name].ndim == 1 else f"({shape})"
        data += f"{name} {tensors[name].dtype.name} {shape}\n".encode() + tensors[name].tobytes("C")
    assert hashlib.sha256(data).hexdigest() == header["sha256"]
