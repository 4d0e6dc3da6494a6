# ruff: noqa: E501 - tables are read by line
"""Hostile text: space files, schedule files, reports, journals and tables, changed at random.

Every input is read in this process under a guard: it may start nothing, write nothing outside its folder and eat
no memory. What comes of it must be a success or an ``AutofreezeError``; of a command the exit status 0, 1 or 2.
"""

import contextlib
import copy
import io
import json
import shutil
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from trust.check import Check, Effort, Outcome
from trust.guard import guarded
from trust.numbers import MODEL, SHORT, in_process, write_classes

MEMORY = 1 << 30
"""Bytes by which one input may make the process grow."""

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 2**70, 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"), 0.5, "", "x", "1",
    "../../etc/passwd", "\x1b[31mred", "<script>alert(1)</script>", "two\nlines", "\u202eright to left", "\ud800", "\0",
    "'; DROP TABLE", "é" * 2000, [], {}, [1], ["a"], [None], {"a": 1}, {"": None}, [[[[[[[[]]]]]]]],
)  # fmt: skip
"""Values for places where others are meant."""


@dataclass
class Finds:
    """What went wrong: the shortest input of each kind."""

    tried: int = 0
    kinds: dict[str, str] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)

    def add(self, kind: str, given: object) -> None:
        """Keep an input that went wrong."""
        shown = repr(given)[:1500]
        if kind not in self.kinds or len(shown) < len(self.kinds[kind]):
            self.kinds[kind] = shown

    def attempt(self, what: str, given: object, act: Callable[[], object], folder: Path) -> object:
        """Do what must succeed or be refused in plain words; its result, or None."""
        from autofreeze.errors import AutofreezeError

        result = None
        with guarded([folder], memory=MEMORY) as seen:
            try:
                result = act()
                end = "read"
            except AutofreezeError as error:
                end = "refused"
                if not str(error).strip():
                    self.add(f"{what}: refused without a word", given)
            except Exception as error:  # noqa: BLE001 - whatever else comes is the find
                end = "wrong"
                self.add(f"{what}: {_place(error)}", (str(error)[:200], given))
        self.ends[end] = self.ends.get(end, 0) + 1
        for one in seen:
            self.add(f"{what}: {one}", given)
        return result

    def command(self, given: object, folder: Path, *arguments: object) -> tuple[int, str]:
        """Run a command that must end with 0, 1 or 2, and show nothing that drives a terminal."""
        with guarded([folder], memory=MEMORY) as seen:
            status, told = in_process(*arguments)
        name = f"autofreeze {arguments[0]}"
        self.ends[f"status {status}"] = self.ends.get(f"status {status}", 0) + 1
        if status not in (0, 1, 2) or "Traceback (most recent call last)" in told:
            self.add(f"{name}: status {status}, {told.strip()[-400:]}", given)
        if status and not told.strip():
            self.add(f"{name}: status {status} without a word", given)
        if any(not letter.isprintable() and letter != "\n" for letter in told):
            self.add(f"{name}: shows control characters", given)
        for one in seen:
            self.add(f"{name}: {one}", given)
        return status, told

    def outcome(self) -> Outcome:
        """Give what came of all."""
        note = ", ".join(f"{count:,} {end}" for end, count in sorted(self.ends.items()))
        return Outcome(
            tried=self.tried,
            wrong=[f"{kind}: given {shown}" for kind, shown in self.kinds.items()],
            note=note,
        )


def _place(error: Exception) -> str:
    ours = [one for one in traceback.extract_tb(error.__traceback__) if "/autofreeze/" in one.filename]
    where = f" at {ours[-1].filename.rpartition('/autofreeze/')[2]}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{where}"


