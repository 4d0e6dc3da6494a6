# ruff: noqa: E501 - tables are read by line
"""Hostile text: every option and argument of every command, as the command line itself names them.

Each command would run as it is; then one to three of its values are others. Nobody refuses a path because it looks
odd, so that files may come to be, but only below the folder in which the command runs.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from hypothesis import strategies as st

from trust.check import Check, Effort, Outcome
from trust.finds import Finds, with_examples
from trust.numbers import MODEL, SIDE, in_process
from trust.runs import copied, image_run, placed

SLOWEST = 60.0
"""Seconds within which a command must have ended whatever it was given."""

TEXTS = (
    "", " ", "x", "-", "--", "-1", "0", "1", "3", "1.5", "1e3", "nan", "inf", "-inf", "1e308", "1e-320", "1_000", "+5", " 5", "0x10", "٣",
    "9" * 400, "9" * 5000, "-" + "9" * 400, str(2**31), str(2**63), str(2**70), "true", "None", "auto", "all", "auto,all", ",", "1,2,3",
    "nan,nan,nan", "0,0,0", "1e999,1,1", "50%", "101%", "5GB", "-5GB", "infGB", "9e99TB", "5h", "-5h", "nanh", "9" * 30 + "d", "1e400s",
    "tpe", "cpu", "bank:1", "bank:0", "bank:-1", "bank:" + "9" * 50, "online", "flip", "mixup", "top1", "tensorboard", "coarse", "fine",
    "\x1b[31mred", "two\nlines", "two\rlines", "\u202eright", "\u2028", "\x85", "\x9b31m", "\udcff", "é" * 200, "x" * 300, "x" * 100_000, "\x07",
    "<script>alert(1)</script>", "'; DROP TABLE", "$(touch canary)", "`touch canary`", "{0.__class__}", "%s%n", "[red]x[/red]", "[/]", "[bold",
    "\\", "*", "?", "[a-", "a/b", "./x", "x/", "x.yaml", "x.csv", "x.safetensors", "x.pth", "gone/x.yaml", "/dev/null", "/dev/zero", "/dev/full",
    "/dev/null/x", "/proc/self/mem", "hfds/\x1b[31m", "hfds/", "hfds/../x", "torch/x", "tfds/x", "wds/x", "hub:x", "file:///etc/passwd",
    "hf-hub:\x1b[31m", "local-dir:/etc", "test_resnet.\x1b", "resnet18.gone", "ray://\x1b", "ray://x:99999999", "0.0.0.0:0", "x:y:z", "[::1",
)  # fmt: skip
FILES = (
    "{home}", "{home}/run", "{home}/data", "{home}/empty", "{home}/pipe", "{home}/loop", "{home}/best.yaml", "{home}/data/class0000/000.png",
    "{home}/trained/model.safetensors", "{home}/odd.yaml", "{home}/odd.csv", "{home}/odd.safetensors", "{home}/run/report.json/x",
)  # fmt: skip
"""Of those that are there."""

STEERING = ("\x1b[31mred", "two\nlines\r", "\udcff\x9b", "9" * 5000)
WORDS = st.one_of(
    st.sampled_from(TEXTS), st.sampled_from(FILES), st.sampled_from(TEXTS),
    st.text(st.characters(exclude_characters="\0"), max_size=20), st.integers().map(str), st.floats().map(repr),
)  # fmt: skip

KEPT = {"dashboard": ("run",), "demo": ("out",), "search": ("out",), "plan": ("data",)}
"""Parameters that stay as they are, so that no example takes long: a server, a demonstration, a search and its plan."""


@dataclass(frozen=True)
class Leaf:
    """A command: its words, and its parameters by name."""

    words: tuple[str, ...]
    parameters: Mapping[str, Any]

    @property
    def name(self) -> str:
        """All its words."""
        return " ".join(self.words)


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Go through all commands that the command line has."""
    for name, below in getattr(command, "commands", {}).items():
        yield from leaves(below, (*words, name))
    if words:
        yield Leaf(words, {one.name: one for one in command.params if one.name != "help"})


