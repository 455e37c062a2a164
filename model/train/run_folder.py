"""The folder of a training: what was asked for, the metrics of each epoch, and the state from which it continues.

- `config.json`: the recipe with every default, the shape, the data, the seed; a run continues only with the same;
- `metrics.jsonl`: one line an epoch; `curves.svg` and `tensorboard/` show the same numbers;
- `last.pt`: everything that a step depends on, written after each epoch, and every some steps if asked for;
- `result.json`: what the run gave, written at its end.

Every file appears whole or not at all, so that a run may be killed at any time.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...sim.errors import BivitError, check, some
from ...sim.system.files import named_errors, parse_json, read_json, read_text, whole_file, write_json, write_text
from .curves import draw_curves

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

STATE = "last.pt"
RESULT = "result.json"
#: What a fresh start removes, as patterns: all that belongs to the run before it. The first one goes first, so that a
#: folder which lost some of its files is none of a finished run.
_OWN = (RESULT, STATE, "config.json", "metrics.jsonl", "curves.svg")
_CHECKPOINTS = ("student.safetensors", "stages.*.safetensors", "teacher.safetensors")
_TENSORBOARD = "tensorboard"
#: Numbers that say where a row of metrics belongs and not how well the training does.
_INDEX = ("epoch", "step")
#: Seconds after which the curves are drawn anew: it takes a quarter of one, more than some epochs do.
_REDRAW_AFTER = 10.0


class RunFolder:
    """Reads and writes the files of one run.

    Parameters
    ----------
    path : Path
        Made when it does not exist.
    config : dict
        What the run depends on; plain values for JSON.
    resume : bool
        Continue the run in the folder; else start anew, unless just this run is finished there.
    overwrite : bool
        Start anew whatever run the folder holds.
    writes : bool
        False for all but one of several processes: they read the state and write nothing.
    keep : Path, optional
        Checkpoint that a fresh start does not remove: the teacher that was given.

    Raises
    ------
    BivitError
        When there is nothing to continue or it was started otherwise, naming the differences; when a run would be lost.
    """

    def __init__(
        self,
        path: Path,
        config: dict[str, Any],
        resume: bool = False,
        overwrite: bool = False,
        writes: bool = True,
        keep: Path | None = None,
    ) -> None:
        self.path, self.config, self.writes = path, json.loads(json.dumps(config)), writes
        self.rows: list[dict[str, Any]] = []
        self.state: dict[str, Any] | None = None
        self._board: SummaryWriter | None = None
        self._drawn = -math.inf
        if resume:
            self._continue()
        elif writes and (overwrite or not self._is_finished()):
            self._start(keep)

    @property
    def result(self) -> dict[str, Any] | None:
        """What the run gave; None while it is not finished."""
        path = self.path / RESULT
        return _read_object(path) if path.exists() else None

    def _is_finished(self) -> bool:
        """Whether the folder holds just this run, finished; any other run in it would be lost."""
        instead = "choose another folder, or give --overwrite to lose it"
        if self.result is None:
            check(
                not (self.path / STATE).exists(),
                f"{self.path} holds a run that is not finished; continue it with --resume, {instead}",
            )
            return False
        config = self.path / "config.json"
        found = _differences(_read_object(config), self.config) if config.is_file() else [f"there is no {config}"]
        check(not found, f"{self.path} holds a finished run of other values: {some(found)}; {instead}")
        return True

    def _start(self, keep: Path | None) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        before = (self.path / "config.json").is_file()
        for name in _OWN:
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / _TENSORBOARD, ignore_errors=True)
        for path in [path for name in _CHECKPOINTS if before for path in self.path.glob(name)]:
            if keep is None or path.resolve() != keep.resolve():
                path.unlink()
        write_json(self.path / "config.json", self.config)

    def _continue(self) -> None:
        check(
            (self.path / "config.json").is_file(),
            f"{self.path} holds no run to continue; start one without --resume",
        )
        found = _differences(_read_object(self.path / "config.json"), self.config)
        check(
            not found,
            f"the run in {self.path} was started with other values: {'; '.join(found)}; "
            "give the same, or start a new run in another folder",
        )
        if (self.path / STATE).exists():
            try:
                self.state = torch.load(self.path / STATE, map_location="cpu", weights_only=True)
            except Exception as error:  # torch raises what unpickling happens to meet
                raise BivitError(f"{self.path / STATE} is damaged: {error}; remove it to start the run anew") from error
            self.rows = list(self.state["rows"])

    def save_state(self, state: dict[str, Any]) -> None:
        """Write `last.pt`: the state, and the metrics so far."""
        if not self.writes:
            return
        with whole_file(self.path / STATE) as partial, partial.open("wb") as file:
            try:
                torch.save({**state, "rows": self.rows}, file)
            except RuntimeError as error:  # what torch makes of a full disk
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None
            file.flush()
            os.fsync(file.fileno())

    def add_metrics(self, row: dict[str, Any]) -> None:
        """Take in the metrics of an epoch, `phase` and `epoch` among them; the picture follows within some seconds."""
        self.rows.append(row)
        if not self.writes:
            return
        with named_errors(self.path / _TENSORBOARD):
            board = self._open_board()
            for name, value in row.items():
                if isinstance(value, int | float) and name not in _INDEX:
                    board.add_scalar(f"{row['phase']}/{name}", value, row["epoch"])
            board.flush()
        write_text(self.path / "metrics.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in self.rows))
        if time.monotonic() - self._drawn > _REDRAW_AFTER:
            self._draw()

    def _draw(self) -> None:
        write_text(self.path / "curves.svg", draw_curves(self.rows))
        self._drawn = time.monotonic()

    def finish(self, result: dict[str, Any]) -> None:
        """Draw the curves of all epochs and write `result.json`, with which the run is finished."""
        if self.writes:
            if self.rows:
                self._draw()
            write_json(self.path / RESULT, result)
        self.close()

    def close(self) -> None:
        """Close the file of TensorBoard, as far as one is open."""
        if self._board is not None:
            self._board.close()
            self._board = None

    def _open_board(self) -> SummaryWriter:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.path / _TENSORBOARD))
        return self._board


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the metrics of a run, a row an epoch, from its `metrics.jsonl`."""
    path = folder / "metrics.jsonl"
    lines = read_text(path, "the metrics of a run").splitlines()
    rows = [parse_json(line, f"line {number} of {path}") for number, line in enumerate(lines, 1)]
    check(all(isinstance(row, dict) for row in rows), f"{path} must hold a JSON object a line; train again")
    return rows


def _read_object(path: Path) -> dict[str, Any]:
    values = read_json(path, "of a run; when it is damaged, start a new run in another folder")
    check(isinstance(values, dict), f"{path} is damaged: it holds no JSON object; start a new run in another folder")
    return dict(values)


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    """Names of what differs in two JSON values, each with both values."""
    if isinstance(before, list) and isinstance(now, list):
        before, now = (dict(enumerate(values)) for values in (before, now))
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [f"{name} was {before!r}, now {now!r}"]
    found = []
    for key in dict.fromkeys([*before, *now]):
        path = f"{name}.{key}" if name else str(key)
        found += _differences(before.get(key), now.get(key), path)
    return found
