"""What is seen while a search runs: bars on a terminal, lines elsewhere."""

import io

import numpy as np
import pytest
from placed import PLACES, PlacedExecutor
from rich.console import Console

from autofreeze import api
from autofreeze.display import Display
from autofreeze.imagescoring import ImageScoring
from autofreeze.run import RunFolder
from autofreeze.scale import Scale
from autofreeze.space import SpaceSpec
from autofreeze.splits import Split
from autofreeze.study import Limits, Study
from autofreeze.watching import Watcher

SCALE = Scale.of("top1")
SPLITS = (Split(np.arange(40), np.arange(40, 80)), Split(np.arange(40, 80), np.arange(40)))

GIVEN = {
    "confirm": 0,
    "model": "test_resnet", "from_scratch": True, "image_size": 32, "device": "cpu", "epochs": 1,
    "space": "quick", "folds": 1, "trials": 2,
}  # fmt: skip


@pytest.fixture
def seen(class_folders, tmp_path):
    """``seen(is_terminal)``: everything that a short search writes while it runs, images decoded anew."""

    def search(is_terminal):
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=is_terminal, width=100)
        out, cache = tmp_path / f"run-{is_terminal}", tmp_path / f"cache-{is_terminal}"
        api.search(class_folders, out=out, cache_folder=str(cache), display=Display(console=console), **GIVEN)
        return stream.getvalue()

    return search


def test_a_terminal_shows_bars_of_preparations_trials_and_the_best_so_far(seen):
    text = seen(True)
    for words in (
        "hashing images",
        "looking at images",
        "decoding images",
        "trial 0: linear_probe",
        "best 0.",
    ):
        assert words in text
    assert "\x1b[2K" in text  # bars are drawn again in place


def test_elsewhere_there_are_lines_alone_and_none_of_short_preparations(seen):
    text = seen(False)
    assert "\x1b" not in text
    assert "hashing" not in text
    lines = [line for line in text.splitlines() if line.startswith("trial")]
    assert [line.split()[1] for line in lines] == ["0/2", "1/2"]


def test_a_long_preparation_is_told_elsewhere_every_ten_seconds_and_at_its_end(monkeypatch):
    now = iter([0.0, 0.0, 5.0, 11.0, 12.0, 20.0])
    stream = io.StringIO()
    display = Display(console=Console(file=stream, width=100))
    monkeypatch.setattr("autofreeze.display.time.monotonic", lambda: next(now))
    for done in (1, 2, 3, 4, 5, 6):
        display.preparing("decoding images", done, 6)
    assert stream.getvalue().splitlines() == ["decoding images: 4 of 6", "decoding images: 6 of 6"]


# Where runs are


@pytest.fixture
def placed(tmp_path, made_up):
    """``placed(is_terminal, trials)``: what a made-up search on three places writes, and its last panel."""

    def search(is_terminal, trials=6, height=40):
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=is_terminal, width=100, height=height)
        display = Display(trials, console)
        folder = tmp_path / f"run-{is_terminal}"
        panels = []
        with RunFolder(folder, {}) as run, Watcher((display,), folder, trials=trials, scale=SCALE) as watcher:
            executor = PlacedExecutor(made_up.curve)
            give = executor.next_event

            def next_event():
                panels.append(panel(display))
                return give()

            executor.next_event = next_event
            study = Study(
                run, SpaceSpec.from_text("head_lr: {low: 1e-4, high: 1e-2}\n").resolve(made_up.groups, 3.0),
                executor, scoring=ImageScoring.of("top1", np.arange(80) % 2, SPLITS), seed=0,
                sampler="random", observer=watcher, prune=False,
            )  # fmt: skip
            study.search(Limits(trials))
        return stream.getvalue(), panels

    return search


def panel(display):
    """The bars as they would be drawn now, a line each."""
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(display._progress.get_renderable())
    return [line.rstrip() for line in console.export_text().splitlines() if line.strip()]


def test_a_line_of_a_trial_ends_with_where_it_ran(placed):
    text, _ = placed(False)
    lines = [line for line in text.splitlines() if line.startswith("trial")]
    assert len(lines) == 6
    assert {line.split("  on ")[1] for line in lines} == set(PLACES)


def test_on_one_machine_no_place_is_named(seen):
    assert " on " not in "".join(line for line in seen(False).splitlines() if line.startswith("trial"))


def test_each_bar_names_where_its_trial_runs(placed):
    _, panels = placed(True)
    assert all(first.startswith(("best 0.", "no trial complete yet")) for first, *_ in panels[1:])
    runs = [row for _, *rows in panels[1:] for row in rows]
    assert all(row.startswith("trial ") for row in runs)
    assert any(row.startswith("trial 0: linear_probe ") and row.endswith(PLACES[0]) for row in runs)
    full = [rows for _, *rows in panels[1:] if len(rows) == 3 and all(row.endswith(PLACES) for row in rows)]
    assert full
    for rows in full:
        assert len({row.index("10.0.0.") for row in rows}) == 1  # they stand in one column


def test_bars_keep_to_the_rows_of_the_terminal_and_the_rest_is_counted(placed):
    _, panels = placed(True, height=8)
    assert max(map(len, panels)) == 2
    assert any("2 more runs under way" in one[0] for one in panels)


def test_a_confirmation_says_how_many_runs_are_where(made_up, monkeypatch):
    now = iter(range(0, 1000, 11))
    monkeypatch.setattr("autofreeze.display.time.monotonic", lambda: float(next(now)))
    stream = io.StringIO()
    display = Display(console=Console(file=stream, width=100))
    jobs = [made_up.job(number).model_copy(update={"fresh": 0}) for number in range(3)]
    display.confirming(0, 12)
    for job, place in zip(jobs, ("node-a", "node-b", "node-a"), strict=True):
        display.run_started(job, "full")
        display.run_recorded(job, made_up.record(job, 0), place)
    display.confirming(1, 12)
    display.run_ended(jobs[0])
    display.confirming(2, 12)
    assert stream.getvalue().splitlines() == [
        "confirming on fresh seeds: 1 of 12; 2 on node-a, 1 on node-b",
        "confirming on fresh seeds: 2 of 12; 1 on node-b, 1 on node-a",
    ]


def test_a_terminal_shows_a_bar_of_each_run_of_a_confirmation(made_up):
    display = Display(console=Console(file=io.StringIO(), force_terminal=True, width=100, height=40))
    job = made_up.job(7).model_copy(update={"fresh": 4})
    display.confirming(0, 12)
    display.run_started(job, "lp_ft")
    display.run_recorded(job, made_up.record(job, 1), "node-b (GPU 3)")
    whole, run = panel(display)
    assert whole.startswith("confirming on fresh seeds ")
    assert "0/12" in whole
    assert run.startswith("trial 7, fresh seed 4: lp_ft ")
    assert "2/3" in run
    assert run.endswith("node-b (GPU 3)")
    display.run_ended(job)
    assert len(panel(display)) == 1
