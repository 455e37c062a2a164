"""Memory of a forward pass, and where compiled code is kept (sim/reference/workspace.py, sim/reference/jit.py)."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from shapes import MODES, SWIN, random_images

from bivit.sim.network.random import random_network
from bivit.sim.reference.run import CHUNK, _prepared, run_reference
from bivit.sim.reference.workspace import Workspace


def test_arrays_of_a_name_share_memory_that_grows_when_it_must() -> None:
    workspace = Workspace()
    first = workspace("acc", (4, 6), np.int16)
    assert workspace("acc", (4, 6), np.int16) is first
    assert (first.shape, first.dtype, workspace.nbytes) == ((4, 6), np.int16, 48)
    narrow = workspace("acc", (2, 3), np.int64)
    assert np.shares_memory(first, narrow)
    assert workspace.nbytes == 48
    assert not np.shares_memory(first, workspace("rows", (4, 6), np.int16))
    wide = workspace("acc", (7, 7), np.int64)
    assert not np.shares_memory(first, wide)
    assert np.shares_memory(wide, workspace("acc", (4, 6), np.int16))
    assert workspace.nbytes == 7 * 7 * 8 + 48


def test_images_after_the_first_allocate_nothing() -> None:
    for config in (MODES["softmax"], SWIN):
        network, images = random_network(config), random_images(config, CHUNK)
        one = run_reference(network, images, threads=1).logits  # each thread has a workspace of its own
        (workspace,) = _prepared(network).workspaces
        held, arrays = workspace.nbytes, dict(workspace._arrays)
        assert np.array_equal(run_reference(network, images, threads=1).logits, one)
        assert _prepared(network).workspaces == [workspace]
        assert (workspace.nbytes, workspace._arrays) == (held, arrays)


def test_what_one_run_leaves_in_memory_is_not_seen_by_the_next() -> None:
    network = random_network(SWIN, seed=4)
    images = random_images(SWIN, 5)
    alone = [run_reference(network, image[np.newaxis], taps="all") for image in images]
    for count in (5, 3):
        together = run_reference(network, images[:count], taps="all")
        for name, tap in together.taps.items():
            assert np.array_equal(tap, np.concatenate([result.taps[name] for result in alone[:count]])), name


SCRIPT = """
import sys
import numba
from pathlib import Path
from bivit.sim.reference import jit, products
from bivit.sim.reference.fixed import isqrt
import numpy as np
assert isqrt(np.array([17]))[0] == 4
print(jit.CACHE, len(list(jit.CACHE.glob("**/*.nbi"))) if jit.CACHE else None, numba.config.CACHE_DIR)
"""


def test_compiled_code_is_kept_by_the_content_of_the_sources(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    folder, files, untouched = run.stdout.rstrip("\n").split(" ")
    assert Path(folder).parent == tmp_path / "bivit" / "kernels"
    assert len(Path(folder).name) == 16
    assert int(files) == 2  # isqrt's loop and the root that it calls
    assert untouched == ""


def test_without_a_folder_to_write_in_code_is_compiled_anew(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "below")}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("None None")
