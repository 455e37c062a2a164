"""How fast a Bi-ViT trains, compared with its real-valued twin in the same run; `make bench` runs it.

python examples/bench_training.py                  the preset `fashion`, plain, compiled, and compiled with bfloat16
python examples/bench_training.py PRESET [STEPS]   another preset, or more steps of 64 images
python examples/bench_training.py --quick          the preset `digits`, plain, a few steps
"""

import statistics
import sys
import time

import torch
import torch.nn.functional as F

from bivit.model import BiViT, RealViT, precision
from bivit.sim import preset

BATCH = 64
#: Steps before the clock starts: compilation and first allocations.
WARM_UP = 3
#: Name, compiled, precision.
SETTINGS = (("plain", False, "fp32"), ("compiled", True, "fp32"), ("compiled, bf16", True, "bf16"))


def images_per_second(model, compiled: bool, name: str, steps: int) -> float:
    """Median over the steps of a whole training step: forward, backward, AdamW."""
    config = model.config
    torch.manual_seed(0)
    images = torch.randint(0, 256, (BATCH, config.img_size, config.img_size, config.in_chans), dtype=torch.uint8)
    labels = torch.randint(0, config.num_classes, (BATCH,))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    if compiled:
        for _, block in model.named_blocks():
            block.compile()
    times = []
    for _ in range(WARM_UP + steps):
        start = time.perf_counter()
        with precision(name, torch.device("cpu")):
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if isinstance(model, BiViT):
            model.project()
        times.append(time.perf_counter() - start)
    return BATCH / statistics.median(times[WARM_UP:])


def main() -> None:
    """Print one line for each setting."""
    quick = "--quick" in sys.argv
    words = [word for word in sys.argv[1:] if not word.startswith("--")] or ["digits" if quick else "fashion"]
    name, steps = words[0], int(words[1]) if len(words) > 1 else 3 if quick else 20
    torch.set_num_threads(1)
    for text, compiled, products in SETTINGS[:1] if quick else SETTINGS:
        # Blocks of one class share their compiled code up to a limit, which a second model would use up.
        torch.compiler.reset()
        real = images_per_second(RealViT(preset(name)).train(), compiled, products, steps)
        torch.compiler.reset()
        binary = images_per_second(BiViT(preset(name)).train(), compiled, products, steps)
        print(f"{name}, {text}, 1 thread: twin {real:,.0f}, Bi-ViT {binary:,.0f} images/s: ratio {binary / real:.2f}")


if __name__ == "__main__":
    main()
