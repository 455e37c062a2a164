"""`bivit demo`: every stage on real images, from training to a bit-exact co-simulation and the report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..sim.system.files import write_json
from ..sim.system.locks import owned_folder
from .cosim import EXIT_MISMATCH, agrees, simulate_runs
from .export import CALIBRATION_IMAGES, export_checkpoint
from .shared.common import JsonFlag, format_value, messages, show
from .shared.progress import step
from .train import EpochsOption, TrainOptions, train_pair

if TYPE_CHECKING:
    from ..sim.network.network import IntNetwork
    from ..sim.program.compiler import Program
    from .runs.compare import Comparison

_PRESET = _DATA = _ENGINE = "digits"
#: Share of beats that wait, in the run with stalls.
_STALL = 0.2
#: Test images that the attention heads are measured on.
_REPORT_IMAGES = 128


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

    def run(self) -> dict[str, Any]:
        """Run all stages; write `summary.json`, `report.json`, `report.html` and `report.md`; return the summary."""
        from ..hw.emit import generate
        from ..model.data.dataset import take
        from ..sim.engine.presets import load_engine
        from ..sim.network.file import load_network
        from .estimate import estimate_tables

        with self.stage("train teacher and student"):
            options = TrainOptions(_PRESET, _DATA, self.out, epochs=self.epochs, seed=self.seed, overwrite=True)
            trained = train_pair(options, command=self.command, progress=True)
        path = self.out / "network.safetensors"
        with self.stage("fold into integers"):
            exported = export_checkpoint(Path(trained["student"]), _DATA, path, CALIBRATION_IMAGES, self.command)
        network, engine = load_network(path), load_engine(_ENGINE)
        with self.stage("compare torch, integer mode and reference on every test image"):
            compared = _compare(network, Path(trained["student"]))
        with self.stage("generate Verilog"):
            generated = generate(engine, network, self.out / "verilog")
        program = generated.program
        assert program is not None
        with self.stage("co-simulate under Verilator"):
            cosim = simulate_runs(
                network,
                engine,
                take(compared["test"], self.images).images,
                stall=_STALL,
                seed=self.seed,
                simulator="verilator",
                out_dir=self.out / "cosim",
                verilog=generated.verilog.read_text(encoding="utf-8"),
            )
        with self.stage("estimate resources and latency"):
            estimates = estimate_tables(program)
        summary = self._summary(trained, compared, cosim)
        with self.stage("write the report"):
            self._report(trained, exported, compared, cosim, estimates, network, program)
        write_json(self.out / "summary.json", {**summary, "seconds": self.seconds})
        return summary

    def _summary(self, trained: dict[str, Any], compared: dict[str, Any], cosim: dict[str, Any]) -> dict[str, Any]:
        mode: Comparison = compared["integer_mode"]
        return {
            "top1_float": trained["top1_teacher"],
            "top1_student": trained["top1_student"],
            "top1_integer": compared["top1_integer"],
            "test_images": len(compared["test"]),
            "agreement": compared["same_predictions"],
            "integer_mode_images": mode.images,
            "integer_mode_tensors": mode.tensors,
            "integer_mode_differing": sorted(mode.differing),
            **cosim,
        }

    def _report(
        self,
        trained: dict[str, Any],
        exported: dict[str, Any],
        compared: dict[str, Any],
        cosim: dict[str, Any],
        estimates: dict[str, Any],
        network: IntNetwork,
        program: Program,
    ) -> None:
        from ..model.attention_report import attention_report
        from ..model.data.dataset import take
        from ..model.files.checkpoint import load_checkpoint
        from ..model.train.run_folder import read_metrics
        from ..model.vit.vit import BiViT, RealViT
        from .pages.gather import Gathered, gather
        from .pages.page import render

        teacher = load_checkpoint(trained["teacher"], kind="float").model
        student = load_checkpoint(trained["student"], kind="binary").model
        assert isinstance(teacher, RealViT)
        assert isinstance(student, BiViT)
        test = compared["test"]
        models = (
            ("real-valued teacher", "float32", trained["top1_teacher"]),
            ("Bi-ViT student, as trained", "single bits and roundings, in torch", trained["top1_student"]),
            ("integer network", "integers only, as the hardware", compared["top1_integer"]),
        )
        accuracy = [
            {"model": model, "arithmetic": arithmetic, "images": len(test), "top1": top1}
            for model, arithmetic, top1 in models
        ]
        report = gather(
            Gathered(
                name=_PRESET,
                engine_name=_ENGINE,
                teacher=teacher,
                network=network,
                program=program,
                test=test,
                accuracy=accuracy,
                same_predictions=compared["same_predictions"],
                integer_mode=compared["integer_mode"],
                warnings=exported["warnings"],
                cosim=cosim,
                estimates=estimates,
                training=read_metrics(self.out),
                heads=attention_report(student, take(test, _REPORT_IMAGES).images),
                facts={"command": self.command},
            )
        )
        write_json(self.out / "report.json", report)
        render(report, self.out)


def _compare(network: IntNetwork, student: Path) -> dict[str, Any]:
    """Compare the trained student and torch's integer mode with the reference on the whole test split."""
    from ..model.data.open import load_dataset
    from ..model.evaluate import predict
    from ..model.files.checkpoint import load_checkpoint
    from ..model.integer.run import run_integer
    from ..sim.reference.run import run_reference
    from .runs.compare import compare_taps

    test = load_dataset(_DATA, "test")
    integer = run_reference(network, test.images).predictions
    of_model = predict(load_checkpoint(student).model, test.images).numpy()
    return {
        "test": test,
        "top1_integer": float((integer == test.labels).mean()),
        "same_predictions": float((integer == of_model).mean()),
        "integer_mode": compare_taps(network, lambda images: run_integer(network, images).taps, test.images),
    }


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
        plain = {name: value for name, value in summary.items() if value is not None and not isinstance(value, list)}
        show(plain, False, f"results in {out}")
        messages.print(f"open {out / 'report.html'} ({format_value(sum(whole.seconds.values()))} s in all)")
    if not agrees(summary) or summary["integer_mode_differing"]:
        raise typer.Exit(EXIT_MISMATCH)
