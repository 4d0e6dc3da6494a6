# ruff: noqa: E501 - tables are read by line
"""Hostile text: space files and exported schedules, changed at random, and bombs made by hand."""

from hypothesis import strategies as st

from trust.changes import as_text, bent, changed
from trust.check import Check, Effort, Outcome
from trust.finds import Finds, with_examples
from trust.numbers import in_process
from trust.runs import image_run

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


CHECKS: tuple[Check, ...] = (
    Check(
        name="fuzz-space",
        fault="space files changed at random, and bombs",
        run=fuzz_spaces,
        quick=60,
        long=3000,
    ),
    Check(
        name="fuzz-schedule", fault="exported files changed at random", run=fuzz_schedules, quick=12, long=400
    ),
)
"""All checks, in the order of the table."""
