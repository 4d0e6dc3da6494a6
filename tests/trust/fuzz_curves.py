"""Hostile text: recorded tables, runs that a search begins with or goes on with, reads of a test split."""

import contextlib
import io
import json
import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from trust.changes import as_text, bent, changed, difference
from trust.check import Check, Effort, Outcome
from trust.finds import Finds, with_examples
from trust.fuzz_study import fit, own_search, values
from trust.runs import copied

GROUPS = ("stem", "body", "head")
HUGE = 3 << 30
"""Bytes that a small table unpacks to."""


def table_of(whole: Path) -> tuple[bytes, list[bytes]]:
    """Make a table of a run's records: what it was recorded on, and a line for each of two runs."""
    from autofreeze.job import Job
    from autofreeze.recorded.tables import CellFacts, RecordedRun
    from autofreeze.records import read_records
    from autofreeze.report.files import read_report

    facts = CellFacts(
        kind="breadth", data="photos", fingerprint="f", model="m", weights="w", source="s", image_size=32,
        epochs=2, metric="top1", seed=0, groups=GROUPS, work_shares=(0.4, 0.3, 0.3), classes=("a", "b"),
        labels=(0, 1) * 4, train=tuple(range(8)), command="", versions={}, machine={},
    )  # fmt: skip
    curves = read_records(whole)
    runs = [
        RecordedRun(
            origin="made up", n_train=8, val=(0, 1), records=tuple(curves[one.number, 0]),
            job=Job(trial=one.number, fold=0, seed=0, schedule=one.schedule, regime=one.regime),
        )
        for one in read_report(whole).trials[:2]
    ]  # fmt: skip
    return facts.model_dump_json().encode(), [run.model_dump_json().encode() for run in runs]


@st.composite
def tables(draw: st.DrawFn, head: bytes, runs: Sequence[bytes]) -> tuple[str, bytes]:
    """Draw the name and the bytes of a table: a line that says something else, or bytes that do."""
    lines = [head, *runs]
    place = draw(st.integers(0, len(lines) - 1))
    lines[place] = draw(st.one_of(changed(json.loads(lines[place])).map(as_text), bent(lines[place])))
    raw = b"\n".join(lines) + b"\n"
    if draw(st.booleans()):
        return "table.jsonl", raw
    packed = lzma.compress(raw)
    return "table.jsonl.xz", draw(bent(packed)) if draw(st.booleans()) else packed


def bomb() -> bytes:
    """Pack gigabytes: a stream of sixteen megabytes, again and again, is a whole file to xz."""
    block = 1 << 24
    return lzma.compress(b"0" * block, preset=0) * (HUGE // block)


def warm_search(out: Path, earlier: Path) -> Any:
    """Search with a training of one's own, from an earlier search."""
    import autofreeze

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return autofreeze.search(
            fit=fit, groups=GROUPS, epochs=2, space="quick", trials=3, confirm=0, sampler="random", out=out,
            warm_start=[earlier],
        )  # fmt: skip


def fuzz_curves(effort: Effort) -> Outcome:
    """Read a changed table; begin with a changed run, or go on with it; count the reads in a changed list."""
    from autofreeze.recorded.tables import read_table
    from autofreeze.testreads import note_read

    whole, run = effort.folder / "whole", effort.folder / "run"
    before = values(own_search(whole, resume=False))
    files = {name: (whole / name).read_bytes() for name in ("run.json", "report.json")}
    reads = b'{"at": "2026-01-01T00:00:00+00:00", "by": "x", "value": 0.5}\n' * 3
    strategy = st.one_of(
        st.tuples(st.just("table"), tables(*table_of(whole))),
        *(
            st.tuples(st.just(use), st.tuples(st.just(name), kind))
            for use in ("warm", "resume")
            for name, raw in files.items()
            for kind in (changed(json.loads(raw)).map(as_text), bent(raw))
        ),
        st.tuples(st.just("reads"), st.tuples(st.just("f.jsonl"), bent(reads))),
    )

    def body(finds: Finds, example: tuple[str, tuple[str, bytes]]) -> None:
        use, (name, raw) = example
        if use == "table":
            file = effort.folder / name
            file.write_bytes(raw)
            finds.attempt("a table", raw, lambda: read_table(file), effort.folder)
            return
        if use == "reads":
            file = effort.folder / "test-reads" / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(raw)
            count = finds.attempt(
                "reads", raw, lambda: note_read(effort.folder, "f", by="y", value=0.5), effort.folder
            )
            if count == 0:
                finds.add("a read that is noted does not count", raw)
            return
        copied(whole, run)
        (run / name).write_bytes(raw)
        told = (use, name, difference(files[name], raw))
        if use == "warm":
            out = effort.folder / f"out{finds.tried}"
            finds.attempt("warm start", told, lambda: warm_search(out, run), effort.folder)
        else:
            after: Any = finds.attempt("--resume", told, lambda: own_search(run, resume=True), effort.folder)
            if after is not None and values(after) != before:
                finds.add(f"resumed to another study: {values(after)}, not {before}", told)

    first = Finds()
    packed = effort.folder / "bomb.xz"
    packed.write_bytes(bomb())
    read = first.attempt("a packed table", "three gigabytes", lambda: read_table(packed), effort.folder)
    if read is not None:
        first.add("a table of three gigabytes is read", "")
    found = with_examples(effort, strategy, body)
    return Outcome(tried=found.tried + 1, wrong=[*first.outcome().wrong, *found.wrong], note=found.note)


CHECKS: tuple[Check, ...] = (
    Check(
        name="fuzz-curves",
        fault="recorded tables, runs to begin or go on with, reads of a test split, changed at random",
        run=fuzz_curves, quick=12, long=800,
    ),
)  # fmt: skip
"""All checks, in the order of the table."""
