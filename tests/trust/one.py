"""Runs one check in a process of its own: ``python -m trust.one NAME TIMES SEED FILE`` writes its outcome."""

import json
import sys
import tempfile
import time
from pathlib import Path

from trust.catalogue import all_checks
from trust.check import Effort


def main(name: str, times: str, seed: str, file: str) -> None:
    """Run the check."""
    [check] = [one for one in all_checks() if one.name == name]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"trust-{name}-") as folder:
        outcome = check.run(Effort(times=int(times), seed=int(seed), folder=Path(folder).resolve()))
        took = time.monotonic() - began
    Path(file).write_text(json.dumps({**outcome.as_dict(), "took": took}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