def usual(home: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """Give what every command is called with by default: name -> parameter -> its words."""
    run, data, file = str(home / "run"), str(home / "data"), str(home / "best.yaml")
    tiny = {"image_size": (str(SIDE),), "from_scratch": ("",), "model": (MODEL[1],)}
    blocked = (str(home / "data"),)
    return {
        "demo": {"out": blocked}, "check": {"data": (data,)}, "export": {"source": (run,)}, "status": {"run": (run,)},
        "suggest": {"data": (data,), "model": (MODEL[1],), "weights": (str(home / "weights.safetensors"),), "image_size": (str(SIDE),)},
        "plan": {"data": (str(home / "gone"),), **tiny}, "search": {"data": (data,), "out": blocked, **tiny},
        "report": {"run": (run,)}, "compare": {"runs": (run, run)}, "dashboard": {"run": (str(home / "gone"),)},
        "train": {"file": (file,), "data": (data,), "epochs": ("0.1",), "cache": (str(home / "cache"),)}, "predict": {"ckpt": (str(home / "trained"),), "images": (data,)},
        "groups": {"model": (MODEL[1],)}, "spaces show": {"name": ("quick",)}, "spaces validate": {"file": ("quick",)},
        "spaces copy": {"name": ("quick",), "file": ("copy.yaml",)}, "cache clear": {"decoded": ("",)},
    }  # fmt: skip


def words_of(leaf: Leaf, given: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Write values of parameters as a command line: options first, then arguments, in their order."""
    options: list[str] = []
    arguments: list[str] = []
    for name, one in leaf.parameters.items():
        for value in given.get(name, ()):
            if not one.opts[0].startswith("-"):
                arguments.append(value)
            elif getattr(one, "is_flag", False):
                options.append(one.opts[-1])
            else:
                options.append(f"{max(one.opts, key=len)}={value}")
    return [*leaf.words, *options, *arguments]


def open_parameters(leaf: Leaf) -> list[str]:
    """Name the parameters that may have any value."""
    return [name for name in leaf.parameters if name not in KEPT.get(leaf.name, ()) and name != "open_"]


def called(leaf: Leaf, given: Mapping[str, Any], changed: Mapping[str, str]) -> list[str]:
    """Write a command's line with other values than usual."""
    changed = {name: (value,) for name, value in changed.items()}
    if leaf.name == "demo" and "trials" in changed:
        changed = {"seed": ("x",), **changed}  # refused before anything is trained
    return words_of(leaf, {**given.get(leaf.name, {}), **changed})


@st.composite
def command_lines(draw: st.DrawFn, found: tuple[Leaf, ...], given: Mapping[str, Any]) -> list[str]:
    """Draw a command and up to three values; sometimes a word too many."""
    leaf = draw(st.sampled_from(found))
    names = open_parameters(leaf)
    chosen = draw(st.lists(st.sampled_from(names), max_size=3, unique=True)) if names else []
    words = called(leaf, given, {name: draw(WORDS) for name in chosen})
    for _ in range(draw(st.sampled_from((0,) * 12 + (1,)))):
        words.insert(draw(st.integers(0, len(words))), draw(WORDS))
    return words


def one_by_one(found: tuple[Leaf, ...], given: Mapping[str, Any]) -> list[list[str]]:
    """Give a line for each parameter of each command and each text that steers terminals, or is no text."""
    return [
        called(leaf, given, {name: text})
        for leaf in found
        for name in open_parameters(leaf)
        for text in STEERING
    ]


def furnish(home: Path) -> None:
    """Put there what commands read: a run, images, a schedule, a trained model, weights, and what is none of these."""
    import timm
    from safetensors.torch import save_file

    copied(image_run(), home / "run")
    (home / "data").symlink_to(image_run().parent / "data")
    (home / "empty").mkdir()
    os.mkfifo(home / "pipe")
    (home / "loop").symlink_to(home / "loop")
    for name in ("odd.yaml", "odd.csv", "odd.safetensors"):
        (home / name).write_bytes(b"\xff\x1b[31m\0" * 9)
    save_file(timm.create_model(MODEL[1]).state_dict(), home / "weights.safetensors")
    assert in_process("export", home / "run", "-o", home / "best.yaml")[0] == 0
    trained = ("train", home / "best.yaml", home / "data", "--epochs", "0.1", "--out", home / "trained")
    assert in_process(*trained, "--cache", home / "cache")[0] == 0


def fuzz_options(effort: Effort) -> Outcome:
    """Call every command with hostile values, in this process."""
    from autofreeze.cli import app

    home = effort.folder / "home"
    home.mkdir()
    furnish(home)
    found = tuple(leaves(typer.main.get_command(app)))

    def body(finds: Finds, words: list[str]) -> None:
        words = [word.replace("{home}", str(home)) for word in words]
        began = time.monotonic()
        finds.command(words, effort.folder, *words)
        if time.monotonic() - began > SLOWEST:
            finds.add(f"{words[0]} took {time.monotonic() - began:.0f} s", words)

    singly = one_by_one(found, usual(home))
    singly = effort.rng.sample(singly, min(len(singly), effort.times // 2))
    first = Finds()
    with placed(home):
        for words in singly:
            body(first, words)
        outcome = with_examples(
            replace(effort, times=effort.times - len(singly)), command_lines(found, usual(home)), body
        )
        canaries = [str(one) for one in home.rglob("canary")]
    return replace(
        outcome,
        tried=outcome.tried + len(singly),
        wrong=[*first.outcome().wrong, *outcome.wrong, *canaries],
        note=f"one by one {first.outcome().note}; together {outcome.note}",
    )


CHECKS: tuple[Check, ...] = (
    Check(name="fuzz-options", fault="every option of every command with hostile values", run=fuzz_options, quick=40, long=900),
)  # fmt: skip
"""All checks, in the order of the table."""
