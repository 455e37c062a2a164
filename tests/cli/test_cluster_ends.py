"""`bivit run --scheduler` without a scheduler or workers, and when they end: one message (cli/runs/cluster.py)."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from clustered import NETWORK, batches, wait_until, write_data
from distributed import Client
from program import assert_refused, invoke

from bivit.cli.runs import cluster
from bivit.cli.runs.classify import Runner
from bivit.cli.runs.cluster import on_cluster
from bivit.sim.errors import BivitError


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nonsense", "the address of a scheduler is HOST:PORT or tcp://HOST:PORT"),
        ("tcp://localhost", "got 'tcp://localhost'; start one with `dask scheduler`"),
        ("http://localhost:8786", "got 'http://localhost:8786'"),
        ("localhost:70000", "got 'localhost:70000'"),
        ("tcp://localhost:1", "no Dask scheduler answers at tcp://localhost:1"),
        ("tls://localhost:1", "no Dask scheduler answers at tls://localhost:1"),
    ],
)
def test_wrong_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, message: str) -> None:
    folder = write_data(tmp_path)
    monkeypatch.setattr(cluster, "CONNECT_S", 0.2)
    loops = dask_loops()
    arguments = ("--data", folder / "data.npz", "--scheduler", address)
    done = invoke("run", folder / "net.safetensors", *arguments, "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, message)
    assert "dask worker" in done.stderr
    assert dask_loops() == loops


def dask_loops() -> int:
    """Threads of Dask; one that a failed connection leaves may block the next."""
    return sum(thread.name == "IO loop" for thread in threading.enumerate())


@contextmanager
def program(*arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """`dask scheduler` or `dask worker`, as a user would start it."""
    command = [sys.executable, "-m", "dask", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def scheduler(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A scheduler's process and address."""
    about = tmp_path / "scheduler.json"
    arguments = ("--host", "localhost", "--port", "0", "--no-dashboard", "--scheduler-file", about)
    with program("scheduler", *arguments) as process:
        wait_until(lambda: about.exists() and about.read_text().endswith("}"))
        yield process, json.loads(about.read_text())["address"]


def test_a_scheduler_without_workers_and_one_whose_workers_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scheduler(tmp_path) as (_, address):
        monkeypatch.setattr(cluster, "WORKERS_S", 0.2)
        with (
            pytest.raises(
                BivitError, match=rf"{address} has no workers after 0\.2 s; start some with `dask worker tcp"
            ),
            on_cluster(address, NETWORK),
        ):
            pass
        monkeypatch.setattr(cluster, "WORKERS_S", 60)
        with (
            program("worker", address, "--no-nanny", "--no-dashboard") as worker,
            on_cluster(address, NETWORK) as runner,
        ):
            running = runner(batches(1))
            next(running)
            monkeypatch.setattr(cluster, "WORKERS_S", 0.2)
            worker.kill()
            with pytest.raises(BivitError, match=r"no worker of \S+ is left since 0\.2 s; start some with"):
                list(running)


def test_a_scheduler_without_bivit_and_one_that_ends(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def hide(hidden: bool) -> None:
        import sys

        if hidden:
            sys.modules["bivit.cli.runs.cluster_task"] = None  # type: ignore[assignment]
        else:
            del sys.modules["bivit.cli.runs.cluster_task"]

    with (
        scheduler(tmp_path) as (process, address),
        program("worker", address, "--no-nanny", "--no-dashboard"),
        Client(address, set_as_default=False) as client,
    ):
        client.run_on_scheduler(hide, True)
        with (
            pytest.raises(BivitError, match=f"the scheduler {address} cannot run bivit .*; install bivit"),
            on_cluster(address, NETWORK),
        ):
            pass
        client.run_on_scheduler(hide, False)
        client.close()
        with on_cluster(address, NETWORK) as runner:
            lose(process, address, runner)
    assert "Traceback" not in capfd.readouterr().err


def lose(process: subprocess.Popen[bytes], address: str, runner: Runner) -> None:
    """End the scheduler while batches are in flight."""
    running = runner(batches(1))
    next(running)
    process.kill()
    with pytest.raises(BivitError, match=f"the connection to the scheduler {address} is lost"):
        list(running)


def test_dask_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_data(tmp_path)
    monkeypatch.setitem(sys.modules, "dask", None)
    arguments = ("--data", folder / "data.npz", "--scheduler", "localhost:1")
    done = invoke("run", folder / "net.safetensors", *arguments, cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, "pip install 'bivit[dask]'")
