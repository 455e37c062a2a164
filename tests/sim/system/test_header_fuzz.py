"""Mutated headers and tensors of bivit's own files are read or refused: nothing else, and in bounded time."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzz_import import VALUES
from models import random_model
from safetensors import safe_open
from safetensors.torch import save_file
from shapes import SWIN, TINY

from bivit.model.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from bivit.sim.errors import BivitError
from bivit.sim.network.file import file_format, load_network, read_shape, save_network
from bivit.sim.network.random import random_network

#: Texts in place of a header that no `json.dumps` writes.
TEXTS = ("", "[]", "null", "[" * 100_000, '{"a":' * 100_000, '{"format": ' + "1" * 6000 + "}", '{"a": NaN}', "\x1b[1m")


def mutated(header: dict[str, Any], draw: random.Random) -> str:
    if draw.random() < 0.1:
        return draw.choice(TEXTS)
    header = json.loads(json.dumps(header))
    for _ in range(draw.randint(1, 2)):
        table: Any = header
        while isinstance(table, dict) and table:
            key = draw.choice([*table, "family", "depth"])
            if isinstance(table.get(key), dict) and draw.random() < 0.8:
                table = table[key]
                continue
            table[key] = draw.choice(VALUES)
            break
    return json.dumps(header)


def outcomes(path: Path, read: Callable[[Path], Any], count: int, seed: int) -> Counter[str]:
    """Read that many mutations of a file, and its config alone; anything but a value or a `BivitError` fails."""
    draw, found, out = random.Random(seed), Counter[str](), path.with_name("mutated")
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["bivit"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    kinds = (torch.float16, torch.int8, torch.bool, torch.float8_e4m3fn, torch.bfloat16)
    for _ in range(count):
        changed = dict(tensors)
        if draw.random() < 0.3:
            name = draw.choice(list(tensors))
            changed[name] = draw.choice((torch.zeros(()), torch.zeros(3, 0), tensors[name].to(draw.choice(kinds))))
        save_file(changed, out, {"bivit": mutated(header, draw)})
        start = time.monotonic()
        for step in (read, read_shape, file_format):
            try:
                step(out)
                found["read"] += 1
            except BivitError:
                found["refused"] += 1
        found["slow"] += time.monotonic() - start > 20
    return found


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("config", [TINY, SWIN], ids=["vit", "swin"])
@pytest.mark.parametrize("kind", ["checkpoint", "network"])
def test_mutated_files_are_read_or_refused(kind: str, config: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if kind == "checkpoint":
        save_checkpoint(Checkpoint(random_model(config), 3, {"top1": 0.5}, {"data": "digits"}), path)
    else:
        save_network(random_network(config, seed=1), path)
    found = outcomes(path, load_checkpoint if kind == "checkpoint" else load_network, 120, seed=5)
    assert found["slow"] == 0
    assert found["refused"] > 120
    assert found["read"] > 20
