"""Four trials on a quarter of a GPU each, against one after the other: seconds, memory, and the same study.

    python benchmarks/ray_gpu.py DATA MODEL WEIGHTS [--image-size 128] [--epochs 6] [--trials 24]
        [--repeats 3]

Both ways run the same list of trials (``--sampler qmc``, nothing pruned), alternating, on one GPU. While four
run, the memory of each process is read every half second from ``nvidia-smi``. Told are the median and range
of the seconds of both, their ratio, the most that a process held against its cap, and the trials whose values
differ. Without a GPU nothing is run.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter

import torch

import autofreeze
from autofreeze.provenance import machine, versions
from autofreeze.results import StudyResult

SHARE = 0.25


def main() -> None:
    """Read the command line, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for argument in ("data", "model", "weights"):
        parser.add_argument(argument)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no GPU that torch knows of is here; nothing was run")
    print(json.dumps({"versions": versions(), "machine": machine("cuda", torch.get_num_threads())}))
    seconds: dict[str, list[float]] = {"one after the other": [], "four at once": []}
    held: Counter[int] = Counter()
    differ: list[int] = []
    for _ in range(given.repeats):
        alone, took = timed(given, {})
        seconds["one after the other"].append(took)
        with Memory() as memory:
            together, took = timed(given, {"ray": "local", "gpus_per_trial": SHARE, "max_concurrent": 4})
        seconds["four at once"].append(took)
        held |= memory.most
        differ.append(differing(alone, together))
    report(seconds, held, differ)


def timed(given: argparse.Namespace, placing: dict[str, object]) -> tuple[StudyResult, float]:
    """Run the list of trials, in a cache of its own."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        result = autofreeze.search(
            given.data,
            given.model,
            weights=given.weights,
            image_size=given.image_size,
            epochs=given.epochs,
            trials=given.trials,
            sampler="qmc",
            prune=False,
            confirm=0,
            threads=1,
            device="cuda",
            cache_folder=f"{folder}/cache",
            out=f"{folder}/run",
            **placing,
        )
        return result, time.perf_counter() - began


def differing(one: StudyResult, other: StudyResult) -> int:
    """Count trials whose values by fold are not the same."""
    pairs = zip(one.trials, other.trials, strict=True)
    return sum(a.fold_values != b.fold_values for a, b in pairs)


class Memory:
    """The most memory of the GPU that each process held within a block, in MiB."""

    def __init__(self) -> None:
        self.most: Counter[int] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        command = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
        while not self._over.wait(0.5):
            told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            for line in told.splitlines():
                pid, _, used = line.partition(",")
                if pid.strip().isdigit() and used.strip().isdigit():
                    self.most |= Counter({int(pid): int(used)})


def report(seconds: dict[str, list[float]], held: Counter[int], differ: list[int]) -> None:
    """Print what was found."""
    medians = {}
    for name, each in seconds.items():
        medians[name] = statistics.median(each)
        print(
            f"{name:<20} {medians[name]:8.1f} s (median of {len(each)}; {min(each):.1f} to {max(each):.1f})"
        )
    print(f"{'ratio':<20} {medians['one after the other'] / medians['four at once']:8.2f}")
    total = torch.cuda.get_device_properties(0).total_memory / 2**20
    most = max(held.values(), default=0)
    cap = SHARE * total
    print(f"memory               {most} MiB in one process at most, with CUDA's own; its cap {cap:.0f} MiB")
    print(f"trials with other values, by repeat: {differ}")


if __name__ == "__main__":
    main()
