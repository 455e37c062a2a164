"""`bivit demo`: every stage on real images, from training to a bit-exact co-simulation and the report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..sim.system.files import write_json
from ..sim.system.locks import owned_folder
from ..sim.system.result import INLINE, Result
from .cosim import EXIT_MISMATCH
from .runs.exporting import CALIBRATION_IMAGES, export_checkpoint
from .runs.simulating import simulate_runs
from .runs.training import TrainOptions, train_pair
from .shared.common import JsonFlag, format_value, messages, show
from .shared.progress import step
from .train import EpochsOption

if TYPE_CHECKING:
    from ..cosim.summary import CosimSummary
    from .pages.gather import Gathered
    from .runs.compare import ComparedStudent
    from .runs.training import TrainedPair

_PRESET = _DATA = "digits"
_ENGINE = "sim"
#: Share of beats that wait, in the run with stalls.
_STALL = 0.2


@dataclass
class Demo:
    """Runs the stages in order, each with its time.

    Parameters
    ----------
    out : Path
        Folder for everything that is written.
    images : int
        Test images to co-simulate.
    epochs : int or None
        Instead of the recipes'.
    seed : int
        Of training and stalls.
    seconds : dict
        Time of each stage, filled as they end.
    """

    out: Path
    images: int
    epochs: int | None
    seed: int
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """What repeats this demo."""
        epochs = "" if self.epochs is None else f" --epochs {self.epochs}"
        return f"bivit demo --out {self.out} --images {self.images} --seed {self.seed}{epochs}"

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Announce a stage and time it."""
        start = time.perf_counter()
        with step(f"{len(self.seconds) + 1}. {name}"):
            yield
        self.seconds[name] = time.perf_counter() - start

    def run(self) -> Summary:
        """Run all stages; write `summary.json`, `report.json`, `report.html` and `report.md`; return the summary."""
        from ..hw.folder.generate import generate
        from ..model.data.dataset import take
        from ..sim.flow.presets import load_engine
        from ..sim.mapping.program import FlowProgram
        from ..sim.network.file import load_network
        from .pages.gather import Gathered
        from .runs.compare import compare_student
        from .runs.estimates import estimate_tables

        with self.stage("train teacher and student"):
            options = TrainOptions(_PRESET, _DATA, self.out, epochs=self.epochs, seed=self.seed, overwrite=True)
            trained = train_pair(options, command=self.command, progress=True)
            assert trained is not None  # there are no other processes
        path, student = self.out / "network.safetensors", Path(trained.student)
        with self.stage("fold into integers"):
            exported = export_checkpoint(student, _DATA, path, CALIBRATION_IMAGES, self.command)
        network, engine = load_network(path), load_engine(_ENGINE)
        with self.stage("compare torch, integer mode and reference on every test image"):
            compared = compare_student(network, student, _DATA)
        with self.stage("generate Verilog"):
            images = take(compared.test, self.images).images
            verilog = self.out / "verilog"
            generated = generate(engine, network, verilog, images=images, data=compared.test.name, overwrite=True)
        program = generated.program
        assert isinstance(program, FlowProgram)
        with self.stage("co-simulate under Verilator"):
            cosim = simulate_runs(
                network,
                engine,
                images,
                stall=_STALL,
                seed=self.seed,
                simulator="verilator",
                out_dir=self.out / "cosim",
                verilog=generated.verilog.read_text(encoding="utf-8"),
            )
        with self.stage("estimate resources and latency"):
            estimates = estimate_tables(network, engine)
        summary = _summary(trained, compared, cosim)
        with self.stage("write the report"):
            self._report(
                Gathered(
                    name=_PRESET,
                    engine_name=_ENGINE,
                    command=self.command,
                    network=network,
                    program=program,
                    trained=trained,
                    exported=exported,
                    compared=compared,
                    cosim=cosim,
                    estimates=estimates,
                )
            )
        write_json(self.out / "summary.json", {**summary.to_dict(), "seconds": self.seconds})
        return summary

    def _report(self, found: Gathered) -> None:
        """Write the report, and its pages as `bivit report` writes them: from the file."""
        from .pages.gather import gather
        from .report import write_pages

        write_json(self.out / "report.json", gather(found, self.out).to_dict())
        write_pages(self.out)


@dataclass(frozen=True, kw_only=True)
class Summary(Result):
    """What a demo found, as its `summary.json` holds it.

    Parameters
    ----------
    top1_float, top1_student, top1_integer : float
        Of the teacher, of the trained student, and of the integer network.
    test_images : int
    agreement : float
        Share of the test images on which the trained student and the integer network predict the same.
    integer_mode_images, integer_mode_tensors : int
        What torch's integer mode was compared on: images, and tensors of each.
    integer_mode_differing : list of str
        Tensors that differ.
    cosim : CosimSummary
    """

    top1_float: float | None
    top1_student: float
    top1_integer: float
    test_images: int
    agreement: float
    integer_mode_images: int
    integer_mode_tensors: int
    integer_mode_differing: list[str]
    cosim: CosimSummary = field(metadata=INLINE)


def _summary(trained: TrainedPair, compared: ComparedStudent, cosim: CosimSummary) -> Summary:
    mode = compared.integer_mode
    return Summary(
        top1_float=trained.top1_teacher,
        top1_student=trained.top1_student,
        top1_integer=compared.top1_integer,
        test_images=len(compared.test),
        agreement=compared.same_predictions,
        integer_mode_images=mode.images,
        integer_mode_tensors=mode.tensors,
        integer_mode_differing=sorted(mode.differing),
        cosim=cosim,
    )


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that is written.")] = Path("out/demo"),
    images: Annotated[int, typer.Option(min=1, help="Test images to co-simulate.")] = 16,
    epochs: EpochsOption = None,
    seed: Annotated[int, typer.Option(help="Of training and stalls.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Run every stage on the digits: train, fold, compare, generate, co-simulate, estimate, report.

    Leaves summary.json, report.html, report.md, verilog/, the checkpoints and the network in the folder.
    Exit code 0 when all implementations agree and the cycles are those estimated, 1 when not.

    Example: bivit demo --out out/demo
    """
    whole = Demo(out, images, epochs, seed)
    with owned_folder(out):
        summary = whole.run()
    if as_json:
        show(summary, True, "")
    else:
        values = summary.to_dict()
        plain = {name: value for name, value in values.items() if value is not None and not isinstance(value, list)}
        show(plain, False, f"results in {out}")
        messages.print(f"open {out / 'report.html'} ({format_value(sum(whole.seconds.values()))} s in all)")
    if not summary.cosim.agrees or summary.integer_mode_differing:
        raise typer.Exit(EXIT_MISMATCH)
