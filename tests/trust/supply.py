"""What is shipped and what it leans on: the wheel and its requirements alone; nothing phones home."""

import importlib.metadata
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from trust.check import Check, Effort, Outcome
from trust.commands import SLOWEST, Ended, Place
from trust.guard import watched

ROOT = Path(__file__).parents[2]
SEARCH = (
    "--model", "test_resnet", "--from-scratch", "--image-size", 32, "--groups", "coarse", "--device", "cpu",
    "--threads", 1, "--preset", "quick", "--trials", 3, "--epochs", 1,
)  # fmt: skip

SESSION = """
import importlib.metadata, json, sys
[command] = importlib.metadata.entry_points(group="console_scripts", name="autofreeze")
main = command.load()
for words in json.load(sys.stdin):
    status = main(words)
    if status:
        sys.exit(f"autofreeze {' '.join(words)}: status {status}")
"""
"""Runs commands one after the other, by the entry point of whatever is installed."""

OWN = "10.0.0.1"
ALONE = f"""
ip link set lo up && ip link add out0 type veth peer name out1 &&
for end in out0 out1
do ip link set $end arp off multicast off addrgenmode none && ip link set $end up || exit 99
done &&
ip address add {OWN}/24 dev out0 && ip route add default dev out0 &&
ip address add fd00::1/64 dev out0 nodad && ip -6 route add default dev out0 &&
ip route add unreachable 169.254.169.254 &&
echo "127.0.0.1 localhost metadata.google.internal" >"$COUNTS/hosts" &&
mount --bind "$COUNTS/hosts" /etc/hosts &&
ip -s -j link show out0 >"$COUNTS/before" || exit 99
"$@"; status=$?
ip -s -j link show out0 >"$COUNTS/after"; exit $status
"""
"""Runs a command in a network of its own: a loopback, and a way out whose packets are counted and lost.

Python's own events do not tell of what C++ sends; the kernel's counters do. Ray asks its machine in which
cloud it is: that has no way out here, and is not counted.
"""

ASKED_BY_RAY = ("169.254.169.254", "metadata.google.internal", OWN)


def session(folder: Path, data: Path, *on: object, confirm: int) -> list[list[str]]:
    """Give the commands of a session: from the check of images to what the model says of them."""
    run, best, model = folder / "run", folder / "best.yaml", folder / "model"
    rest = ("--device", "cpu", "--threads", 1)
    commands: tuple[tuple[object, ...], ...] = (
        ("check", data),
        ("search", data, *SEARCH, "--confirm", confirm, "--out", run, *on),
        ("status", run),
        ("report", run),
        ("export", run, "-o", best),
        ("export", best, "--to", "pytorch", "-o", folder / "train.py"),
        ("train", best, data, "--from-scratch", "--out", model, *rest),
        ("predict", model, data, "-o", folder / "predicted.csv", *rest),
    )
    return [[str(word) for word in words] for words in commands]


# No way out


def can_be_alone() -> bool:
    """Whether this machine gives a process a network of its own."""
    try:
        return not subprocess.run(
            ["unshare", "-rmn", "ip", "link"], capture_output=True, check=False
        ).returncode
    except OSError:
        return False


def run_alone(
    words: Sequence[str], environment: Mapping[str, str], counts: Path, given: str = ""
) -> tuple[Ended, list[str]]:
    """Run a command in a network of its own, where there can be one.

    Args:
        words: The command.
        environment: Its own.
        counts: A new folder for what the kernel counts; the command runs beside it.
        given: Its standard input.

    Returns:
        How it ended, and what it sent out, a sentence.
    """
    counts.mkdir()
    alone = can_be_alone()
    before = ["unshare", "-rmn", "sh", "-c", ALONE, "sh"] if alone else []
    began = time.monotonic()
    done = subprocess.run(
        [*before, *words], cwd=counts.parent, env={**environment, "COUNTS": str(counts)}, capture_output=True,
        input=given, text=True, errors="backslashreplace", check=False, timeout=SLOWEST,
    )  # fmt: skip
    ended = Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)
    if not alone:
        return ended, []
    sent = _packets(counts / "after") - _packets(counts / "before")
    return ended, [f"{sent} packets were sent out of this machine"] if sent else []


def _packets(file: Path) -> int:
    [link] = json.loads(file.read_text(encoding="utf-8"))
    return int(link["stats64"]["tx"]["packets"])


KINDS = ("a session", "on Ray")


