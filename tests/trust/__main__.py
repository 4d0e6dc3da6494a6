"""Tries every check and says what came of it.

    python -m tests.trust [--long] [--only NAME …] [--jobs 2] [--seed 0]

Without ``--long``, as often as pytest does. With it, and without ``--only``, the table of docs/trust.md is
written anew. The exit status is 1 when anything was lost or wrong.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from autofreeze.provenance import machine, versions  # noqa: E402
from trust.catalogue import all_checks  # noqa: E402 - found by the path
from trust.check import Check  # noqa: E402
from trust.table import Row, renew  # noqa: E402


def attempt(check: Check, times: int, seed: int) -> Row:
    """Try a check in a process of its own; one that breaks counts as wrong."""
    began = time.monotonic()
    path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH", ""))))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcome.json"
        done = subprocess.run(
            [sys.executable, "-m", "trust.one", check.name, str(times), str(seed), str(file)],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if file.exists():
            return Row(check.name, check.fault, json.loads(file.read_text(encoding="utf-8")))
    broken = f"the check itself broke: {done.stdout[-1000:]}{done.stderr[-3000:]}"
    took = time.monotonic() - began
    outcome = {"tried": 0, "lost": [], "wrong": [broken], "recovery": [], "note": "", "took": took}
    return Row(check.name, check.fault, outcome)


def about(seed: int) -> str:
    """Say when and where this was run."""
    here, packages = machine("cpu", 1), versions()
    return (
        f"{datetime.now(UTC).date().isoformat()}, seed {seed}, {here['cores']} cores, {here['system']}; "
        + ", ".join(f"{name} {version}" for name, version in packages.items())
    )


def main() -> int:
    """Try the checks."""
    parser = argparse.ArgumentParser(prog="python -m tests.trust", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--long", action="store_true", help="as often as it takes; renews the table in docs/trust.md"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="these checks alone: kill-search, or all of a word: kill"
    )
    parser.add_argument(
        "--jobs", type=int, default=2, help="checks at a time; those with Ray come beside them, one by one"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    def wanted(check: Check) -> bool:
        return options.only is None or any(
            one == (check.name if "-" in one else check.family) for one in options.only
        )

    checks = [check for check in all_checks() if wanted(check)]
    if not checks:
        parser.error(f"no such check; there are {', '.join(map(str, all_checks()))}")

    def tried(check: Check) -> Row:
        row = attempt(check, check.long if options.long else check.quick, options.seed)
        print(row, flush=True)
        for what in ("lost", "wrong"):
            for sentence in row.outcome[what]:
                print(f"  {what}: {sentence}", flush=True)
        return row

    # Two clusters of one machine would meet; one waits more than it computes.
    with ThreadPoolExecutor(options.jobs) as pool, ThreadPoolExecutor(1) as cluster:
        attempts = [(cluster if check.ray else pool).submit(tried, check) for check in checks]
    rows = [one.result() for one in attempts]
    if options.long and options.only is None:
        renew(about(options.seed), rows)
    return 1 if any(row.outcome["lost"] or row.outcome["wrong"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
