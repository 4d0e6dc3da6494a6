# ruff: noqa: E501 - tables are read by line
"""Hostile text: names of classes, files and data sets, through a whole search; and any name in an exported file."""

import ast
import copy
import html.parser
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from trust.changes import as_text
from trust.check import Check, Effort, Outcome
from trust.finds import Finds, with_examples
from trust.numbers import MODEL, SHORT, in_process, noise
from trust.runs import image_run, placed

CODE = "__import__('os').system('touch canary')"
NAMES = (
    f"\n{CODE}\n", f'"""\n{CODE}\n"""', f"'''\n{CODE}\n'''", f"'+{CODE}+'", f'"+{CODE}+"', f"{{{CODE}}}", f"\\'+{CODE}+\\'", f"\r{CODE}\r",
    f"\x0c{CODE}", f"\u2028{CODE}\u2029", f"\x85{CODE}", f"# coding: utf-7\n{CODE}", f"%}}{{{{ {CODE} }}}}", f"$({CODE})", "$(touch canary)",
    "`touch canary`", "; touch canary;", "' ; touch canary; '", "\n touch canary\n", "\\", "\\\\'", '"', "'", "\\N{DASH}", "<!--", "-->", "]]>",
    "<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", '"><svg onload=alert(1)>', "&lt;b&gt;", "javascript:alert(1)",
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b31m", "\u202eright to left", "\u200f", "\ufeff", "two\nlines\ttab", "\r\rover", "\x7f", "\udcff",
    "é", "e\u0301", "x" * 255, "é" * 127, "|a|b|", "**a** _b_ `c`", "[a](javascript:b)", "# a", "a: b", "- a", "{a: b}", "!!python/object:os.system",
    "[red]x[/red]", "[/]", "%{x} %{customdata[0]}", "$a_1$", "CON", "a.", " a ", "~", "-rf", "--help", "=cmd()", "@x", "1", "nan", "null", "true",
)  # fmt: skip
TARGETS = {
    "yaml": ".yaml", "json": ".json", "pytorch": ".py", "finetuning-scheduler": ".yaml", "lightning": ".py", "fastai": ".py",
    "timm": ".yaml", "huggingface": ".py",
}  # fmt: skip
"""Every target, and how the file ends that is asked for."""

words = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), st.text(max_size=30))


def as_file(name: str, ending: str = "") -> str:
    """Make of a name what a file may be called: no slash, no NUL, 255 bytes."""
    kept = (
        name.replace("/", "\u2215")
        .replace("\0", "")
        .encode("utf-8", "surrogateescape" if "\udcff" in name else "replace")
    )
    text = kept[: 255 - len(ending)].decode("utf-8", "surrogateescape")
    return (text if text.strip(". ") else f"n{text}") + ending


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Draw the name of a data set, those of two or three classes, and those of a few files."""
    classes = st.lists(
        words.map(as_file).filter(lambda one: not one.startswith((".", "_"))),
        min_size=2,
        max_size=3,
        unique=True,
    )
    files = st.lists(words.map(lambda one: as_file(one, ".png")), min_size=1, max_size=4, unique=True)
    return draw(words.map(as_file)), tuple(draw(classes)), tuple(draw(files))


class Elements(html.parser.HTMLParser):
    """What a page is made of: tags, and the names of their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag."""
        self.found |= {tag, *(f"{tag} {name}" for name, _ in attrs)}


def wrong_texts(run: Path, clean: set[str], own: set[str]) -> Iterator[str]:
    """Say what in a run's page and Markdown is markup that came from a name, or steers who reads it.

    Args:
        run: The run folder.
        clean: What a page without odd names is made of.
        own: Letters of such a page: the scripts in it have tabs.
    """
    page = (run / "report.html").read_text(encoding="utf-8")
    strange = {
        one
        for one in Elements(page).found - clean
        if one.startswith(("img", "svg onload", "script src")) or " on" in one
    }
    if strange:
        yield f"the page has {strange}"
    for name in ("report.html", "report.md"):
        text = (run / name).read_text(encoding="utf-8")
        steering = {letter for letter in set(text) - own if not letter.isprintable() and letter != "\n"}
        if steering:
            yield f"{name} holds {steering}"
        if "<script>alert" in text or "<img src=x" in text or "<svg onload" in text:
            yield f"{name} holds a name as markup"


def fuzz_names(effort: Effort) -> Outcome:
    """Search data sets of hostile names, show, export and train by what was found, and predict."""
    page = (image_run() / "report.html").read_text(encoding="utf-8")
    clean, own = Elements(page).found, set(page)

    def body(finds: Finds, example: tuple[str, tuple[str, ...], tuple[str, ...]]) -> None:
        name, classes, files = example
        place = effort.folder / f"place{finds.tried}"
        data, run = place / name, place / "run"
        rng = np.random.default_rng(0)
        for label, one in enumerate(classes):
            (data / one).mkdir(parents=True)
            for number in range(12):
                Image.fromarray(noise(label, rng)).save(
                    data / one / (files[number] if number < len(files) else f"{number}.png"), "png"
                )

        def do(*arguments: object) -> int:
            status, told = finds.command(example, effort.folder, *arguments)
            if status:
                finds.add(f"{arguments[0]}: status {status}, {told[-300:]}", example)
            return status

        kept = ("--cache", place / "cache")
        if any("\udcff" in one for one in (name, *classes)):  # no UTF-8: refused before anything is read
            status, told = finds.command(example, effort.folder, "search", data, *MODEL, "--out", run)
            if status != 2 or "no UTF-8" not in told or run.exists():
                finds.add(f"a name that is no UTF-8: status {status}, {told[-300:]}", example)
            return
        if do("search", data, *MODEL, *SHORT, *kept, "--out", run):
            return
        for reader in (
            ["report", run],
            ["status", run],
            ["compare", run],
            ["report", run, "--json"],
            ["check", data, *kept],
            ["export", run, "--list"],
        ):
            do(*reader)
        for one in wrong_texts(run, clean, own):
            finds.add(one, example)
        for target, ending in TARGETS.items():
            do("export", run, "--to", target, "--approximate", "-o", place / f"out-{target}{ending}")
        for code in place.glob("out-*"):
            for one in called_in(code) if code.suffix == ".py" else ():
                finds.add(f"{code.name}: {one}", example)
        do("train", place / "out-yaml.yaml", data, "--epochs", "0.1", "--out", place / "trained", *kept)
        do("predict", place / "trained", data, "-o", place / "predicted.csv")

    with placed(effort.folder / "home"):
        found = with_examples(effort, data_sets(), body)
    return replace(found, wrong=[*found.wrong, *map(str, effort.folder.rglob("canary"))])


# Code


def called_in(file: Path) -> Iterator[str]:
    """Say where Python code calls what only a name holds, or is none."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        yield f"is no Python: {error}"
        return
    if any(isinstance(node, ast.Name) and node.id == "__import__" for node in ast.walk(tree)):
        yield "a name became code"


