"""``search --log tensorboard``: what TensorBoard reads is what the records say, once, whatever happens."""

import io
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from placed import PlacedExecutor
from rich.console import Console

import autofreeze
from autofreeze.cli import main
from autofreeze.display import Display
from autofreeze.eventfile import MARK
from autofreeze.eventlog import FOLDER, EventLog, step_of, told_of
from autofreeze.figures import shown_value
from autofreeze.imagescoring import ImageScoring
from autofreeze.records import read_fresh_records, read_records
from autofreeze.report.files import read_report
from autofreeze.run import RunFolder
from autofreeze.scale import Scale
from autofreeze.space import SpaceSpec
from autofreeze.splits import Split
from autofreeze.study import Limits, Study
from autofreeze.watching import Watcher

pytest.importorskip("tensorboard")

IMAGES = {
    "model": "test_resnet", "from_scratch": True, "image_size": 32, "device": "cpu", "metric": "log_loss",
}  # fmt: skip
QUICK = {"folds": 1, "confirm": 0, **IMAGES}
LOG = ["tensorboard"]
OPEN_FILES = Path("/proc/self/fd")


def read(folder):
    """What TensorBoard itself reads of one run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return events


def runs_in(root, kind):
    """Folders of runs: (trial, fold or fresh seed) -> folder."""
    folders = sorted(path for path in (root / FOLDER / kind).glob("trial-*/*") if path.is_dir())
    return {(int(path.parent.name.split("-")[1]), int(path.name.split("-")[1])): path for path in folders}


def check_curves(run, kind, kept, trials=None, scale=None):
    """Every curve of the records is in TensorBoard, with equal numbers at equal steps, and no other."""
    result = None if trials else read_report(run)
    trials, scale = (result.trials, result.scale) if result else (trials, scale)
    folders = runs_in(run, kind)
    assert set(folders) == set(kept)
    for key, curve in kept.items():
        groups = trials[key[0]].schedule.groups
        want = {}
        for record in curve:
            for tag, number in told_of(record, groups, scale).items():
                want.setdefault(tag, []).append((step_of(record), np.float32(number)))
        events = read(folders[key])
        assert set(events.Tags()["scalars"]) == set(want)
        for tag, points in want.items():
            got = [(one.step, np.float32(one.value)) for one in events.Scalars(tag)]
            assert got == points, tag
        assert len(list(folders[key].glob(f"{MARK}*"))) == 1


@pytest.fixture(scope="module")
def searched(class_folders, tmp_path_factory):
    """A search with a confirmation, logged; log loss, so that values are not as they are kept."""
    run = tmp_path_factory.mktemp("logged") / "run"
    given = {"trials": 2, "epochs": 2, "folds": 1, "confirm": 6, "space": "quick", **IMAGES}
    autofreeze.search(class_folders, out=run, log=LOG, **given)
    return run


def test_curves_of_the_search_are_those_of_its_records(searched):
    check_curves(searched, "search", read_records(searched))


def test_curves_on_fresh_seeds_lie_apart_and_are_those_of_their_records(searched):
    kept = read_fresh_records(searched)
    assert kept
    check_curves(searched, "fresh", kept)


def test_an_epoch_tells_losses_the_metric_as_people_read_it_rates_and_gradients(searched):
    result, curves = read_report(searched), read_records(searched)
    (key, curve), *_ = [item for item in curves.items() if any(item[1][-1].rates[:-1])]
    record, groups = curve[-1], result.trials[key[0]].schedule.groups
    told = told_of(record, groups, result.scale)
    assert told["loss/train"] == record.train_loss
    assert told["loss/val"] == record.val_loss
    assert told["log_loss"] == pytest.approx(record.val_loss)  # kept as exp(-log loss)
    for name, rate, norm in zip(groups, record.rates, record.grad_norms, strict=True):
        assert told.get(f"rate/{name}") == rate
        assert told.get(f"gradient_norm/{name}") == norm


def test_what_a_trial_came_to_is_told_with_its_settings_and_ending(searched):
    from tensorboard.plugins.hparams import metadata

    result = read_report(searched)
    for trial in result.trials:
        [folder] = (searched / FOLDER / "trials").glob(f"trial-{trial.number:04}-*")
        events = read(folder)
        if trial.value is not None:
            [final] = events.Scalars("final/log_loss")
            assert np.float32(final.value) == np.float32(shown_value(result.scale, trial))
        content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
        given = metadata.parse_session_start_info_plugin_data(content).hparams
        assert given["recipe"].string_value == trial.recipe
        for name, value in trial.params.items():
            if isinstance(value, bool):
                assert given[name].bool_value == value
            elif isinstance(value, int | float):
                assert given[name].number_value == value
            else:
                assert given[name].string_value == str(value)
        [ending] = events.Tensors("ending")
        assert trial.ending.value in ending.tensor_proto.string_val[0].decode()


def test_the_tab_hparams_finds_trials_settings_and_final_values(searched):
    """What TensorBoard's own plugin makes of the folder."""
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import backend_context

    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(searched / FOLDER))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(searched / FOLDER))
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    found = context.experiment_from_metadata(
        RequestContext(), "", True, context.hparams_metadata(RequestContext(), ""), []
    )
    result = read_report(searched)
    axes = {name for trial in result.trials for name in trial.params}
    assert {"recipe", "baseline", "ending", *axes} == {one.name for one in found.hparam_infos}
    assert {one.name.tag for one in found.metric_infos} == {"final/log_loss", "final/loss", "final/work"}


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="needs /proc")
def test_no_file_is_held_open_and_no_run_is_kept_in_mind(searched, tmp_path):
    shutil.copy(searched / "records.jsonl", tmp_path)
    result = read_report(searched)
    log = EventLog(tmp_path, result.scale, print)
    before = len(list(OPEN_FILES.iterdir()))
    log.take_up(result.trials)
    assert len(list(OPEN_FILES.iterdir())) == before
    assert len(list((tmp_path / FOLDER).rglob(f"{MARK}*"))) > len(result.trials)
    assert not log._curves


