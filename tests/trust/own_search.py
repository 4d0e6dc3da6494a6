"""A search of an own training, on Ray or in this process.

    python -m trust.own_search OUT TRIALS SECONDS [ADDRESS]

What an epoch comes to follows from the one before it, so a run that goes on from a wrong state is found out.
SECONDS is how long an epoch takes.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import autofreeze
from autofreeze.errors import AutofreezeError
from autofreeze.job import Job

OUT, TRIALS, SECONDS = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])


def fit(job: Job, seconds: float = SECONDS) -> Iterator[float]:
    """Train: each epoch is a hash of the one before it."""
    import hashlib  # a worker gets this function alone
    import time

    file = job.checkpoint
    told = file.read_text().split() if file.exists() else []
    for epoch in range(job.epochs):
        if epoch == len(told):
            time.sleep(seconds)
            before = told[-1] if told else f"{job.seed} {job.schedule}"
            told.append(hashlib.sha256(before.encode()).hexdigest())
            fresh = file.with_suffix(".new")
            fresh.write_text(" ".join(told))
            fresh.replace(file)
        yield int(told[epoch][:8], 16) / 2**32


if __name__ == "__main__":
    try:
        autofreeze.search(
            fit=fit, groups=("stem", "body", "head"), space="quick", trials=TRIALS, epochs=6, folds=1,
            confirm=0, prune=False, sampler="qmc", out=OUT, resume=(OUT / "run.json").exists(),
            ray=sys.argv[4] if sys.argv[4:] else None,
        )  # fmt: skip
    except AutofreezeError as error:
        sys.exit(f"autofreeze: {error}")
