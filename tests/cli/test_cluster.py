"""`bivit run --scheduler`: the same as in one process, whatever becomes of the workers (cli/runs/cluster.py)."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import distributed
import numpy as np
import pytest
from clustered import CONFIG, IMAGES, NETWORK, batches, results, wait_until, write_data
from distributed import Client, LocalCluster
from pictures import write_folder
from program import COMMAND, assert_refused, invoke

from bivit.cli.runs import cluster
from bivit.cli.runs.classify import on_this_machine
from bivit.cli.runs.cluster import on_cluster
from bivit.cli.runs.cluster_task import Parcel, classify_task, identity
from bivit.model.data.source import Batch
from bivit.sim.errors import BivitError
from bivit.sim.network.file import network_hash, save_network
from bivit.sim.network.network import IntNetwork
from bivit.sim.reference import run as reference_module
from bivit.sim.reference.run import run_reference
from helpers import started


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two workers, each a process with one thread."""
    run_reference(NETWORK, IMAGES[:1])  # so that the workers find compiled kernels
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with LocalCluster(**options) as workers, Client(workers, set_as_default=False) as client:
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("cluster"))


@pytest.fixture
def address(client: Client) -> str:
    """The scheduler, when both workers are there."""
    client.wait_for_workers(2, timeout=60)
    return client.scheduler.address


@contextmanager
def planted(client: Client, workers: list[str] | None, name: str, value: Any) -> Iterator[None]:
    """Replace a name of `cli.runs.cluster_task` on workers, all of them when None, for as long as this lasts."""

    def change(new: Any) -> Any:
        from bivit.cli.runs import cluster_task

        old = getattr(cluster_task, name)
        setattr(cluster_task, name, new)
        return old

    before = client.run(change, value, workers=workers)
    try:
        yield
    finally:
        for worker, old in before.items():
            if worker in client.nthreads():
                client.run(change, old, workers=[worker])


def hanging() -> Callable[..., None]:
    """A `classify` that does not come back before its process is asked to go on; sent to workers by value."""

    def classify(*_: Any, **__: Any) -> None:

        from bivit.cli.runs import cluster

        while not hasattr(cluster, "go_on"):
            time.sleep(0.01)
        raise RuntimeError("went on")

    return classify


def go_on(client: Client) -> None:
    """End what `hanging` holds up, and forget that it was asked to."""

    def end() -> None:
        from bivit.cli.runs import cluster

        cluster.go_on = True  # type: ignore[attr-defined]

    def forget() -> None:
        from bivit.cli.runs import cluster

        del cluster.go_on  # type: ignore[attr-defined]

    client.run(end)
    wait_until(lambda: not any(client.run(lambda dask_worker: dask_worker.state.executing_count).values()))
    client.run(forget)


def classifying(client: Client, worker: str) -> list[Any]:
    """Keys of the batches that a worker has to classify."""
    return [key for key in client.processing().get(worker, ()) if "bivit-classify" in str(key)]


def scheduled(client: Client) -> int:
    return client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))


