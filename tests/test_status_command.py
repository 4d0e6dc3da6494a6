"""``autofreeze status``, on searches that really run, are killed, and go on."""

import io
import json
import os
import pty
import select
import shlex
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import filelock
import pytest
from rich.console import Console
from test_status import NOW, status_of, under_way

from autofreeze import api
from autofreeze.cli import main
from autofreeze.display import Display
from autofreeze.pulse import LOCK, Pulse, Sight
from autofreeze.report.files import write_summary
from autofreeze.report.seen import data_of, render, see
from autofreeze.report.status import render as render_sight
from autofreeze.results import UNDER_WAY, SummaryResult
from autofreeze.status import Doing
from autofreeze.statusfile import STATUS, read_status

GIVEN = {
    "model": "test_resnet", "from_scratch": True, "image_size": 32, "device": "cpu", "epochs": 1,
    "space": "quick", "folds": 1, "confirm": 0,
}  # fmt: skip


@pytest.fixture
def told(capsys, monkeypatch):
    """``told(*arguments)``: what the command prints, after checking that it succeeded."""

    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        capsys.readouterr()
        assert main(["status", *map(str, arguments)]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(capsys):
    """``refused(*arguments)``: the message."""

    def run(*arguments):
        assert main(["status", *map(str, arguments)]) == 2
        output, errors = capsys.readouterr()
        assert output == ""
        assert "Traceback" not in errors
        return errors

    return run


def start(command):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_until_searching(out, process, counted=1, seconds=120):
    """Wait until trials have ended and one is under way; then hold the process."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        if _is_searching(read_status(out), counted):
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.1)
            if _is_searching(read_status(out), counted):  # it may have moved on before it was held
                return
            process.send_signal(signal.SIGCONT)
        time.sleep(0.02)
    pytest.fail(f"no trial is told of; exit status {process.poll()}")


def _is_searching(status, counted):
    return status is not None and bool(status.under_way) and status.counted >= counted


def test_a_search_in_another_process_runs_is_killed_goes_on_and_ends(class_folders, tmp_path, told):
    out = tmp_path / "run"
    typed = [
        "search", str(class_folders), "--model", "test_resnet", "--from-scratch", "--image-size", "32",
        "--device", "cpu", "--epochs", "6", "--space", "quick", "--folds", "2", "--trials", "6",
        "--confirm", "0", "--out", str(out),
    ]  # fmt: skip
    with start([sys.executable, "-m", "autofreeze.cli", *typed]) as process:
        try:
            wait_until_searching(out, process)
            running, text = json.loads(told(out, "--json")), told(out)
            assert (running["pulse"], running["doing"]) == ("running", "searching")
            assert running["process"] == process.pid
            assert f"{out}: searching, for" in text.replace("\n", " ")
            assert f"{running['counted']} of 6 trials have ended" in text
            (run,) = running["under_way"]
            assert f" {run['number']}   {run['name']}" in text
        finally:
            process.kill()
    killed, text = json.loads(told(out, "--json")), told(out)
    assert killed["pulse"] == "killed"
    assert "was killed while searching; last word" in text
    (line,) = [line for line in text.splitlines() if line.startswith("it goes on where it was, with:")]
    again = shlex.split(line.split(":", 1)[1])
    assert again == ["autofreeze", *typed, "--resume"]
    with start([sys.executable, "-m", "autofreeze.cli", *again[1:]]) as process:
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    ended, text = json.loads(told(out, "--json")), told(out)
    assert (ended["pulse"], ended["counted"], ended["cut_short"]) == ("ended", 6, "")
    assert ended["process"] == process.pid
    assert "6 of 6 trials have ended" in text
    assert text.splitlines()[-1] == f"what it found:  autofreeze report {out}"


class Looking(Display):
    """Looks at a run folder from outside whenever a trial begins."""

    def __init__(self, out):
        super().__init__(console=Console(quiet=True))
        self.out, self.seen = out, []

    def trial_started(self, trial):
        super().trial_started(trial)
        time.sleep(1.2)  # a status may be a second old
        self.seen.append(see(self.out))


@pytest.fixture(scope="module")
def several(write_images, tmp_path_factory):
    """A search on two data sets: (folder, what was seen meanwhile)."""
    root = tmp_path_factory.mktemp("several")
    data = [
        write_images(root / name, (12, 12, 12), first=first) for name, first in (("cats", 0), ("dogs", 500))
    ]
    looking = Looking(root / "run")
    api.search_all(data, out=root / "run", trials=1, display=looking, **GIVEN)
    return root / "run", looking.seen


def test_of_several_data_sets_each_is_shown(several, told):
    out, (first, second) = several
    assert [one.pulse for one in first.datasets] == [Pulse.RUNNING, None]
    assert [one.pulse for one in second.datasets] == [Pulse.ENDED, Pulse.RUNNING]
    assert first.pulse is second.pulse is Pulse.RUNNING
    assert data_of(first)["datasets"]["dogs"] == {"pulse": None}
    assert data_of(second)["datasets"]["dogs"]["under_way"][0]["name"] == "linear_probe"
    text = shown(first)
    assert "2 data sets, 1 begun; it runs" in text
    assert "cats: searching, for" in text
    assert "dogs: has not begun" in text
    text = told(out)
    assert "2 data sets, 2 begun; it has ended" in text
    assert "cats: ended" in text
    assert "dogs: ended" in text


def shown(seen, width=100, **more):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(render(seen, **more) if not isinstance(seen, Sight) else render_sight(seen, "run", **more))
    return console.export_text()


def test_of_several_data_sets_that_were_killed_the_way_on_is_told_once(several, tmp_path, told):
    summary = SummaryResult(
        model="test_resnet", datasets=({"name": "cats", "data": "cats"}, {"name": "dogs", "data": "dogs"}),
        seconds=1.0, cut_short=UNDER_WAY, command="autofreeze search cats dogs",
    )  # fmt: skip
    out = tmp_path / "run"
    out.mkdir(parents=True, exist_ok=True)
    write_summary(summary, out)
    (out / "cats").mkdir()
    (out / "cats" / STATUS).write_text(status_of().model_dump_json())
    text = told(out)
    assert "2 data sets, 1 begun; it was killed" in text
    assert "cats: was killed while searching" in text
    assert "dogs: has not begun" in text
    assert text.count("it goes on where it was, with:  autofreeze search cats dogs --resume") == 1
    assert json.loads(told(out, "--json"))["pulse"] == "killed"


def test_an_earlier_version_is_told_by_its_report(several, tmp_path, told, monkeypatch):
    out, _ = several
    (out / "cats" / STATUS).rename(tmp_path / "aside")
    try:
        text, data = told(out / "cats"), json.loads(told(out / "cats", "--json"))
    finally:
        (tmp_path / "aside").rename(out / "cats" / STATUS)
    assert "it has ended; an earlier version kept no status, so this is its report" in text
    assert "1 trials: 1 complete" in text
    assert "best so far: linear_probe, top1" in text
    status = json.loads(told(out / "cats", "--json"))
    assert {name: data[name] for name in ("pulse", "trials", "ended", "best", "cut_short")} == {
        name: status[name] for name in ("pulse", "trials", "ended", "best", "cut_short")
    }


# Reading


def test_one_place_has_no_column_and_more_have(tmp_path):
    one = shown(Sight(status_of(under_way=(under_way(),)), Pulse.RUNNING, NOW))
    assert "where" not in one
    assert "under way" not in one
    runs = (under_way(3, where="node-a (GPU 0)", value=0.5, epochs_done=2.0), under_way(14, fold=1, folds=3))
    sight = Sight(status_of(under_way=runs, places={"node-a (GPU 0)": 1}), Pulse.RUNNING, NOW)
    assert [line.split() for line in shown(sight).splitlines() if "lp_ft" in line] == [
        ["3", "lp_ft", "1/1", "2/6", "0.500", "node-a", "(GPU", "0)", "30", "s"],
        ["14", "lp_ft", "2/3", "0/6", "–", "–", "30", "s"],
    ]


def test_eighty_columns_hold_the_table_of_a_cluster():
    runs = tuple(
        under_way(number, name="gradual", heads=16, fresh=11, where=f"10.128.12.{number} (GPU 7)", value=0.9)
        for number in (120, 121)
    )
    sight = Sight(status_of(under_way=runs, places={run.where: 1 for run in runs}), Pulse.RUNNING, NOW)
    lines = shown(sight, width=80).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("10.128.12.12" in line and "(GPU 7)" in line and "30 s" in line for line in lines) == 2


def test_a_table_keeps_to_the_rows_that_there_are():
    runs = tuple(under_way(number) for number in range(40))
    text = shown(Sight(status_of(under_way=runs), Pulse.RUNNING, NOW), rows=10)
    assert text.count("lp_ft") == 10
    assert "and 30 more runs" in text


def test_names_cannot_steer_the_terminal():
    run = under_way(name="[red]\x1b[2J", where="\x07")
    text = shown(Sight(status_of(under_way=(run,)), Pulse.RUNNING, NOW))
    assert "[red]\\x1b[2J" in text
    assert "\x1b" not in text


def test_the_way_on_is_one_line_however_narrow_the_terminal(tmp_path, told, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    command = f"autofreeze search {'photos/' * 20} --model mobilenetv2_100"
    (tmp_path / STATUS).write_text(status_of(command=command).model_dump_json())
    assert f"{command} --resume" in told(tmp_path).splitlines()[-1]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", "it goes on where it was, searched again with resume=True"),
        ("python it's mine", "searched again with resume=True"),
        ("autofreeze demo", "a demonstration is begun anew, with another --out"),
        ("autofreeze search -- --odd", "with:  autofreeze search --resume -- --odd"),
        ("autofreeze search 'my photos'", "with:  autofreeze search 'my photos' --resume"),
        ("autofreeze search a --resume --out b", "with:  autofreeze search a --resume --out b\n"),
        ("autofreeze search a", "with:  autofreeze search a --resume\n"),
    ],
)
def test_the_way_on_is_what_was_typed_and_resume_once(tmp_path, told, command, words):
    (tmp_path / STATUS).write_text(status_of(command=command).model_dump_json())
    assert words in told(tmp_path)


# Watching


def test_watching_ends_with_the_search(tmp_path, told):
    status = status_of(doing=Doing.ENDED)
    (tmp_path / STATUS).write_text(status.model_dump_json())
    assert len(told(tmp_path, "-w", "0.2").splitlines()) == 3
    (line,) = told(tmp_path, "--watch", "0.2", "--json").splitlines()
    assert json.loads(line) == {"pulse": "ended", **status.model_dump(mode="json")}


@pytest.mark.parametrize("on_terminal", [False, True], ids=["lines", "terminal"])
def test_watching_follows_a_search_to_its_end(tmp_path, on_terminal):
    runs = (under_way(5, epochs_done=4.0),)
    (tmp_path / STATUS).write_text(status_of(under_way=runs).model_dump_json())
    ours, theirs = pty.openpty()
    watching = [sys.executable, "-m", "autofreeze.cli", "status", str(tmp_path), "-w", "0.2"]
    with (
        filelock.FileLock(tmp_path / LOCK) as lock,
        subprocess.Popen(
            watching, stdout=theirs if on_terminal else subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "COLUMNS": "120", "LINES": "40", "TERM": "xterm"},
        ) as process,
    ):  # fmt: skip
        os.close(theirs)
        source = ours if on_terminal else process.stdout.fileno()
        text = read_until(source, b"4/6", times=2)
        (tmp_path / STATUS).write_text(status_of(doing=Doing.ENDED, counted=12).model_dump_json())
        lock.release()
        text += read_until(source, b"what it found:")
        process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0
    assert b"searching, for" in text
    assert b"ended on 2026-05-01" in text
    assert (b"\x1b[2K" in text) == on_terminal  # drawn anew in place


def read_until(source, words, *, times=1, seconds=60):
    """Read from a descriptor until some words have come so often."""
    text, end = b"", time.monotonic() + seconds
    while text.count(words) < times and time.monotonic() < end:
        if select.select([source], [], [], 0.1)[0]:
            text += os.read(source, 65536)
    return text


def test_watching_looks_again_and_ctrl_c_ends_it_quietly(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    far_away = status_of(host="far", written=datetime.now(UTC))
    (out / STATUS).write_text(far_away.model_dump_json())
    watching = [sys.executable, "-m", "autofreeze.cli", "status", str(out), "-w", "0.2", "--json"]
    with subprocess.Popen(watching, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        looks = [json.loads(process.stdout.readline())["pulse"] for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert looks == ["unknown"] * 3
    assert (process.returncode, errors) == (0, "")


# What is wrong


def test_what_is_no_run_folder_is_told_with_the_nearest_way_out(refused, several, tmp_path):
    out, _ = several
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    assert "nowhere: is not there; a search makes it once" in refused(tmp_path / "nowhere")
    assert "is a file; name a run folder" in refused(tmp_path / "file")
    assert "is this a run folder?" in refused(tmp_path / "other")
    assert f"name one of them: {out} " not in refused(out.parent)
    (tmp_path / "other" / "mine").mkdir()
    (tmp_path / "other" / "mine" / "run.json").write_text("{}")
    assert f"name one of them: {tmp_path / 'other' / 'mine'}" in refused(tmp_path / "other")
    assert "no trial has ended there yet" in refused(tmp_path / "other" / "mine")
    (tmp_path / "other" / "mine" / STATUS).write_text("{")
    assert "status.json is damaged or from another version" in refused(tmp_path / "other" / "mine")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "1e9"])
def test_a_pause_that_makes_no_sense_is_refused(refused, tmp_path, seconds):
    assert "must be 0.2 to 86400 seconds" in refused(tmp_path, f"--watch={seconds}")


def test_nothing_heavy_is_loaded_and_nothing_is_touched(several):
    out, _ = several
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    code = (
        f"import sys; from autofreeze.cli import main; assert main(['status', {str(out)!r}]) == 0\n"
        "print(*[name for name in ('torch', 'timm', 'optuna', 'ray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
