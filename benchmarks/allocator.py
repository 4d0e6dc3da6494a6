"""What keeping freed memory is worth on a CPU: one training step with and without it.

    python benchmarks/allocator.py [--model mobilenetv2_100] [--image-size 128] [--repeats 5]

Each repeat runs both variants in fresh processes, alternating, and times the median of ten steps in each.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys

STEP = """
import statistics, sys, time
import timm, torch
from autofreeze.allocator import keep_freed_memory

model_name, size, keep = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "keep"
if keep:
    assert keep_freed_memory()
torch.manual_seed(0)
model = timm.create_model(model_name, num_classes=10).to(memory_format=torch.channels_last).train()
optimizer = torch.optim.AdamW(model.parameters(), fused=True)
images = torch.randn(32, 3, size, size).to(memory_format=torch.channels_last)
labels = torch.randint(0, 10, (32,))
times = []
for _ in range(13):
    began = time.perf_counter()
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    times.append(time.perf_counter() - began)
print(statistics.median(times[3:]))
"""


def main() -> None:
    """Measure, and print one line for each repeat and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mobilenetv2_100")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    ratios = []
    for repeat in range(options.repeats):
        seconds = {}
        for variant in ("plain", "keep") if repeat % 2 == 0 else ("keep", "plain"):
            command = [sys.executable, "-c", STEP, options.model, str(options.image_size), variant]
            seconds[variant] = float(
                subprocess.run(command, check=True, capture_output=True, text=True).stdout
            )
        ratios.append(seconds["plain"] / seconds["keep"])
        times = ", ".join(f"{variant} {value:.3f} s" for variant, value in sorted(seconds.items()))
        print(f"{times}: {ratios[-1]:.2f}×", flush=True)
    print(
        json.dumps(
            {
                "model": options.model,
                "image_size": options.image_size,
                "n": len(ratios),
                "speedup_median": statistics.median(ratios),
                "speedup_range": [min(ratios), max(ratios)],
                "machine": platform.processor() or platform.machine(),
                "libc": " ".join(platform.libc_ver()),
            }
        )
    )


if __name__ == "__main__":
    main()
