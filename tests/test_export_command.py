"""``autofreeze export``: what is asked is written whole, and what is wrong is told in plain words."""

import json
import re
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from autofreeze import api
from autofreeze.cli import main
from autofreeze.export.native import NativeFile
from autofreeze.export.targets import EXPORTERS
from autofreeze.report.files import read_report, write_report
from autofreeze.results import UNDER_WAY, Ending

NAMES = tuple(exporter.name for exporter in EXPORTERS)
CODE = [exporter.name for exporter in EXPORTERS if exporter.endings == (".py",)]
PAIRS = [exporter.name for exporter in EXPORTERS if len(exporter.endings) > 1]


@pytest.fixture(scope="module")
def searched(split_folders, tmp_path_factory):
    """A run folder with two trials: a linear probe, and everything at one rate."""
    out = tmp_path_factory.mktemp("export") / "run"
    api.search(
        split_folders, "test_resnet", out=out, trials=2, epochs=1, device="cpu", from_scratch=True,
        image_size=32, confirm=0,
    )  # fmt: skip
    return out


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """``run(*arguments)``: exit status, output and messages; nothing is written but to the folder."""
    monkeypatch.chdir(tmp_path)

    def export(*arguments):
        status = main(["export", *map(str, arguments)])
        output, errors = capsys.readouterr()
        assert "Traceback" not in errors
        return status, output, errors

    return export


@pytest.fixture
def changed(searched, tmp_path):
    """``changed(**update)``: a copy of the run folder whose report is another."""

    def make(**update):
        folder = tmp_path / "changed"
        folder.mkdir()
        folder.mkdir(parents=True, exist_ok=True)
        write_report(read_report(searched).model_copy(update=update), folder)
        return folder

    return make


def test_the_native_file_is_what_is_written_unless_asked_otherwise(run, searched, tmp_path):
    status, output, errors = run(searched)
    assert (status, errors) == (0, "")
    assert run(searched, "-o", "best.yaml")[0] == 0
    assert (tmp_path / "best.yaml").read_text() == output


def test_a_file_that_was_exported_is_exported_on(run, searched, tmp_path):
    run(searched, "-o", "best.yaml")
    assert run("best.yaml", "--to", "json", "-o", "best.json")[0] == 0
    assert NativeFile.load(tmp_path / "best.json") == NativeFile.load(tmp_path / "best.yaml")
    status, output, _ = run("best.json")
    assert status == 0
    assert output == (tmp_path / "best.yaml").read_text()


@pytest.mark.parametrize("target", NAMES)
def test_a_run_and_its_native_file_give_the_same_export(run, searched, target, tmp_path):
    run(searched, "-o", "best.yaml")
    for source, name in ((searched, "a"), ("best.yaml", "b")):
        (tmp_path / name).mkdir()
        status, _, errors = run(source, "--to", target, "--approximate", "-o", f"{name}/x")
        assert status == 0, errors
    one, other = ({path.name: path.read_text() for path in (tmp_path / name).iterdir()} for name in "ab")
    assert one == other


@pytest.mark.parametrize("target", CODE)
def test_code_on_the_screen_is_code_alone(run, searched, target):
    status, output, _ = run(searched, "--to", target, "--approximate")
    assert status == 0
    compile(output, target, "exec")


def test_a_trial_is_chosen_by_its_number(run, searched):
    for number in (0, 1):
        _, output, _ = run(searched, "--trial", number, "--to", "json")
        assert json.loads(output)["result"]["trial"] == number


def test_the_list_says_what_each_target_makes_of_the_schedule(run, searched):
    status, output, _ = run(searched, "--list")
    assert status == 0
    assert all(re.search(rf"^\s*{name}\b", output, re.MULTILINE) for name in NAMES)
    status, output, _ = run(searched, "--list", "--json")
    assert [one["to"] for one in json.loads(output)] == list(NAMES)


