"""Whole networks side by side with other engines: one job of `bivit bench`, in a process of its own.

The real-valued twin has the weights of torch's seed 0, the integer network those of `sim.network.random`: the time of
neither depends on them.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...sim.network.network import IntNetwork
from ...sim.network.presets import preset
from ...sim.network.random import random_network
from ...sim.reference.run import run_reference
from ...sim.system.files import scratch_folder
from .job import ModelJob
from .results import ModelTimes

Engine = Callable[[], Any]

#: Of the integer network.
OURS = "bivit"
#: Images of a turn, or more; and seconds before it, in which the threads of the engine before stop to wait for work.
_IMAGES, _PAUSE = 8, 0.2


def run_job(job: ModelJob) -> ModelTimes:
    """Time every engine in each round, in turns: after a pause, its median over a few runs."""
    with scratch_folder("bivit-bench") as folder, warnings.catch_warnings():
        # Exporters and compilers warn of what concerns their own future.
        warnings.simplefilter("ignore")
        engines = _engines(job, folder)
        times: dict[str, list[float]] = {name: [] for name in engines}
        for run in engines.values():
            run()
        for _ in range(job.rounds):
            for name, run in engines.items():
                times[name].append(1e3 * _turn(run, max(1, _IMAGES // job.batch)) / job.batch)
    own = times.pop(OURS)
    found: dict[str, float] = {}
    for name, others in times.items():
        found[f"ms_{name}"] = statistics.median(others)
        found[f"ratio_{name}"] = statistics.median(other / mine for other, mine in zip(others, own, strict=True))
    return ModelTimes(
        name=job.preset,
        batch=job.batch,
        threads=job.threads,
        ms_per_image=statistics.median(own),
        ms_low=min(own),
        ms_high=max(own),
        others=found,
    )


def _turn(run: Engine, runs: int) -> float:
    """Return the median seconds of a few runs; the first of them find the caches as another engine left them."""
    time.sleep(_PAUSE)
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def network_and_images(job: ModelJob) -> tuple[IntNetwork, NDArray[np.uint8]]:
    """Return a network with random weights, and random pixels."""
    config = preset(job.preset)
    shape = (job.batch, config.img_size, config.img_size, config.in_chans)
    return random_network(config, seed=1), np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)


def _engines(job: ModelJob, folder: Path) -> dict[str, Engine]:
    network, images = network_and_images(job)
    engines: dict[str, Engine] = {OURS: lambda: run_reference(network, images, threads=job.threads)}
    if any(name.startswith("torch") for name in job.engines):
        engines |= _torch_engines(job, images)
    if any(name.startswith("ort") for name in job.engines):
        engines |= _ort_engines(job, images, folder)
    return {name: run for name, run in engines.items() if name in (OURS, *job.engines)}


def _twin(job: ModelJob) -> Any:
    import torch

    from ...model.vit.vit import RealViT

    torch.manual_seed(0)
    torch.set_num_threads(job.threads)
    return RealViT(preset(job.preset)).eval()


def _torch_engines(job: ModelJob, images: NDArray[np.uint8]) -> dict[str, Engine]:
    import torch

    plain, compiled, pixels = _twin(job), _twin(job), torch.from_numpy(images)
    for _, block in compiled.named_blocks():
        block.compile()

    def run(model: Any) -> None:
        with torch.inference_mode():
            model(pixels)

    return {"torch_float32": lambda: run(plain), "torch_compiled": lambda: run(compiled)}


def _ort_engines(job: ModelJob, images: NDArray[np.uint8], folder: Path) -> dict[str, Engine]:
    """ONNX Runtime with torch's export of the twin, and with its weights and activations in 8 bits.

    Dynamic quantization was faster here than static quantization of the same model.
    """
    import onnxruntime
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    real, narrow = folder / "float32.onnx", folder / "int8.onnx"
    torch.onnx.export(_twin(job), (torch.from_numpy(images),), str(real), dynamo=True, verbose=False)
    quantize_dynamic(real, narrow, weight_type=QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = job.threads, 1
    options.log_severity_level = 3

    def engine(path: Path) -> Engine:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: images}
        return lambda: session.run(None, feed)

    return {"ort_float32": engine(real), "ort_int8": engine(narrow)}


def peak_memory_mib(job: ModelJob) -> float | None:
    """Return the most memory that this process has held, after a run of the integer network alone, in MiB.

    None where the system does not tell.
    """
    network, images = network_and_images(job)
    for _ in range(2):
        run_reference(network, images, threads=job.threads)
    return held_mib()


def held_mib() -> float | None:
    """Most memory that this process has held, in MiB; None where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")]
    return found[0] if found else None


def main() -> None:
    """Run the job of the first argument, or measure its memory; print JSON after whatever other engines print."""
    job = ModelJob(**json.loads(sys.argv[2]))
    result = asdict(run_job(job)) if sys.argv[1] == "time" else peak_memory_mib(job)
    sys.stdout.write("\n" + json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
