# ruff: noqa: E501 - tables are read by line
"""Hostile text: the files of a run, changed at any key or cut anywhere, then read by commands, or resumed."""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from trust.changes import as_text, bent, changed, difference
from trust.check import Check, Effort, Outcome
from trust.finds import Finds, with_examples
from trust.runs import READERS, copied, image_run, read_by


def fuzz_reports(effort: Effort) -> Outcome:
    """Change one of a run's JSON files, and let every command read the run."""
    from autofreeze.report.files import read_report

    run = effort.folder / "run"
    source = image_run()
    names = [
        name for name in ("report.json", "run.json", "status.json", "test.json") if (source / name).exists()
    ]
    files = {name: (source / name).read_bytes() for name in names}
    copied(source, run)
    strategy = st.tuples(
        st.one_of(
            *(
                st.tuples(st.just(name), kind)
                for name, raw in files.items()
                for kind in (changed(json.loads(raw)).map(as_text), bent(raw))
            ),
            st.tuples(st.just("report.json"), changed(json.loads(files["report.json"])).map(as_text)),
        ),
        st.sampled_from(READERS),
    )

    def body(finds: Finds, example: tuple[tuple[str, bytes], tuple[str, ...]]) -> None:
        (name, raw), reader = example
        told = difference(files[name], raw)
        (run / name).write_bytes(raw)
        finds.attempt("read_report", (name, told), lambda: read_report(run), effort.folder)
        read_by(finds, (name, told), run, reader)
        for whole, before in files.items():
            (run / whole).write_bytes(before)

    return with_examples(effort, strategy, body)


def fit(job: Any) -> Iterator[float]:
    """Train nothing; the value follows from the schedule and the seed."""
    for epoch in range(int(job.epochs)):
        yield 0.5 + 0.01 * job.schedule.unfreeze_depth + 0.001 * (job.seed % 7) + 0.01 * epoch


def own_search(out: Path, *, resume: bool) -> Any:
    """Search with a training of one's own."""
    import autofreeze

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return autofreeze.search(
            fit=fit, groups=("stem", "body", "head"), epochs=2, space="quick", trials=4, confirm=0, sampler="qmc",
            out=out, resume=resume,
        )  # fmt: skip


def fuzz_journals(effort: Effort) -> Outcome:
    """Cut a journal or its records anywhere or change bytes, read the run, and resume it.

    A study that was only cut is the undisturbed one after it was resumed.
    """
    whole = effort.folder / "whole"
    before = own_search(whole, resume=False)
    names = ("study.journal", "records.jsonl")
    files = {name: (whole / name).read_bytes() for name in names}
    run = effort.folder / "run"

    def cut(name: str) -> st.SearchStrategy[tuple[str, str, bytes]]:
        return st.integers(0, len(files[name])).map(lambda at: (name, "cut", files[name][:at]))

    kinds = [
        kind
        for name in names
        for kind in (cut(name), st.tuples(st.just(name), st.just("bent"), bent(files[name])))
    ]
    strategy = st.tuples(st.one_of(*kinds), st.sampled_from(READERS[:6]), st.booleans())

    def body(finds: Finds, example: tuple[tuple[str, str, bytes], tuple[str, ...], bool]) -> None:
        (name, how, raw), reader, reported = example
        copied(whole, run)
        (run / name).write_bytes(raw)
        if not reported:
            (run / "report.json").unlink()
        told = (name, how, difference(files[name], raw), "" if reported else "without report.json")
        read_by(finds, told, run, reader)
        after: Any = finds.attempt("--resume", told, lambda: own_search(run, resume=True), effort.folder)
        if after is not None and how == "cut" and values(after) != values(before):
            finds.add(f"resumed to another study: {values(after)}, not {values(before)}", told)

    return with_examples(effort, strategy, body)


def values(result: Any) -> list[tuple[int, float | None]]:
    """Give the value of each trial."""
    return [(trial.number, trial.value) for trial in result.trials]


CHECKS: tuple[Check, ...] = (
    Check(name="fuzz-report", fault="a run's JSON files changed at any key", run=fuzz_reports, quick=25, long=1500),
    Check(
        name="fuzz-journal", fault="journal or records cut or changed anywhere, then `--resume`", run=fuzz_journals,
        quick=6, long=300,
    ),
)  # fmt: skip
"""All checks, in the order of the table."""