@pytest.mark.parametrize("target", PAIRS)
def test_a_pair_needs_a_name(run, searched, target, tmp_path):
    status, output, errors = run(searched, "--to", target, "--approximate")
    assert (status, output) == (2, "")
    assert "takes 2 files; say where: -o best." in errors
    assert not [*tmp_path.iterdir()]


def test_nothing_that_exists_is_overwritten_unless_forced(run, searched, tmp_path):
    (tmp_path / "best.yaml").write_text("mine")
    status, _, errors = run(searched, "-o", "best.yaml")
    assert status == 2
    assert "best.yaml exists already; --force overwrites it" in errors
    assert (tmp_path / "best.yaml").read_text() == "mine"
    assert run(searched, "-o", "best.yaml", "--force")[0] == 0
    assert NativeFile.load(tmp_path / "best.yaml")


def test_a_search_that_has_not_ended_gives_its_best_so_far_and_says_so(run, changed):
    status, output, errors = run(changed(cut_short=UNDER_WAY))
    assert status == 0
    assert "the search has not come to its end (under way): 2 of 2 trials" in errors
    assert "format: autofreeze/schedule" in output


def test_without_a_complete_trial_there_is_nothing_to_export(run, changed, searched):
    trials = [
        trial.model_copy(update={"ending": Ending.FAILED, "reason": "no memory", "value": None})
        for trial in read_report(searched).trials
    ]
    folder = changed(trials=tuple(trials))
    assert run(folder)[::2] == (
        2,
        "autofreeze: no trial was completed, so there is no best schedule to export\n",
    )
    assert "trial 1 failed: no memory" in run(folder, "--trial", "1")[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to", "lightening"), "to: 'lightening' is unknown"),
        (("--trial", "9"), "trial: got 9; the search has trials 0..1"),
        (("--dataset", "other"), "leave --dataset out"),
        (("-o", "."), "is a folder; name a file"),
        (("-o", "no/such/../best.yaml", "--json"), "json: only --list prints JSON"),
    ],
)
def test_what_is_wrong_is_told(run, searched, arguments, words):
    status, output, errors = run(searched, *arguments)
    assert (status, output) == (2, "")
    assert words in errors


def test_a_trial_of_a_file_is_refused(run, searched):
    run(searched, "-o", "best.yaml")
    status, _, errors = run("best.yaml", "--trial", "1")
    assert status == 2
    assert "best.yaml is a file with one schedule" in errors


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda data: data.update(version=99), "version: got 99"),
        (lambda data: data["schedule"]["phases"][0]["lrs"].update(layer9=1e-3), "layer9: unknown"),
        (lambda data: data["schedule"].update(groups=["stem"]), "lrs"),
        (lambda data: data.update(note="mine"), "note: unknown"),
    ],
    ids=["from the future", "a group that is not there", "other groups", "an unknown key"],
)
@pytest.mark.parametrize("target", ["yaml", "json"])
def test_a_file_that_was_edited_wrongly_is_told_with_its_name(run, searched, tmp_path, edit, words, target):
    run(searched, "-o", "best.yaml")
    yaml = YAML(typ="safe")
    data = yaml.load(tmp_path / "best.yaml")
    edit(data)
    with (tmp_path / "edited.yaml").open("w") as stream:
        yaml.dump(data, stream)
    status, output, errors = run("edited.yaml", "--to", target)
    assert (status, output) == (2, "")
    assert "edited.yaml" in errors
    assert words in errors


def test_no_target_loads_torch(searched):
    code = (
        "import sys\nfrom autofreeze.cli import main\n"
        "for target in sys.argv[2:]:\n"
        "    assert main(['export', sys.argv[1], '--to', target, '--approximate', '-o', target]) == 0\n"
        "assert main(['export', sys.argv[1], '--list']) == 0\n"
        "print(*(name for name in ('torch', 'timm', 'optuna', 'ray') if name in sys.modules))"
    )
    folder = searched.parent / "written"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(searched), *NAMES],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""