def run_both(folder: Path, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> Any:
    """JSON and table of a run in this process, and of one on the cluster with `more` arguments."""
    found = []
    for name, arguments in (("here", []), ("there", ["--scheduler", address, *more])):
        base = ["run", folder / "net.safetensors", "--data", folder / "data.npz", "--out", tmp_path / name, "--json"]
        done = invoke(*base, *arguments, cwd=tmp_path, monkeypatch=monkeypatch)
        assert done.returncode == 0, done.stderr
        found.append((json.loads(done.stdout), (tmp_path / name).read_bytes()))
    return found


@pytest.mark.parametrize("batch", ["3", "64"])
def test_everything_equals_the_run_in_one_process(
    client: Client, address: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: str
) -> None:
    (here, table), (there, same_table) = run_both(folder, address, tmp_path, monkeypatch, "--batch", batch)
    assert same_table == table
    assert len(table.splitlines()) == 41
    assert (there.pop("scheduler"), there.pop("workers")) == (address, 2)
    for summary in (here, there):
        assert summary.pop("images_per_s") > 0
        summary.pop("predictions")
    assert there == here
    wait_until(lambda: scheduled(client) == 0)


def test_saturations_and_empty_rows_are_counted(address: str) -> None:
    scale = np.full(CONFIG.embed_dim, 2**15 - 1, dtype=np.int32)
    tau = np.full(CONFIG.num_heads, 2**16, dtype=np.int32)
    changed = {"blocks.0.attn.proj.scale": scale, "blocks.0.attn.attn_sign.tau": tau}
    network = replace(NETWORK, tensors=NETWORK.tensors | changed)
    with on_cluster(address, network) as runner:
        there = results(runner)
    assert there == results(on_this_machine(network))
    assert sum(row[2] for row in there) > 0
    assert sum(row[3] for row in there) > 0


def test_few_batches_are_in_flight(address: str) -> None:
    read = 0

    def counted() -> Iterator[Batch]:
        nonlocal read
        for batch in batches(1):
            read += 1
            yield batch

    with on_cluster(address, NETWORK) as runner:
        for finished, _ in enumerate(runner(counted())):
            assert read - finished <= 2 * 2 + 1
    assert finished + 1 == read == 40


def test_a_killed_worker_loses_nothing(client: Client, address: str) -> None:
    victim = sorted(client.nthreads())[0]
    pid = client.run(os.getpid, workers=[victim])[victim]
    lost: list[Any] = []

    def kill() -> None:
        wait_until(lambda: classifying(client, victim))
        os.kill(pid, signal.SIGSTOP)  # so that what it has to do cannot change meanwhile
        lost.extend(classifying(client, victim))
        os.kill(pid, signal.SIGKILL)

    # What the victim has begun it can never finish: that all is there shows that another one ran it again.
    with planted(client, [victim], "classify", hanging()), on_cluster(address, NETWORK) as runner:
        killer = threading.Thread(target=kill)
        killer.start()
        there = results(runner)
        killer.join()
    assert lost
    assert there == results(on_this_machine(NETWORK))
    assert victim not in client.nthreads()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (("0.0.1", identity()[1]), "has bivit of version 0.0.1, this machine"),
        ((identity()[0], "0" * 16), "has bivit of sources of bivit.sim with hash 0000000000000000"),
    ],
)
def test_a_worker_with_another_bivit_is_named(
    client: Client,
    address: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: tuple[str, str],
    message: str,
) -> None:
    other = sorted(client.nthreads())[1]
    arguments = ("--data", folder / "data.npz", "--scheduler", address, "--out", tmp_path / "table")
    with planted(client, [other], "identity", lambda: found):
        done = invoke("run", folder / "net.safetensors", *arguments, cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, f"the worker {other} {message}")
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_joins_with_another_bivit_is_named(client: Client, address: str) -> None:
    with (
        on_cluster(address, NETWORK) as runner,
        planted(client, None, "identity", lambda: ("0.0.1", "")),
        pytest.raises(BivitError, match=r"the worker tcp://\S+ has bivit of version 0\.0\.1"),
    ):
        results(runner)


def test_a_machine_without_bivit_is_named(client: Client, address: str) -> None:
    def hide(hidden: bool) -> None:

        if hidden:
            sys.modules["bivit.cli.runs.cluster_task"] = None  # type: ignore[assignment]
        else:
            del sys.modules["bivit.cli.runs.cluster_task"]

    worker = sorted(client.nthreads())[0]
    client.run(hide, True, workers=[worker])
    try:
        with (
            pytest.raises(BivitError, match=f"{worker} cannot run bivit .*; install bivit"),
            on_cluster(address, NETWORK),
        ):
            pass
    finally:
        client.run(hide, False, workers=[worker])