# Resumed searches


SCALE = Scale.of("top1")


def search_made_up(folder, made_up, trials, killed_at=math.inf):
    """One session of a search of made-up trials on three places; gives what trials came to."""
    space = SpaceSpec.from_text("head_lr: {low: 1e-4, high: 1e-2}\n").resolve(made_up.groups, 3.0)
    splits = (Split(np.arange(40), np.arange(40, 80)), Split(np.arange(40, 80), np.arange(40)))
    scoring = ImageScoring.of("top1", np.arange(80) % 2, splits)
    log = EventLog(folder, SCALE, pytest.fail)
    log.epoch_done = Killing(log.epoch_done, killed_at)
    with (
        RunFolder(folder, {}, resume=True) as run,
        Watcher((log,), folder, trials=trials, scale=SCALE) as watcher,
    ):
        executor = PlacedExecutor(made_up.run)
        study = Study(run, space, executor, scoring=scoring, seed=0, sampler="random", observer=watcher)
        log.take_up(study.results)
        study.search(Limits(trials))
        assert not log._curves
        return study.results


class Killed(BaseException):
    """Ends a search where nothing is caught, and nothing more is written."""


class Killing:
    """Hands epochs on until the search is killed."""

    def __init__(self, told, at):
        self.told, self.left = told, at

    def __call__(self, trial, record):
        self.told(trial, record)
        self.left -= 1
        if self.left <= 0:
            raise Killed


def test_runs_side_by_side_are_told_apart(made_up, tmp_path):
    """As on a cluster: the driver is told of epochs of several trials in turn, and writes them all."""
    trials = search_made_up(tmp_path, made_up, 6)
    check_curves(tmp_path, "search", read_records(tmp_path), trials, SCALE)


@pytest.mark.parametrize("killed_at", [1, 2, 5, 9, 14])
def test_a_search_that_was_killed_and_resumed_writes_each_point_once(made_up, tmp_path, killed_at):
    with pytest.raises(Killed):
        search_made_up(tmp_path, made_up, 5, killed_at)
    with pytest.raises(Killed):
        search_made_up(tmp_path, made_up, 5, 2)
    trials = search_made_up(tmp_path, made_up, 5)
    check_curves(tmp_path, "search", read_records(tmp_path), trials, SCALE)
    assert len(list((tmp_path / FOLDER / "trials").iterdir())) == 5


def test_an_event_that_was_torn_by_a_kill_is_written_anew(made_up, tmp_path):
    with pytest.raises(Killed):
        search_made_up(tmp_path, made_up, 3, 4)
    for file in [*(tmp_path / FOLDER / "search").rglob(f"{MARK}*")]:
        file.write_bytes(file.read_bytes()[:-7])
        file.with_name(".half.autofreeze").write_bytes(b"written by half")
    trials = search_made_up(tmp_path, made_up, 3)
    check_curves(tmp_path, "search", read_records(tmp_path), trials, SCALE)
    assert not list(tmp_path.rglob(".half*"))


def test_an_epoch_on_a_fresh_seed_that_is_told_twice_is_written_once(made_up, tmp_path):
    """A run that begins again where it was interrupted tells what it has told."""
    job = made_up.job().model_copy(update={"fresh": 2})
    curve = made_up.curve(job)
    log = EventLog(tmp_path, SCALE, pytest.fail)
    log.run_started(job, "lp_ft")
    for record in (*curve[:2], *curve):
        log.run_recorded(job, record, "")
    log.run_ended(job)
    events = read(tmp_path / FOLDER / "fresh" / "trial-0000-lp_ft" / "seed-02")
    assert [one.step for one in events.Scalars("top1")] == [record.step for record in curve]


def test_a_search_that_is_logged_from_its_second_session_on_is_logged_whole(split_folders, tmp_path):
    given = {"out": tmp_path / "run", "epochs": 1, "folds": 1, "confirm": 6, "space": "quick", **IMAGES}
    autofreeze.search(split_folders, trials=1, **given)
    assert not (tmp_path / "run" / FOLDER).exists()
    autofreeze.search(split_folders, trials=2, resume=True, log=LOG, **given)
    check_curves(tmp_path / "run", "search", read_records(tmp_path / "run"))
    check_curves(tmp_path / "run", "fresh", read_fresh_records(tmp_path / "run"))