def with_examples(
    effort: Effort, strategy: st.SearchStrategy[Any], body: Callable[[Finds, Any], None]
) -> Outcome:
    """Try so many examples of a strategy; what goes wrong is collected, so that one find hides no other."""
    finds = Finds()

    @seeded(effort.seed)
    @settings(
        max_examples=effort.times, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def each(example: Any) -> None:
        finds.tried += 1
        body(finds, example)

    each()
    while finds.tried < effort.times:  # few examples can be all there are
        each()
    return finds.outcome()


# Changes


def places(plain: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Give the path of every value in plain data."""
    entries = (
        plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    )
    for key, value in entries:
        yield (*path, key)
        yield from places(value, (*path, key))


@st.composite
def changed(draw: st.DrawFn, original: Any) -> Any:
    """Draw plain data in which one to three values are others, gone, doubled or scaled."""
    plain = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(plain))
        if not found or draw(st.integers(0, 60)) == 0:
            return draw(st.sampled_from(HOSTILE))
        path = draw(st.sampled_from(found))
        path = path[: draw(st.integers(1, len(path)))] if draw(st.booleans()) else path
        holder = plain
        for key in path[:-1]:
            holder = holder[key]
        _change(draw, holder, path[-1])
    return plain


def _change(draw: st.DrawFn, holder: Any, key: Any) -> None:
    how, value = draw(st.sampled_from(("other", "other", "gone", "doubled", "scaled"))), holder[key]
    if how == "gone":
        del holder[key]
    elif how == "doubled":
        if isinstance(holder, list):
            holder.insert(0, copy.deepcopy(value))
        else:
            holder[f"{key}2"] = copy.deepcopy(value)
    elif how == "scaled" and isinstance(value, (int, float)):
        holder[key] = value * draw(
            st.sampled_from((-1, 7, 0.5, 1e300 if isinstance(value, float) else 10**9))
        )
    elif how == "scaled" and isinstance(value, (str, list)):
        holder[key] = value[: len(value) // 2]
    else:
        holder[key] = draw(st.sampled_from(HOSTILE))


@st.composite
def bent(draw: st.DrawFn, original: bytes) -> bytes:
    """Draw bytes that are cut, flipped, doubled or have others between them."""
    raw = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(raw))), draw(st.integers(1, 40))
        how = draw(st.sampled_from(("cut", "gone", "flipped", "doubled", "between")))
        if how == "cut":
            del raw[at:]
        elif how == "gone":
            del raw[at : at + length]
        elif how == "flipped" and at < len(raw):
            raw[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "doubled":
            raw[at:at] = raw[at : at + length]
        else:
            raw[at:at] = draw(st.sampled_from(BETWEEN))
    return bytes(raw)


BETWEEN = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n\n", b"\t", b'"', b"{", b"]", b"!!python/object:os.system x",
    b"&a ", b"*a", b"<<: ", b": ", b"- ", b"%TAG ! x\n", b"---\n", b"? ", b"\xc2\x85", b"1e999", b"-.nan", b"9" * 5000,
    b"[" * 3000, b"{a: " * 2000, "\u2028".encode(),
)  # fmt: skip


def as_text(plain: Any) -> bytes:
    """Write plain data as JSON, which is YAML too; what is no text in UTF-8 is escaped."""
    return json.dumps(plain).encode()


# Spaces

BOMBS: tuple[bytes, ...] = (
    b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(12)),
    b"&a head_lr: {*a : *a}\n", b"a: &a [*a]\n", b"<<: &a {<<: *a}\n", b"<<: [{head_lr: 1}, {head_lr: 2}]\n",
    b"head_lr: " + b"9" * 900_000, b"head_lr: " + b"[" * 100_000, b"{a: " * 100_000, b"- " * 100_000, b"x" * 10_000_000,
    b"'" + b"x" * 990_000 + b"'", b"!!python/object/apply:os.system ['touch canary']\n", b"head_lr: !!binary aGk=\n",
    b"head_lr: !!python/name:os.system\n", b"head_lr: 1e999\n", b"head_lr: 0x" + b"f" * 5000, b"head_lr: 1:2:3:4\n",
    b"head_lr: 2001-99-99\n", b"head_lr: 2001-12-14t21:59:43.10-05:00\n", b"head_lr: \0\n", b"\xef\xbb\xbfhead_lr: 1e-3\n",
    "head_lr: 0.001\n".encode("utf-16"), "head_lr: 0.001\n".encode("utf-32"), b"head_lr: 1\nhead_lr: 2\n", b"", b"#\n",
    b"? [a, b]\n: 1\n", b"? {a: b}\n: 1\n", b"null: 1\n", b"1: 1\n", b"---\na: 1\n---\nb: 2\n", b"%YAML 1.1\n---\nhead_lr: yes\n",
    b"head_lr: |\n" + b"  x\n" * 100_000, b"\t\n", b"head_lr: &a 1\nb: *missing\n", b"a: &" + b"n" * 100_000 + b" 1\n",
)  # fmt: skip
"""Space files made by hand."""

COLUMNS = ("stem", "layer1", "layer2", "head")


def fuzz_spaces(effort: Effort) -> Outcome:
    """Read space files, and fit them to a model; the bombs first."""
    from autofreeze.documents import read_yaml
    from autofreeze.space import shipped_spaces
    from autofreeze.spacefiles import check_space

    shipped = [path.read_bytes() for path in shipped_spaces().values()]
    plain = [read_yaml(path).data for path in shipped_spaces().values()]
    strategy = st.one_of(
        st.sampled_from(BOMBS),
        *(bent(one) for one in shipped),
        *(changed(one).map(as_text) for one in plain),
    )
    file = effort.folder / "space.yaml"

    def body(finds: Finds, raw: bytes) -> None:
        file.write_bytes(raw)
        finds.attempt("a space", raw, lambda: check_space(file, COLUMNS, 5.0), effort.folder)

    bombs = Finds()
    for raw in BOMBS:
        body(bombs, raw)
    found = with_examples(effort, strategy, body)
    return Outcome(
        tried=found.tried + len(BOMBS), wrong=[*bombs.outcome().wrong, *found.wrong], note=found.note
    )


# Schedules


def fuzz_schedules(effort: Effort) -> Outcome:
    """Read exported files, and write those that can be read for every other trainer."""
    from autofreeze.documents import read_yaml
    from autofreeze.export.native import NativeFile
    from autofreeze.schedule import Schedule

    file = effort.folder / "schedule.yaml"
    assert in_process("export", image_run(), "-o", file)[0] == 0
    raw, plain = file.read_bytes(), read_yaml(file).data
    strategy = st.tuples(
        st.one_of(bent(raw), changed(plain).map(as_text), st.sampled_from(BOMBS)),
        st.sampled_from(("yaml", "hf-trainer", "lightning", "pytorch", "timm")),
    )

    def body(finds: Finds, example: tuple[bytes, str]) -> None:
        file.write_bytes(example[0])
        finds.attempt("NativeFile.load", example[0], lambda: NativeFile.load(file), effort.folder)
        finds.attempt("Schedule.load", example[0], lambda: Schedule.load(file), effort.folder)
        status, told = finds.command(example, effort.folder, "export", file, "--to", example[1])
        if status == 0 and example[1] != "yaml":
            try:
                compile(told, "exported", "exec")
            except (SyntaxError, ValueError) as error:
                finds.add(f"export --to {example[1]} writes no Python: {error}", example)

    return with_examples(effort, strategy, body)


# Runs


@cache
def image_run() -> Path:
    """Search few images once in this process; the run folder, which stays as it is."""
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="autofreeze-trust-"))
    write_classes(folder / "data", (12, 12))
    arguments = (
        "search",
        folder / "data",
        *MODEL,
        *SHORT,
        "--cache",
        folder / "cache",
        "--out",
        folder / "run",
    )
    status, told = in_process(*arguments)
    assert status == 0, told
    return folder / "run"


def copied(run: Path, target: Path) -> None:
    """Give what a run has written, in a new folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(run, target, ignore=shutil.ignore_patterns(".lock"))


READERS = (
    ("report",), ("report", "--json"), ("status",), ("status", "--json"), ("export",), ("export", "--to", "pytorch"),
    ("compare",), ("report", "--html"),
)  # fmt: skip


def read_by(finds: Finds, given: object, run: Path, reader: Sequence[str]) -> None:
    """Let a command read a run; what it gives as JSON must be strict JSON."""
    arguments: list[object] = [reader[0], run, *reader[1:]]
    if reader[0] == "compare":
        arguments = ["compare", run, image_run()]
    status, told = finds.command((reader, given), run.parent, *arguments)
    if status == 0 and "--json" in reader:
        try:
            json.loads(told, parse_constant=_no_json)
        except ValueError as error:
            finds.add(f"{' '.join(reader)}: gives no JSON: {error}", given)


def _no_json(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


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


def difference(before: bytes, after: bytes) -> object:
    """Say in short what was changed."""
    try:
        old, new = json.loads(before), json.loads(after)
    except (ValueError, RecursionError):
        at = next(
            (at for at, (was, now) in enumerate(zip(before, after, strict=False)) if was != now), len(after)
        )
        return f"from byte {at} of {len(before)}: {after[at : at + 60]!r}, {len(after)} bytes in all"
    if not isinstance(new, (dict, list)):
        return new
    return [f"{path}: {_short(was)} -> {_short(now)}" for path, was, now in _differences(old, new, ())]


def _short(value: object) -> str:
    return repr(value)[:60]


def _differences(old: Any, new: Any, path: tuple[object, ...]) -> Iterator[tuple[str, object, object]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _differences(old.get(key, "absent"), new.get(key, "absent"), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (was, now) in enumerate(zip(old, new, strict=True)):
            yield from _differences(was, now, (*path, number))
    elif repr(old) != repr(new):
        yield ".".join(map(str, path)), old, new


# Journals


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


# Tables

PATHS = (
    "a.png", "b.png", "sub/c.png", "./a.png", "sub/../a.png", "../secret.png", "sub/../../secret.png", "/etc/passwd",
    "link.png", "out/secret.png", "gone.png", "sub", "", ".", "..", "a.png\0", "a\npng", "C:\\a.png", "sub\\c.png", "~/a.png",
    "x" * 5000, "a/" * 3000, "=cmd()", "\u202ea.png", "\ud7ff", "é.png", "file:///etc/passwd", "/dev/zero", "loop/a.png",
)  # fmt: skip
GOOD = ("a.png", "b.png", "sub/c.png")
CELLS = (
    "cat",
    "dog",
    "",
    "train",
    "test",
    "val",
    "=cmd()",
    "a,b",
    'a"b',
    "two\nlines",
    "\0",
    "\x1b[31m",
    "x" * 200_000,
    "1",
)
HEADERS = (
    ("path", "label"), ("label", "path"), ("path", "label", "split"), ("path", "label", "split", "group"), ("PATH", " label "),
    ("path", "path"), ("path", "label", ""), (), ("path", "label", *(["x"] * 10_000)),
)  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """Draw a table with paths that may lead anywhere."""
    tame = draw(st.booleans())  # mostly right, so that single faults are met
    header = draw(st.sampled_from(HEADERS[:3] if tame else HEADERS))
    quoted = draw(st.booleans())

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quoted else text

    lines = [",".join(map(cell, header))]
    if tame:
        given = {"label": "cat", "split": "train", "group": "one"}
        for path in draw(
            st.lists(st.sampled_from((*GOOD, draw(st.sampled_from(PATHS)))), unique=True, max_size=4)
        ):
            lines.append(",".join(cell({**given, "path": path}[name]) for name in header))
    for _ in range(0 if tame else draw(st.integers(0, 6))):
        row = [
            draw(st.sampled_from(PATHS)),
            *(draw(st.sampled_from(CELLS)) for _ in range(draw(st.integers(0, 4)))),
        ]
        lines.append(",".join(map(cell, row)))
    encoding = draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-7")))
    raw = draw(st.sampled_from(("\n", "\r\n", "\r"))).join(lines).encode(encoding, "replace")
    return draw(bent(raw)) if draw(st.integers(0, 3)) == 0 else raw


def fuzz_tables(effort: Effort) -> Outcome:
    """List the images that tables name: none may lie outside the table's folder."""
    from autofreeze.sources.table import list_table

    root = effort.folder / "data"
    write_classes(effort.folder / "images", (1,))
    image = next((effort.folder / "images").rglob("*.png"))
    for name in ("data/a.png", "data/b.png", "data/sub/c.png", "data/é.png", "secret.png"):
        (effort.folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, effort.folder / name)
    (root / "link.png").symlink_to(effort.folder / "secret.png")
    (root / "out").symlink_to(effort.folder)
    (root / "loop").symlink_to(root / "loop")
    file = root / "table.csv"

    def body(finds: Finds, raw: bytes) -> None:
        file.write_bytes(raw)
        listing: Any = finds.attempt("a table", raw, lambda: list_table(file), effort.folder)
        for path in listing.paths if listing else ():
            if not (root / path).resolve().is_relative_to(root.resolve()):
                finds.add(f"a path that leaves was taken: {path!r}", raw)
        if finds.tried % 10 == 0:
            finds.command(raw, effort.folder, "check", file)

    return with_examples(effort, tables(), body)


CHECKS: tuple[Check, ...] = (
    Check(name="fuzz-space", fault="space files changed at random, and bombs", run=fuzz_spaces, quick=60, long=3000),
    Check(name="fuzz-schedule", fault="exported files changed at random", run=fuzz_schedules, quick=12, long=600),
    Check(name="fuzz-report", fault="a run's JSON files changed at any key", run=fuzz_reports, quick=25, long=1500),
    Check(
        name="fuzz-journal", fault="journal or records cut or changed anywhere, then `--resume`", run=fuzz_journals,
        quick=6, long=300,
    ),
    Check(name="fuzz-table", fault="CSV data sets with paths that leave", run=fuzz_tables, quick=60, long=4000),
)  # fmt: skip
"""All checks, in the order of the table."""
