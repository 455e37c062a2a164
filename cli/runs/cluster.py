"""Batches over several machines, by Dask: results are those of one machine, and a worker that dies loses nothing.

Tasks are pure. The network is the result of a task of its own, which the workers keep and which the scheduler runs
again when it is lost; images are arguments of the tasks that classify them, so the same holds for a batch.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...sim.errors import BivitError, check
from ...sim.network.file import network_hash, save_network
from ...sim.network.network import IntNetwork
from ...sim.system.files import scratch_folder
from .classify import Classified, Done
from .cluster_task import Identity, Parcel, check_same, classify_task, identity

if TYPE_CHECKING:
    import concurrent.futures

    import numpy as np
    from distributed import Client, Future
    from numpy.typing import NDArray

    from ...model.data.source import Batch

#: Seconds until a scheduler must answer.
CONNECT_S = 10.0
#: Seconds that the run waits for a first worker, or for one to come back when all have gone.
WORKERS_S = 60.0
#: Seconds between looks at whether there still are workers.
_LOOK_S = 1.0
#: Batches in flight for each thread of the workers: one that runs and one that waits, so that no thread idles.
_IN_FLIGHT = 2

_ADDRESS = re.compile(r"(?:(?:tcp|tls)://)?(?:[\w.-]+|\[[\da-fA-F:.]+\]):(\d{1,5})")
_HOW = "start one with `dask scheduler` and workers with `dask worker ADDRESS` (docs/reference.md)"


@dataclass(frozen=True, eq=False)
class _Pending:
    """A batch in flight: its labels, its task, and the answer that is on its way, a list of one."""

    labels: NDArray[np.int64]
    task: Future
    answer: concurrent.futures.Future[list[Classified]]


class Cluster:
    """Runner (`cli.runs.classify.Runner`) that spreads batches over the workers of a Dask cluster.

    At most two batches for each thread of the workers are in flight; reading the next ones goes on meanwhile.

    Parameters
    ----------
    client : Client
        Connected to a scheduler that has workers.
    network : IntNetwork

    Attributes
    ----------
    workers : int
        How many there were at the start.
    """

    def __init__(self, client: Client, network: IntNetwork) -> None:
        self.workers = len(client.nthreads())
        self._client, self._run = client, uuid.uuid4().hex
        self._pending: deque[_Pending] = deque()
        with scratch_folder("bivit-network") as folder:
            path = folder / "network.safetensors"
            save_network(network, path)
            file = path.read_bytes()
        self._parcel = client.submit(Parcel, file, network_hash(network), key=f"bivit-network-{self._run}")

    def __call__(self, batches: Iterator[Batch]) -> Iterator[Done]:
        """Run batches and yield them in order, each with the wall time since the one before.

        Raises
        ------
        BivitError
            When a batch cannot be read, after the batches before it; when all workers or the scheduler are gone, or
            a worker has another bivit.
        """
        since, unreadable = time.perf_counter(), None
        more, sent = True, 0
        while more or self._pending:
            while more and len(self._pending) < self._limit():
                try:
                    batch = next(batches, None)
                except BivitError as error:
                    batch, unreadable = None, error
                more = batch is not None
                if batch is not None:
                    self._send(batch, sent)
                    sent += 1
            if self._pending:
                result = self._wait(self._pending[0])
                now = time.perf_counter()
                yield Done(self._pending.popleft().labels, result, now - since)
                since = now
        if unreadable is not None:
            raise unreadable

    def cancel(self) -> None:
        """Take back what has not run."""
        futures = [self._parcel, *(pending.task for pending in self._pending)]
        self._pending.clear()
        if self._client.status == "running":
            # Whatever the scheduler makes of it: it forgets the tasks of a client that leaves.
            with suppress(OSError, TimeoutError):
                self._client.cancel(futures)

    def _limit(self) -> int:
        # One more than Dask's own mark, above which it spreads tasks instead of sending them to where the network is.
        with _scheduler_errors(self._client):
            return _IN_FLIGHT * sum(self._client.nthreads().values()) + 1

    def _send(self, batch: Batch, number: int) -> None:
        key = (f"bivit-classify-{self._run}", number)
        with _scheduler_errors(self._client):
            future = self._client.submit(classify_task, self._parcel, batch.images, identity(), key=key)
        # Fetched by Dask's own thread: waits on `Future` itself that are given up leave tracebacks behind.
        fetch = self._client.gather([future], asynchronous=True)
        loop: Any = self._client.loop
        answer = asyncio.run_coroutine_threadsafe(fetch, loop.asyncio_loop)
        self._pending.append(_Pending(batch.labels, future, answer))

    def _wait(self, pending: _Pending) -> Classified:
        """Wait for a batch as long as there are workers."""
        seen = time.monotonic()
        while True:
            wait([pending.answer], timeout=_LOOK_S)
            if pending.task.status == "error":
                raise _failure(pending.task.exception())
            with _scheduler_errors(self._client):
                if pending.answer.done():
                    return pending.answer.result()[0]
                seen = time.monotonic() if self._client.nthreads() else seen
            check(
                time.monotonic() - seen < WORKERS_S,
                f"no worker of {_address(self._client)} is left since {WORKERS_S:g} s; start some with `dask worker`",
            )


@contextmanager
def on_cluster(address: str, network: IntNetwork) -> Iterator[Cluster]:
    """Connect to a scheduler, check its workers, and give a runner; leaves no task behind.

    Parameters
    ----------
    address : str
        HOST:PORT of the scheduler, with or without `tcp://` or `tls://` before it.
    network : IntNetwork

    Raises
    ------
    BivitError
        When the address is none, nobody answers, no worker comes, or a worker's bivit is another one.
    """
    port = _ADDRESS.fullmatch(address)
    check(
        port is not None and 0 < int(port[1]) < 1 << 16,
        "the address of a scheduler is HOST:PORT or tcp://HOST:PORT, such as tcp://localhost:8786, "
        f"got {address!r}; {_HOW}",
    )
    import dask

    # Images are sent with their task on purpose, so that it can run again; Dask would warn of the size.
    with _quiet(), dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
        client = _connect(address)
        try:
            _check_workers(client)
            cluster = Cluster(client, network)
            try:
                yield cluster
            finally:
                cluster.cancel()
        finally:
            client.close()


def _connect(address: str) -> Client:
    from distributed import Client, Security
    from distributed.comm.core import connect

    async def greet() -> None:
        comm = await connect(address, timeout=CONNECT_S, **Security().get_connection_args("client"))
        await comm.close()

    try:
        # First, because a `Client` that finds nobody leaves a thread behind, which may block the next one.
        asyncio.run(greet())
        return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, TypeError, ValueError) as error:
        # TypeError is what Dask says when `tls://` lacks certificates.
        raise BivitError(f"no Dask scheduler answers at {address} ({error}); {_HOW}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's log, with its tracebacks, from standard error: what a user must know is in an error's message."""
    import distributed  # noqa: F401  (sets the levels when it is imported)

    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _check_workers(client: Client) -> None:
    """Wait for a first worker; check that all there are, and the scheduler, have the bivit of this process."""
    address = _address(client)
    with _scheduler_errors(client):
        try:
            client.wait_for_workers(1, timeout=WORKERS_S)
        except TimeoutError as error:
            raise BivitError(
                f"the scheduler {address} has no workers after {WORKERS_S:g} s; start some with `dask worker {address}`"
            ) from error

        def probe() -> Identity:
            # Sent by value, being local: the answer of a machine without bivit is an error that names bivit.
            from bivit.cli.runs.cluster_task import identity

            return identity()

        found: dict[str, Any] = {
            f"the worker {name}": got for name, got in client.run(probe, on_error="return").items()
        }
        try:
            found[f"the scheduler {address}"] = client.run_on_scheduler(probe)
        except ImportError as error:
            found[f"the scheduler {address}"] = error
    for place, got in found.items():
        if isinstance(got, BaseException):
            raise BivitError(
                f"{place} cannot run bivit ({type(got).__name__}: {got}); install bivit {__version__} there"
            ) from got
        check_same(place, got, identity())


def _address(client: Client) -> str:
    return str(client.scheduler.address) if client.scheduler is not None else "the scheduler"


@contextmanager
def _scheduler_errors(client: Client) -> Iterator[None]:
    """Turn what Dask says when the scheduler is gone into one message."""
    try:
        yield
    except TimeoutError:
        raise
    except (CancelledError, OSError) as error:
        raise BivitError(
            f"the connection to the scheduler {_address(client)} is lost ({type(error).__name__}); "
            "start it and its workers again, then this command"
        ) from error


def _failure(error: BaseException) -> BaseException:
    """Say what a user can do about an error of a task; an error of bivit itself stays what it is."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return BivitError(
            f"one batch ended several workers, the last of them {error.last_worker.address}; their logs say why: "
            "where memory is short, take a smaller --batch or fewer threads a worker"
        )
    if isinstance(error, OSError | MemoryError):
        return BivitError(f"a worker could not run a batch ({type(error).__name__}: {error}); its log says more")
    return error