def shape(code: str) -> str:
    """Give the tree of Python code, its texts and numbers left out, and lists of them as one."""
    return ast.dump(Blank().visit(ast.parse(code)))


class Blank(ast.NodeTransformer):
    """Makes one of all plain values, however long."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Blank what lies below, then the node itself where nothing but plain values was in it."""
        super().generic_visit(node)
        plain = isinstance(node, (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set)) and all(
            isinstance(one, (ast.Constant, ast.expr_context)) for one in ast.iter_child_nodes(node)
        )
        return ast.Constant(None) if plain else node


def renamed(plain: Any, before: str, after: str) -> Any:
    """Give plain data in which a text is another wherever it stands, also as a key."""
    if isinstance(plain, dict):
        return {
            after if key == before else key: renamed(value, before, after) for key, value in plain.items()
        }
    if isinstance(plain, list):
        return [renamed(value, before, after) for value in plain]
    return after if plain == before else plain


def texts_in(plain: Any) -> Iterator[str]:
    """Go through every text in plain data, keys too."""
    if isinstance(plain, dict):
        for key, value in plain.items():
            yield from (key, *texts_in(value))
    elif isinstance(plain, list):
        for value in plain:
            yield from texts_in(value)
    elif isinstance(plain, str):
        yield plain


def fuzz_code(effort: Effort) -> Outcome:
    """Call something in an exported file otherwise, and write it for every trainer: the code stays the same."""
    from autofreeze.documents import read_yaml
    from autofreeze.export.exporting import export_to
    from autofreeze.export.native import NativeFile

    file = effort.folder / "schedule.yaml"
    assert in_process("export", image_run(), "-o", file)[0] == 0
    plain = read_yaml(file).data
    texts = list(dict.fromkeys(texts_in(plain)))
    few = effort.rng.sample(texts, min(len(texts), 3 * effort.times))
    free = [text for text in few if _may_be_renamed(plain, text, file)]
    native = NativeFile.load(file)
    clean = {target: export_to(target, native, approximate=True)[0] for target in TARGETS}

    def body(finds: Finds, example: tuple[list[str], str]) -> None:
        given = copy.deepcopy(plain)
        for number, text in enumerate(example[0]):  # names stay apart
            given = renamed(given, text, f"{example[1]}{number or ''}")
        file.write_bytes(as_text(given))
        read: Any = finds.attempt("NativeFile.load", example, lambda: NativeFile.load(file), effort.folder)
        for target in TARGETS if read is not None else ():
            written: Any = finds.attempt(
                f"export --to {target}",
                example,
                lambda to=target: export_to(to, read, approximate=True),
                effort.folder,
            )
            for before, now in zip(clean[target], written[0] if written else (), strict=False):
                for one in wrong_code(before.text, now.text, now.ending, example[1]):
                    finds.add(f"export --to {target}: {one}", example)

    some = st.lists(st.sampled_from(free), min_size=1, max_size=2, unique=True)
    strategy = st.tuples(st.one_of(some, st.just(free)), words)
    return with_examples(effort, strategy, body)


def _may_be_renamed(plain: Any, text: str, file: Path) -> bool:
    from autofreeze.errors import AutofreezeError
    from autofreeze.export.native import NativeFile

    file_ = file.with_name("renamed.yaml")
    file_.write_bytes(as_text(renamed(plain, text, f"{text}x")))
    try:
        NativeFile.load(file_)
    except AutofreezeError:
        return False
    return True


def wrong_code(before: str, now: str, ending: str, name: str) -> Iterator[str]:
    """Say where an export with a name in it is another program than without."""
    if ending.endswith(".py"):
        try:
            if shape(now) != shape(before):
                yield "is other code"
        except (SyntaxError, ValueError) as error:
            yield f"is no Python: {error}"
    elif ending == ".sh":
        for line in now.splitlines():
            if CODE in line and not line.startswith("#") and shlex.quote(name) not in now:
                yield f"an unquoted name: {line[:200]}"
        tokens = [len(shlex.split(one, comments=True)) for one in (before, now)]
        if tokens[0] != tokens[1]:
            yield f"has {tokens[1]} words, not {tokens[0]}"


CHECKS: tuple[Check, ...] = (
    Check(name="fuzz-names", fault="classes, files and data sets with hostile names: search, report, export, train, predict", run=fuzz_names, quick=1, long=15),
    Check(name="fuzz-code", fault="any name in an exported file a hostile one: Python and shell stay the same code", run=fuzz_code, quick=15, long=250),
)  # fmt: skip
"""All checks, in the order of the table."""
