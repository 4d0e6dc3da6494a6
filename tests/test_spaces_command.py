"""``autofreeze spaces``: what there is, what it tries, and files of one's own."""

import json
import subprocess
import sys

import pytest

from autofreeze.cli import main
from autofreeze.space import SpaceSpec, shipped_spaces
from autofreeze.spaceschema import space_schema

MODEL = ("--model", "test_resnet", "--image-size", "32")


@pytest.fixture(autouse=True)
def _wide(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """``run(*arguments)``: exit status, standard output, standard error."""

    def call(*arguments):
        status = main(["spaces", *map(str, arguments)])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def mine(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


def row(output: str, axis: str) -> str:
    (line,) = [line for line in output.splitlines() if line.split()[:1] == [axis]]
    return line


@pytest.mark.parametrize("arguments", [(), ("list",)], ids=["plain", "list"])
def test_the_list_names_every_shipped_space_and_for_whom_it_is(run, arguments):
    status, output, errors = run(*arguments)
    assert (status, errors) == (0, "")
    for name in shipped_spaces():
        assert "trials" in row(output, name)
    assert "one_block" in row(output, "surgical")


def test_show_gives_every_axis_with_what_it_tries_and_means(run):
    status, output, _ = run("show", "quick")
    assert status == 0
    assert "quick: flat, 6 axes searched" in output
    assert "0 to 40%" in row(output, "warmup_epochs")
    assert "0.0003 to 0.01, log" in row(output, "head_lr")
    assert "one of one, decay" in row(output, "rates")
    assert "false (default)" in row(output, "freeze_stem")
    assert "flip (default)" in row(output, "views")
    assert "rate of the head" in row(output, "head_lr")


def test_show_with_a_model_gives_the_numbers_for_its_groups_and_the_length(run):
    status, output, _ = run("show", "default", *MODEL, "--epochs", "12")
    assert status == 0
    assert "for test_resnet (stem, layer1, layer2, layer3, layer4, head) and 12 epochs" in output
    assert "0 to 4, step 1" in row(output, "warmup_epochs")
    assert "0 to 5 " in row(output, "unfreeze_depth")
    assert "5 axes, 0.1 to 10, log" in row(output, "group_offset")
    assert "not used" in row(run("show", "quick", *MODEL)[1], "group_offset")


@pytest.mark.parametrize("width", ["60", "80"])
def test_show_cuts_nothing_off_on_a_narrow_terminal(run, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    for name in ("thorough", "surgical"):
        _, output, _ = run("show", name, *MODEL)
        assert "…" not in output
        assert "label_smoothing " in output
        assert max(map(len, output.splitlines())) <= int(width)


def test_show_reads_a_file_too(run, mine):
    status, output, _ = run("show", mine("shape: chain_thaw\nhead_lr: [0.1, 1]\n"))
    assert status == 0
    assert "mine: chain_thaw, 1 axes searched" in output
    assert "one of 0.1, 1" in row(output, "head_lr")


def test_a_valid_file_is_said_to_be_valid(run, mine):
    path = mine("head_lr: {low: 1e-4, high: 1e-2, log: true}\nrates: [one, decay]\n")
    assert run("validate", path) == (0, f"{path}: valid, flat, 2 axes searched\n", "")
    assert run("validate", path, *MODEL, "--epochs", "3")[0] == 0


@pytest.mark.parametrize("name", shipped_spaces())
def test_every_shipped_space_is_valid_for_a_model(run, name):
    assert run("validate", name, *MODEL, "--epochs", "1")[0] == 0


def test_all_problems_of_a_file_are_told_at_once_with_lines(run, mine):
    status, output, errors = run("validate", mine("warmup-epochs: 1\nhead_lr: fast\ncutmix: 1\n"))
    assert (status, output) == (2, "")
    assert "line 1: warmup-epochs: unknown; did you mean warmup_epochs" in errors
    assert "line 2: head_lr: got 'fast'" in errors
    assert "line 3: cutmix" in errors
    assert "Traceback" not in errors


def test_all_that_does_not_fit_the_model_is_told_at_once_with_lines_in_the_order_of_the_file(run, mine):
    path = mine("head_lr: 1e-3\nunfreeze_depth: 12\nwarmup_epochs: 11\n")
    assert run("validate", path)[0] == 0
    status, output, errors = run("validate", path, *MODEL, "--epochs", "6")
    assert (status, output) == (2, "")
    deep, long = errors.splitlines()[1:]
    assert deep.strip() == (
        "line 2: unfreeze_depth: got 12; must be all, a share in 0..1, or a whole number in 0..5, "
        "the backbone's groups"
    )
    assert long.strip().startswith("line 3: warmup_epochs: got 11; must lie in 0..6")


def test_the_depth_may_be_deeper_when_the_model_is_cut_finer(run, mine):
    path = mine("head_lr: 1e-3\nunfreeze_depth: 3\n")
    assert run("validate", path, *MODEL, "--groups", "2")[0] == 2
    assert run("validate", path, *MODEL, "--groups", "3")[0] == 0


def test_a_search_refuses_a_depth_beyond_the_model_too(class_folders, mine, tmp_path, capsys):
    status = main(
        ["search", str(class_folders), "--model", "test_resnet", "--from-scratch", "--image-size", "32",
         "--space", str(mine("head_lr: 1e-3\nunfreeze_depth: 12\n")), "--out", str(tmp_path / "run")]
    )  # fmt: skip
    assert status == 2
    assert "unfreeze_depth: got 12; must be all, a share in 0..1, or a whole number in 0..5" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "quik"), "no search space is called 'quik'; did you mean quick?"),
        (("show", "quick", "--epochs", "3"), "--epochs needs --model"),
        (("show", "quick", *MODEL, "--epochs", "0"), "epochs: got 0"),
        (("show", "quick", "--model", "resnet_50"), "did you mean resnet50"),
        (("validate", "none.yaml"), "none.yaml: cannot be read"),
        (("copy", "quik", "mine.yaml"), "no search space is called 'quik'; did you mean quick?"),
        (("copy", "quick", "mine"), "mine: must end in .yaml or .yml"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_told_in_plain_words(run, tmp_path, arguments, words):
    status, output, errors = run(*arguments)
    assert (status, output) == (2, "")
    assert words in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_a_copy_keeps_the_comments_and_reads_as_the_same_space(run, tmp_path):
    assert run("copy", "thorough", tmp_path / "mine.yaml")[0] == 0
    assert (tmp_path / "mine.yaml").read_text() == shipped_spaces()["thorough"].read_text()
    assert SpaceSpec.load(tmp_path / "mine.yaml").axes == SpaceSpec.load("thorough").axes


@pytest.mark.parametrize("arguments", [("copy", "quick"), ("schema", "-o")], ids=["copy", "schema"])
def test_a_file_that_exists_is_overwritten_by_force_alone(run, mine, arguments):
    path = mine("mine: 1\n")
    status, _, errors = run(*arguments, path)
    assert status == 2
    assert "exists already; --force overwrites it" in errors
    assert path.read_text() == "mine: 1\n"
    assert run(*arguments, path, "--force")[0] == 0
    assert path.read_text() != "mine: 1\n"


def test_the_schema_goes_to_standard_output_or_a_file(run, tmp_path):
    assert json.loads(run("schema")[1]) == space_schema()
    status, output, _ = run("schema", "-o", tmp_path / "space.schema.json")
    assert (status, output) == (0, "")
    assert json.loads((tmp_path / "space.schema.json").read_text()) == space_schema()


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "quick"], ["validate", "quick"], ["schema"]], ids=" ".join
)
def test_without_a_model_nothing_heavy_is_imported(arguments):
    code = (
        "import sys; from autofreeze.cli import main; status = main(sys.argv[1:])\n"
        "assert not {'torch', 'optuna', 'timm'} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "spaces", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
