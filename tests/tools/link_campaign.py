"""Faults on the line of a simulated board: every one is repaired or reported, and none gives a wrong class.

    python tests/tools/link_campaign.py --images 100 --faults 200 --seed 1

runs the images over a quiet line and over a noisy one, then one fault at a time, and prints what came of them.
"""

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from noise import KINDS, Fault, NoisyPort
from numpy.typing import NDArray
from terminal import pseudo_terminal

from bivit.cosim.board import SimulatedBoard, simulated_board
from bivit.host import Engine, Folder, read_folder
from bivit.host.port import SerialPort
from bivit.hw import generate
from bivit.sim import BivitError, compile_network, load_engine, load_network, run_reference
from bivit.sim.engine.link import BAUD
from helpers import ROOT

#: Seconds that a simulated board may take for a frame; and where no frame may be sent again on a busy machine.
PATIENCE_S, LONG_PATIENCE_S = 1.0, 60.0
#: Bytes of a short run, in each direction, among which a fault is put.
_SPAN = 200


@dataclass
class Bench:
    """A simulated board with the network for the digits, and its host's side of the line."""

    board: SimulatedBoard
    line: NoisyPort
    folder: Folder
    images: NDArray[np.uint8]
    logits: NDArray[np.int64]
    engine: Engine

    def again(self) -> None:
        """Open a session anew, as after an error."""
        self.engine = Engine(self.line, patience_s=PATIENCE_S).load(self.folder)


@contextmanager
def bench(images: int, *, name: str = "digits", embed: bool = True, patience_s: float = PATIENCE_S) -> Iterator[Bench]:
    """A board behind a pseudo-terminal, with its network in the bitstream or loaded over the line."""
    flow, network = load_engine(name), load_network(str(ROOT / "zoo/digits/network.safetensors"))
    pixels = np.random.default_rng(images).integers(0, 256, (images, 8, 8, 1), dtype=np.uint8)
    words = compile_network(network, flow).words if embed else None
    with (
        tempfile.TemporaryDirectory() as place,
        simulated_board(flow, words) as board,
        pseudo_terminal(board.port) as terminal,
    ):
        generate(flow, network, Path(place) / "engine")
        folder = read_folder(place)
        line = NoisyPort(SerialPort(terminal, BAUD), press=board.press_reset)
        engine = Engine(line, patience_s=patience_s)
        board.attend()
        engine.load(folder)
        yield Bench(board, line, folder, pixels, run_reference(network, pixels).logits, engine)


def random_fault(rng: random.Random) -> Fault:
    return Fault(rng.choice((*KINDS, "reset")), bool(rng.getrandbits(1)), rng.randrange(_SPAN))


def inject(bench: Bench, fault: Fault, count: int = 2) -> str:
    """Run some images with a fault; return what became of it: ``none``, ``repaired``, ``reported`` or ``wrong``."""
    before = bench.line.happened
    bench.line.arm(fault)
    try:
        found = bench.engine.classify(bench.images[:count])
    except BivitError as error:
        print(f"{fault}: {error}")
        bench.again()
        return "reported"
    if not np.array_equal(found, bench.logits[:count]):
        return "wrong"
    return "repaired" if bench.line.happened > before else "none"


def campaign(name: str, images: int, faults: int, seed: int, share: float, embed: bool) -> dict[str, Any]:
    """Images over a quiet and a noisy line, then faults one by one."""
    rng, outcomes = random.Random(seed), Counter[str]()
    start = time.monotonic()
    with bench(images, name=name, embed=embed) as one:
        ready_s = time.monotonic() - start
        quiet = int((one.engine.classify(one.images) != one.logits).any(1).sum())
        line_bytes = one.engine.traffic.bytes_out + one.engine.traffic.bytes_in
        one.line.share = share
        noisy = int((one.engine.classify(one.images) != one.logits).any(1).sum())
        noise, repeated = one.line.happened, one.engine.traffic.repeated
        one.line.share = 0.0
        while outcomes.total() < faults:
            fault = random_fault(rng)
            became = inject(one, fault)
            if became != "none":  # else the run was over before
                outcomes[f"{fault.kind} {became}"] += 1
        return {
            "images": images,
            "wrong_on_a_quiet_line": quiet,
            "wrong_on_a_noisy_line": noisy,
            "noise_faults": noise,
            "frames_repeated": repeated,
            "line_bytes": line_bytes,
            "faults": dict(sorted(outcomes.items())),
            "ready_s": round(ready_s, 1),
            "seconds": round(time.monotonic() - start, 1),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--engine", default="digits", help="such as ulx3s, which is on the board of this name")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.001, help="of all bytes that are damaged on the noisy line")
    parser.add_argument("--load", action="store_true", help="load the network over the line")
    chosen = parser.parse_args()
    counts = chosen.images, chosen.faults, chosen.seed, chosen.share
    print(json.dumps(campaign(chosen.engine, *counts, not chosen.load), indent=1))


if __name__ == "__main__":
    main()
