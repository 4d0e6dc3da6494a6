"""The command line: bad input is told in plain words and changes nothing; good input works."""

import json
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
import torch
from safetensors.torch import save_file

from autofreeze.cli import main

SEARCH = (
    "--confirm",
    "0",
    "--model",
    "test_resnet",
    "--from-scratch",
    "--image-size",
    "32",
    "--device",
    "cpu",
    "--trials",
    "1",
)


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.name != ".lock"
    }


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def refused(tmp_path, capsys):
    """``refused(*arguments)``: the message, after checking that nothing else happened."""

    def run(*arguments):
        before = tree(tmp_path)
        status = main([str(argument) for argument in arguments])
        output, errors = capsys.readouterr()
        assert status == 2, errors
        assert output == ""
        assert "Traceback" not in errors
        assert tree(tmp_path) == before
        return errors

    return run


@pytest.fixture(scope="module")
def searched(split_folders, tmp_path_factory):
    """A run folder with one trial of one epoch."""
    out = tmp_path_factory.mktemp("cli") / "run"
    assert main(["search", str(split_folders), *SEARCH, "--epochs", "1", "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--trials", "0"), "trials: got 0; must be at least 1"),
        (("--time", "0"), "must be a time above zero"),
        (("--time", "soon"), "must be a time above zero"),
        (("--epochs", "0"), "epochs: got 0; must be above zero"),
        (("--epochs", "nan"), "epochs: got nan"),
        (("--folds", "9"), "folds"),
        (("--sampler", "tpee"), "did you mean tpe?"),
        (("--metric", "balanced"), "did you mean balanced_accuracy?"),
        (("--metric", "balanced", "--device", "gpu"), "metric: 'balanced' is unknown"),
        (("--metric", "f1"), "known: auto, top1, balanced_accuracy, macro_f1, log_loss"),
        (("--preset", "quik"), "preset: 'quik' is unknown; did you mean quick?"),
        (("--device", "gpu"), "device: got 'gpu'"),
        (("--groups", "medium"), "granularity"),
        (("--groups", "²"), "granularity"),
        (("--groups", "9" * 5000), "granularity"),
        (("--mean", "1,2"), "mean: got '1,2'; must be three numbers"),
        (("--std", "a,b,c"), "std: got 'a,b,c'"),
        (("--std", "0,1,1"), "std"),
        (("--interpolation", "cubic"), "interpolation"),
        (("--crop-pct", "2"), "crop_pct"),
        (("--space", "defualt"), "did you mean default?"),
        (("--cache-size", "many"), "many"),
        (("--weights", "some.safetensors"), "exclude each other"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_option_is_told_in_one_message(refused, class_folders, given, words):
    errors = refused("search", class_folders, *SEARCH, *given)
    assert words in errors
    assert errors.startswith("autofreeze: ")
    assert errors.count("autofreeze: ") == 1


def test_a_missing_folder_is_told(refused):
    assert "nowhere" in refused("search", "nowhere", *SEARCH)


def test_an_empty_folder_is_told(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in refused("search", tmp_path / "empty", *SEARCH)


def test_one_class_is_not_enough(refused, write_images, tmp_path):
    data = write_images(tmp_path / "data", (6,))
    assert "only one class (plain)" in refused("search", data, *SEARCH)


def test_an_unknown_model_is_told_with_names_that_are_near(refused, class_folders):
    errors = refused("search", class_folders, "--model", "resnet_50", "--from-scratch")
    assert "no model 'resnet_50'; did you mean resnet50" in errors


def test_a_missing_weights_file_is_told(refused, class_folders):
    errors = refused("search", class_folders, "--model", "test_resnet", "--weights", "missing.safetensors")
    assert "missing.safetensors" in errors


def test_weights_of_another_architecture_are_told(refused, class_folders, tmp_path):
    save_file({"conv.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    errors = refused(
        "search", class_folders, "--model", "test_resnet", "--weights", tmp_path / "other.safetensors"
    )
    assert "weights of another architecture?" in errors


def test_everything_wrong_in_a_space_is_told_at_once_with_lines(refused, class_folders, tmp_path):
    (tmp_path / "mine.yaml").write_text("warmup-epochs: 1\nhead_lr: {low: fast, high: 1}\ncutmix: 1\n")
    errors = refused("search", class_folders, *SEARCH, "--space", tmp_path / "mine.yaml")
    assert "line 1: warmup-epochs: unknown; did you mean warmup_epochs" in errors
    assert "line 2: head_lr" in errors
    assert "cutmix mixes an image with a partner" in errors


def test_a_depth_beyond_the_model_is_told_and_nothing_is_begun(refused, class_folders, tmp_path):
    (tmp_path / "mine.yaml").write_text("head_lr: 1.0e-3\nunfreeze_depth: {low: 0, high: 40}\n")
    errors = refused("search", class_folders, *SEARCH, "--space", tmp_path / "mine.yaml")
    assert "unfreeze_depth: got 40" in errors
    assert "5" in errors  # the groups that test_resnet has below its head


@pytest.mark.parametrize("below", ["", "deep/er"], ids=["directly", "deeper"])
def test_an_output_folder_that_cannot_be_made_is_told_before_anything_is_opened(
    refused, class_folders, tmp_path, below
):
    (tmp_path / "file").write_text("mine")
    errors = refused("search", class_folders, *SEARCH, "--out", tmp_path / "file" / below / "run")
    assert f"cannot be made: {tmp_path / 'file'} is a file; choose another --out" in errors
    assert "hashing" not in errors


def test_one_broken_data_set_of_two_is_told_and_nothing_is_begun(refused, class_folders, tmp_path):
    (tmp_path / "empty").mkdir()
    errors = refused("search", class_folders, tmp_path / "empty", *SEARCH)
    assert "nothing was begun, since 1 of 2 cannot be searched" in errors
    assert "empty" in errors


def test_a_data_set_is_named_only_where_there_are_several(refused, searched):
    errors = refused("export", searched, "--dataset", "photos")
    assert "alone, so leave --dataset out" in errors


def test_a_preset_decides_what_is_not_given(class_folders, tmp_path, capsys):
    given = [*SEARCH, "--preset", "quick", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(["search", str(class_folders), *given]) == 0
    settings = json.loads((tmp_path / "run" / "report.json").read_text())["settings"]
    assert settings["space"]["name"] == "quick"
    assert settings["task"]["folds"] == 1
    assert settings["trials"] == 1
    assert settings["epochs"] == 1


@pytest.mark.parametrize("resume", [(), ("--resume",)], ids=["new", "resumed"])
def test_a_folder_with_another_study_is_left_alone(refused, searched, class_folders, resume, capsys):
    before = tree(searched)
    errors = refused("search", class_folders, *SEARCH, "--epochs", "1", "--out", searched, *resume)
    assert ("holds another study" if resume else "--resume") in errors
    assert tree(searched) == before


def test_a_folder_in_use_is_left_alone(refused, searched, split_folders):
    before = tree(searched)
    with filelock.FileLock(searched / ".lock"):
        errors = refused("search", split_folders, *SEARCH, "--epochs", "1", "--out", searched, "--resume")
    assert "another search is using this folder" in errors
    assert tree(searched) == before


def test_a_folder_of_other_things_is_left_alone(refused, class_folders, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "main.tex").write_text("mine")
    errors = refused("search", class_folders, *SEARCH, "--out", tmp_path / "thesis")
    assert "neither empty nor a run folder" in errors


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write to: /proc")
def test_a_run_folder_that_cannot_be_written_is_told(refused, class_folders):
    errors = refused("search", class_folders, *SEARCH, "--out", "/proc/runs/photos")
    assert errors.startswith("autofreeze: /proc/runs/photos: ")
    assert "choose another --out" in errors


@pytest.mark.parametrize("command", ["export", "report"])
def test_a_folder_that_is_no_run_is_told(refused, tmp_path, command):
    assert "is this the folder of a search?" in refused(command, tmp_path)
    assert "is this the folder of a search?" in refused(command, tmp_path / "nowhere")


def test_a_file_that_exists_is_not_overwritten_by_an_export(refused, searched, tmp_path, capsys):
    (tmp_path / "best.yaml").write_text("mine")
    errors = refused("export", searched, "-o", tmp_path / "best.yaml")
    assert "exists already; --force overwrites it" in errors
    assert main(["export", str(searched), "-o", str(tmp_path / "best.yaml"), "--force"]) == 0
    assert "format: autofreeze/schedule" in (tmp_path / "best.yaml").read_text()


def test_training_by_a_file_that_is_no_schedule_is_refused(refused, class_folders, tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1\n")
    assert "no schedule file" in refused("train", tmp_path / "a.yaml", class_folders)
    assert "cannot be read" in refused("train", tmp_path / "missing.yaml", class_folders)


@pytest.mark.parametrize(
    "arguments", [("search",), ("search", "x"), ("serach",), ("search", "x", "--model", "m", "--trials", "a")]
)
def test_wrong_usage_has_the_same_status(arguments, capsys):
    assert main(list(arguments)) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("check", "x", "\x1b[31m"), ("check", "--\x1b[31m"), ("\x1b[31m",)])
def test_a_wrong_usage_steers_no_terminal(arguments, capsys):
    assert main(list(arguments)) == 2
    told = capsys.readouterr().err
    assert "\\x1b[31m" in told
    assert told.replace("\n", "").isprintable()


@pytest.mark.parametrize("name", ["\x1b[31mred.yaml", "two\nlines.yaml", "\u202eright.yaml", "\udcff.yaml"])
def test_what_would_steer_a_terminal_is_told_as_an_escape(name, capsys):
    assert main(["spaces", "copy", "quick", name]) == 0
    assert main(["spaces", "validate", name]) == 0
    told = "".join(capsys.readouterr())
    assert told.replace("\n", "").isprintable()
    assert len(told.splitlines()) == 2
    assert Path(name).exists()


def test_the_status_reaches_the_shell_and_no_traceback_the_screen(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "autofreeze.cli", "search", "nowhere", *SEARCH],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("autofreeze: ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"], ["--version"]], ids=" ".join)
def test_help_does_not_import_torch(arguments):
    code = (
        "import sys; from autofreeze.cli import main; status = main(sys.argv[1:])\n"
        "assert 'torch' not in sys.modules and 'optuna' not in sys.modules; sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize("group", [(), ("spaces",)], ids=["autofreeze", "spaces"])
def test_the_list_of_commands_cuts_no_sentence_off(group, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*group, "--help"]) == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


@pytest.mark.parametrize("command", ["report", "export"])
def test_report_and_export_do_not_import_torch(searched, command):
    code = (
        "import sys; from autofreeze.cli import main; status = main(sys.argv[1:])\n"
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command, str(searched)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "linear_probe" in done.stdout or "head" in done.stdout


def test_search_report_export_and_train_work_one_after_the_other(split_folders, tmp_path, capsys):
    out = tmp_path / "run"
    given = [*SEARCH[:-1], "2", "--epochs", "1", "--out", str(out)]
    assert main(["search", str(split_folders), *given]) == 0
    output, errors = capsys.readouterr()
    assert "trial 0:" in output or "trial 1:" in output
    assert "linear_probe" in errors
    assert main(["report", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert len(report["trials"]) == 2
    assert main(["export", str(out)]) == 0
    text = capsys.readouterr().out
    assert "format: autofreeze/schedule" in text
    (tmp_path / "best.yaml").write_text(text)
    trained = ["train", str(tmp_path / "best.yaml"), str(split_folders), "--out", str(tmp_path / "model")]
    assert main(trained) == 0
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert main(["search", str(split_folders), *given, "--resume"]) == 0


def test_a_search_whose_trials_all_fail_is_a_failure(split_folders, tmp_path, capsys, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("the driver is gone")

    monkeypatch.setattr("autofreeze.imagesubject.run", broken)
    given = [*SEARCH[:-1], "9", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(["search", str(split_folders), *given]) == 1
    errors = capsys.readouterr().err
    assert "the first 3 trials all failed" in errors
    assert "RuntimeError: the driver is gone" in errors
    assert "Traceback" not in errors


def test_ctrl_c_in_the_middle_has_its_status_and_no_traceback(split_folders, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("autofreeze.imagesubject.run", interrupted)
    given = [*SEARCH, "--epochs", "1", "--out", str(tmp_path / "run")]

    assert main(["search", str(split_folders), *given]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.real
def test_a_search_on_real_photos_works(real_data, tmp_path, capsys):
    weights = real_data / "weights/mobilenetv2_100.imagenet.fp16.safetensors"
    status = main(
        ["search", str(real_data / "hymenoptera2"), "--model", "mobilenetv2_100", "--weights", str(weights),
         "--image-size", "64", "--device", "cpu", "--folds", "1", "--epochs", "1", "--trials", "1",
         "--confirm", "0", "--out", str(tmp_path / "run")]
    )  # fmt: skip
    assert status == 0
    (trial,) = json.loads((tmp_path / "run" / "report.json").read_text())["trials"]
    assert trial["ending"] == "complete"
    assert trial["value"] > 0.5


def test_the_groups_of_a_model_are_shown_with_modules_parameters_work_and_boundaries(capsys):
    assert main(["groups", "test_resnet", "--image-size", "64"]) == 0
    text = capsys.readouterr().out
    assert "test_resnet, 6 layer groups at 64 px" in text
    assert main(["groups", "test_resnet", "--image-size", "64", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert [group["name"] for group in groups] == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    assert sum(group["work_share"] for group in groups) == pytest.approx(1)
    for group in groups:
        assert group["name"] in text
        assert f"{group['n_parameters']:,}" in text
        assert f"{100 * group['work_share']:.1f} %" in text


def test_a_search_can_train_by_its_best_schedule_at_once(split_folders, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["search", str(split_folders), *SEARCH, "--epochs", "1", "--out", str(out), "--train"]) == 0
    assert (out / "best-model" / "model.safetensors").exists()
    assert "the curve equals the trial's to the bit" in capsys.readouterr().out
