"""One whole search with what is frozen kept for all trials, and without: the same result, in less time.

    python benchmarks/whole_search.py run with|without DATA OUT [--model NAME] [--weights FILE]
        [--image-size 64] [--preset quick] [--threads 1]
    python benchmarks/whole_search.py compare OUT [--json FILE]

``run`` searches DATA, confirmation included, with an empty cache of its own, into OUT/with or OUT/without.
The two may go side by side, each pinned to a core (taskset -c 0, taskset -c 1). ``compare`` reads both: every
record of every run has to be the same but for its seconds, and so has the choice; then it tells the seconds.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from autofreeze import api
from autofreeze.report.files import read_report
from autofreeze.results import StudyResult


def main() -> None:
    """Run one side, or compare both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    does = parser.add_subparsers(dest="does", required=True)
    run = does.add_parser("run")
    run.add_argument("side", choices=("with", "without"))
    run.add_argument("data", type=Path)
    run.add_argument("out", type=Path)
    run.add_argument("--model", default="mobilenetv2_100")
    run.add_argument("--weights")
    run.add_argument("--image-size", type=int, default=64)
    run.add_argument("--preset", default="quick")
    run.add_argument("--trials", type=int)
    run.add_argument("--threads", type=int, default=1)
    compare = does.add_parser("compare")
    compare.add_argument("out", type=Path)
    compare.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.does == "run":
        search(given)
    else:
        told = compared(given.out)
        print(json.dumps(told, indent=1))
        if given.json:
            given.json.write_text(json.dumps(told, indent=1) + "\n")


def search(given: argparse.Namespace) -> None:
    """Search with or without; nothing is measured beforehand, nothing is shown."""
    began = time.perf_counter()
    api.search(
        str(given.data), given.model, weights=given.weights, from_scratch=given.weights is None,
        image_size=given.image_size, preset=given.preset, trials=given.trials, threads=given.threads,
        out=given.out / given.side, cache_folder=str(given.out / f"cache-{given.side}"),
        reuse=given.side == "with",
    )  # fmt: skip
    took = time.perf_counter() - began
    (given.out / f"{given.side}.json").write_text(json.dumps({"wall": took, "cpu": time.process_time()}))


def compared(out: Path) -> dict[str, Any]:
    """Compare the two runs."""
    sides = ("with", "without")
    reports = {side: read_report(out / side) for side in sides}
    clocks = {side: json.loads((out / f"{side}.json").read_text()) for side in sides}
    lines = {side: records(out / side) for side in sides}
    confirmed = {side: _fresh_seconds(report) for side, report in reports.items()}
    searched = {side: sum(one.seconds for one in report.trials) for side, report in reports.items()}
    return {
        "records": len(lines["with"]),
        "same_records": lines["with"] == lines["without"],
        "same_choice": len({_choice(report) for report in reports.values()}) == 1,
        "wall_seconds": {side: clocks[side]["wall"] for side in sides},
        "cpu_seconds": {side: clocks[side]["cpu"] for side in sides},
        "cpu_ratio": clocks["without"]["cpu"] / clocks["with"]["cpu"],
        "trial_seconds": searched,
        "trial_ratio": searched["without"] / searched["with"],
        "confirmation_seconds": confirmed,
        "machine": reports["with"].machine,
        "versions": reports["with"].versions,
    }


def records(run: Path) -> list[Any]:
    """Read every record of a run folder, what a clock says left out."""
    return [_without_times(json.loads(line)) for line in (run / "records.jsonl").read_text().splitlines()]


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(own) for key, own in value.items() if key not in ("seconds", "at")}
    return [_without_times(own) for own in value] if isinstance(value, list) else value


def _choice(report: StudyResult) -> int | None:
    return report.best.number if report.best else None


def _fresh_seconds(report: StudyResult) -> float:
    return report.confirmation.seconds if report.confirmation else 0.0


if __name__ == "__main__":
    main()