def stay_at_home(effort: Effort) -> Outcome:
    """Run sessions on this machine and on Ray; sockets and opened files are watched."""
    wrong = []
    for number in range(effort.times):
        what = KINDS[number % len(KINDS)]
        wrong += [f"{what}: {one}" for one in _strayed(effort.folder / f"{number}", what)]
    alone = "packets counted" if can_be_alone() else "no packets counted: no network of its own here"
    return Outcome(tried=effort.times, wrong=wrong, note=alone)


def _strayed(folder: Path, what: str) -> list[str]:
    """Run one of the kinds of sessions, and tell what it did outside its folders and outside this machine."""
    place = Place(folder).fill((14, 14, 14))
    inside, log = folder / "inside", folder / "log" / "violations"
    for one in (inside, log.parent, folder / "home"):
        one.mkdir()
    on = ["--ray"] if what == "on Ray" else []
    commands = session(inside, place.data, *on, confirm=6)
    environment = watched(
        place.env() | {"HOME": str(folder / "home")}, [inside, place.cache], log, temporary=folder / "tmp"
    )
    words = [sys.executable, "-c", SESSION]
    ended, sent = run_alone(words, environment, folder / "counts", json.dumps(commands))
    told = sorted(set(log.read_text(encoding="utf-8").splitlines())) if log.exists() else []
    if what == "on Ray":
        told = [line for line in told if not ("/ray/" in line and any(one in line for one in ASKED_BY_RAY))]
    return [*ended.complaints(), *sent, *told[:20]]


# The wheel


def build_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout, as pip would."""
    code = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return folder / done.stdout.split()[-1]


def missing_files(wheel: Path) -> list[str]:
    """Name the files of the package and the shipped spaces that a wheel lacks, and what it holds beside."""
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        *(f"autofreeze/{path}" for path in files_below(ROOT / "autofreeze")),
        *(f"autofreeze/search_spaces/{path}" for path in files_below(ROOT / "search_spaces")),
    }
    return [
        *(f"the wheel lacks {name}" for name in sorted(wanted - held)),
        *(f"the wheel holds {name}, which is no file of the package" for name in sorted(held - wanted)),
    ]


def files_below(folder: Path) -> list[str]:
    """Name the files in a folder, compiled ones left out."""
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]


def distributions_for(requirements: Iterable[str]) -> dict[str, importlib.metadata.Distribution]:
    """Give what requirements need, and what that needs, and so on, of what is installed here, by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    todo = [(Requirement(text), "") for text in requirements]
    seen = set()
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        found[name] = importlib.metadata.distribution(name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                todo += [(Requirement(text), wanted) for text in found[name].requires or ()]
    return found


def link_distributions(distributions: Iterable[importlib.metadata.Distribution], folder: Path) -> None:
    """Make a folder of links to distributions, for a path on which nothing else is found."""
    folder.mkdir()
    for one in distributions:
        for file in one.files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(Path(str(one.locate_file(top))))


def use_the_wheel(effort: Effort) -> Outcome:
    """Build the wheel, look into it, and run a session with it and what it requires alone."""
    wheel = build_wheel(effort.folder / "dist")
    wrong = missing_files(wheel)
    unpacked, packages = effort.folder / "wheel", effort.folder / "packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    [metadata] = unpacked.glob("*.dist-info")
    requires = importlib.metadata.PathDistribution(metadata).requires or []
    needed = distributions_for(requires)
    link_distributions(needed.values(), packages)
    for number in range(effort.times):
        place = Place(effort.folder / f"{number}").fill((14, 14, 14))
        commands = session(place.root, place.data, confirm=0)
        if number % 2:
            commands = [["demo", "--out", str(place.root / "demo")]]
        # Without -S the packages of this interpreter would be found too.
        words = [sys.executable, "-S", "-c", SESSION]
        path = os.pathsep.join(map(str, (unpacked, packages)))
        environment = place.env() | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        ended, sent = run_alone(words, environment, place.root / "counts", json.dumps(commands))
        wrong += [*ended.complaints(), *sent]
    note = f"{len(needed)} packages in sight"
    return Outcome(tried=effort.times, wrong=wrong, note=note)


CHECKS: tuple[Check, ...] = (
    Check(
        name="supply-wheel",
        fault="a session, and the demo, with the wheel and what it requires alone, packets counted",
        run=use_the_wheel, quick=1, long=2,
    ),
    Check(
        name="supply-home", fault="a session here, one on Ray: sockets and files watched, packets counted",
        run=stay_at_home, quick=2, long=2, ray=True,
    ),
)  # fmt: skip