def test_the_log_is_no_part_of_the_study(split_folders, tmp_path):
    """It changes no number, and a resumed search may do without."""
    given = {"trials": 2, "epochs": 1, **QUICK}
    logged = autofreeze.search(split_folders, out=tmp_path / "logged", log=LOG, **given)
    plain = autofreeze.search(split_folders, out=tmp_path / "plain", **given)
    assert [one.value for one in logged.trials] == [one.value for one in plain.trials]
    autofreeze.search(split_folders, out=tmp_path / "logged", resume=True, **{**given, "trials": 3})


# Other searches


def test_a_training_of_ones_own_is_logged_as_its_numbers_are_read(tmp_path):
    """Less is better, and no losses: what it yields is what is shown."""

    def fit(job):
        yield from (2.5 - job.schedule.unfreeze_depth, 1.25)

    result = autofreeze.search(
        fit=fit, groups=("stem", "body", "head"), direction="minimize", out=tmp_path / "run", epochs=2,
        space="quick", confirm=0, trials=2, log=LOG,
    )  # fmt: skip
    check_curves(tmp_path / "run", "search", read_records(tmp_path / "run"))
    [folder] = (tmp_path / "run" / FOLDER / "search").glob("trial-0000-*/fold-0")
    events = read(folder)
    assert [one.step for one in events.Scalars(result.metric)] == [1, 2]
    assert events.Scalars(result.metric)[-1].value == 1.25
    assert not {"loss/train", "loss/val"} & set(events.Tags()["scalars"])


def test_a_run_that_broke_down_tells_the_loss_that_is_no_number(made_up):
    job = made_up.job()
    told = told_of(made_up.diverged(job), job.schedule.groups, Scale.of("top1"))
    assert math.isnan(told["loss/train"])
    assert math.isnan(told["top1"])


def test_steps_are_those_of_the_optimizer(made_up):
    job = made_up.job()
    record = made_up.record(job, 1)
    assert step_of(record) == record.step == 8


# A log that cannot be written


def test_a_full_disk_ends_the_log_with_a_line_and_not_the_search(split_folders, tmp_path, monkeypatch):
    from autofreeze import eventlog

    real, calls = eventlog.EventFile, []

    class Full(real):
        def append(self, *events):
            calls.append(1)
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(eventlog, "EventFile", Full)
    stream = io.StringIO()
    given = {"out": tmp_path / "run", "trials": 2, "epochs": 2, **QUICK}
    display = Display(console=Console(file=stream, width=200))
    result = autofreeze.search(split_folders, display=display, log=LOG, **given)
    assert all(trial.value is not None for trial in result.trials)
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("TensorBoard")]
    assert len(lines) == 1
    assert "No space left on device; the search goes on" in lines[0]
    assert len(calls) == 1
    assert not (tmp_path / "run" / FOLDER / "trials").exists()
    monkeypatch.setattr(eventlog, "EventFile", real)
    autofreeze.search(split_folders, resume=True, log=LOG, **given)
    check_curves(tmp_path / "run", "search", read_records(tmp_path / "run"))


def test_where_nothing_is_shown_a_log_that_ends_is_a_warning(split_folders, tmp_path, monkeypatch):
    from autofreeze import eventlog

    def broken(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(eventlog, "EventFile", broken)
    with pytest.warns(RuntimeWarning, match="Read-only file system"):
        autofreeze.search(split_folders, out=tmp_path / "run", trials=1, epochs=1, log=LOG, **QUICK)


# Refused at once


def refused(arguments, capsys, tmp_path):
    status = main(["search", str(tmp_path / "nowhere"), "--model", "test_resnet", *arguments])
    captured = capsys.readouterr()
    assert status == 2
    assert "nowhere" not in captured.err  # the data were not looked at
    return captured.err


def test_without_the_package_it_is_refused_before_data_are_opened(monkeypatch, capsys, tmp_path):
    from autofreeze import searchoptions

    monkeypatch.setattr(searchoptions, "find_spec", lambda name: None)
    errors = refused(["--log", "tensorboard", "--trials", "0"], capsys, tmp_path)
    assert "pip install 'autofreeze[tensorboard]'" in errors
    assert "trials: got 0" in errors


def test_a_log_that_there_is_none_of_is_refused(capsys, tmp_path):
    assert "did you mean tensorboard?" in refused(["--log", "tensorbord"], capsys, tmp_path)


def test_without_the_option_tensorboard_is_not_imported():
    code = "import sys, autofreeze.eventlog; assert 'tensorboard' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_line_hands_the_log_on(class_folders, tmp_path, capsys):
    run = tmp_path / "run"
    given = ["--model", "test_resnet", "--from-scratch", "--image-size", "32", "--device", "cpu", "--trials",
             "1", "--epochs", "1", "--folds", "1", "--confirm", "0", "--out", str(run)]  # fmt: skip
    assert main(["search", str(class_folders), *given, "--log", "tensorboard", "--log", "tensorboard"]) == 0
    check_curves(run, "search", read_records(run))
