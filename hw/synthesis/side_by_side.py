"""Runs of tools side by side: threads wait for them, since each is a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from ...sim.errors import BivitError
from ...sim.system.children import stop_programs

Name = TypeVar("Name", bound=Hashable)


def side_by_side(
    tasks: Mapping[Name, Callable[[], Any]], jobs: int, told: Callable[[Name, Any], None]
) -> dict[Name, Any]:
    """Return what each task gave, in their order: its result, or the error that a user can understand.

    Any other error, or Ctrl-C, ends the programs that run.

    Parameters
    ----------
    tasks : mapping of callable
        By name.
    jobs : int
        At a time.
    told : callable
        Is told of each that ends: its name, and what it gave.
    """
    results: dict[Name, Any] = {}
    with ThreadPoolExecutor(jobs) as pool:
        running: dict[Future[Any], Name] = {pool.submit(task): name for name, task in tasks.items()}
        try:
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    error = future.exception()
                    if error is not None and not isinstance(error, BivitError):
                        raise error
                    results[name] = error or future.result()
                    told(name, results[name])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_programs()
            raise
    return {name: results[name] for name in tasks}