def failing(error: BaseException | None) -> Callable[..., None]:
    """A `classify` that raises, or ends its process when `error` is None; sent to workers by value."""

    def classify(*_: Any, **__: Any) -> None:
        import os

        if error is None:
            os._exit(1)
        raise error

    return classify


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (None, BivitError, "one batch ended several workers, the last of them tcp:.* take a smaller --batch"),
        (OSError("disk full"), BivitError, r"a worker could not run a batch \(OSError: disk full\)"),
        (ArithmeticError("a bug"), ArithmeticError, "a bug"),
    ],
)
def test_workers_that_fail_each_time(
    client: Client, address: str, error: BaseException | None, kind: type[BaseException], message: str
) -> None:
    def allow(failures: int) -> None:
        client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", failures))

    allow(0)
    try:
        with (
            planted(client, None, "classify", failing(error)),
            pytest.raises(kind, match=message),
            on_cluster(address, NETWORK) as runner,
        ):
            results(runner)
    finally:
        allow(3)


def flipped(network: IntNetwork) -> IntNetwork:
    weight = network.tensors["blocks.0.mlp.fc1.weight"].copy()
    weight[3, 0] ^= np.uint64(4)
    return replace(network, tensors=network.tensors | {"blocks.0.mlp.fc1.weight": weight})


def test_a_network_with_a_flipped_bit_is_found(
    address: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = bytearray((folder / "net.safetensors").read_bytes())
    file[-1] ^= 1
    with pytest.raises(BivitError, match="is damaged"):
        Parcel(bytes(file), network_hash(NETWORK))
    monkeypatch.setattr(cluster, "save_network", lambda network, path: save_network(flipped(network), path))
    with (
        on_cluster(address, NETWORK) as runner,
        pytest.raises(BivitError, match=r"got another network than was sent: .* sent was " + network_hash(NETWORK)),
    ):
        results(runner)


def test_images_before_a_broken_one_are_kept(
    address: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_folder(tmp_path / "images", {"train": 1, "val": 3}, tuple("0123456789"))
    broken = images / "val" / "2" / "2_00.png"
    broken.write_bytes(broken.read_bytes()[:40])
    tables = []
    for name, more in (("here", []), ("there", ["--scheduler", address])):
        table = tmp_path / name
        arguments = ["--data", images, "--batch", "3", "--out", table, *more]
        done = invoke("run", folder / "net.safetensors", *arguments, cwd=tmp_path, monkeypatch=monkeypatch)
        assert_refused(done, broken.name)
        assert "the predictions of the 6 images before it are in" in done.stderr.replace("\n", " ")
        tables.append(table.read_bytes())
    assert tables[0] == tables[1]
    assert len(tables[0].splitlines()) == 7


def test_ctrl_c_takes_the_tasks_back(client: Client, address: str, folder: Path, tmp_path: Path) -> None:
    arguments = ["--data", folder / "data.npz", "--batch", "2", "--scheduler", address, "--out", tmp_path / "table"]
    command = [*COMMAND, "run", folder / "net.safetensors", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with planted(client, None, "classify", hanging()), started(command, **pipes) as process:
        wait_until(lambda: all(classifying(client, worker) for worker in client.nthreads()))
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        wait_until(lambda: scheduled(client) == 0)
        go_on(client)
    assert (process.returncode, output) == (130, "")
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_a_task_runs_in_the_one_thread_that_it_has(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run_reference(NETWORK, IMAGES).predictions
    parcel = Parcel((folder / "net.safetensors").read_bytes(), network_hash(NETWORK))
    monkeypatch.setattr(distributed, "get_worker", lambda: SimpleNamespace(address="here"))
    monkeypatch.setattr(reference_module, "ThreadPoolExecutor", None)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert np.array_equal(classify_task(parcel, IMAGES, identity()).predictions, expected)
    with pytest.raises(TypeError):
        run_reference(parcel.network, IMAGES)
