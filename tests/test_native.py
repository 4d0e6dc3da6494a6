# ruff: noqa: E501 - tables are read by line
"""The native file: what is written is read back, how good it was is said, and what is wrong is told."""

import json
import math
import re

import pytest
from handedits import BAD, FILE, VERSION_1, edited
from jsonschema import Draft202012Validator

from autofreeze.cli import main
from autofreeze.documents import MAX_BYTES, parse_yaml, to_yaml
from autofreeze.errors import ConfigError
from autofreeze.export.exporting import export_to
from autofreeze.export.fileschema import file_schema
from autofreeze.export.heading import heading
from autofreeze.export.native import NativeFile, told
from autofreeze.export.searchresult import Estimate, SearchResult
from autofreeze.job import settings_digest
from autofreeze.results import CurvePoint

SCHEMA = Draft202012Validator(file_schema())


@pytest.fixture
def file():
    return FILE


def confirmed(**fields):
    estimate = Estimate(mean=0.84, low=0.82, high=0.86, seeds=6, test_value=0.8)
    given = {
        "study": "0123456789abcdef",
        "trial": 7,
        "metric": "top1",
        "value": 0.86,
        "n_val": 2004,
        "estimate": estimate,
    }
    return SearchResult(**{**given, "confirmed": True, **fields})


def result_kinds():
    return {
        "no result": None,
        "confirmed": confirmed(),
        "confirmed once": confirmed(estimate=None),
        "not confirmed": confirmed(estimate=None, confirmed=False),
    }


# Written and read


@pytest.mark.parametrize("target", ["yaml", "json"])
@pytest.mark.parametrize("kind", result_kinds())
def test_what_is_written_is_read_back_equal_and_fits_the_schema(file, target, kind, tmp_path):
    written = file.model_copy(update={"result": result_kinds()[kind]})
    path = tmp_path / f"best.{target}"
    path.write_text(export_to(target, written)[0][0].text)
    assert NativeFile.load(path) == written
    assert NativeFile.load(path).digest == written.digest
    SCHEMA.validate(parse_yaml(path.read_text()).data)


HARD_NAMES = (
    "😀",
    "\udce9",
    "a\x85b",
    "\u2028",
    "\x7f",
    "\t",
    " a ",
    "null",
    "1e3",
    "#",
    "- x",
    '"',
    "'''",
    "a: b",
    "*x",
    "!t",
    "",
)


@pytest.mark.parametrize("target", ["yaml", "json"])
def test_names_of_classes_and_parameters_may_be_any_text(file, target, tmp_path):
    data = file.data.model_copy(update={"name": "😀\n\x85", "classes": HARD_NAMES, "class_images": ()})
    written = file.model_copy(update={"data": data, "versions": {"😀": "\u2028", "?": "\udce9"}})
    path = tmp_path / f"best.{target}"
    path.write_text(export_to(target, written)[0][0].text, encoding="utf-8")
    assert NativeFile.load(path) == written


def test_json_is_json_for_everybody(file):
    text = export_to("json", file)[0][0].text
    assert json.loads(text, parse_constant=pytest.fail) == file.to_plain()


def test_a_curve_is_told_as_far_as_it_is_finite():
    good = CurvePoint(epochs_done=1, train_loss=1.0, val_loss=0.5, value=0.5)
    broken = CurvePoint(epochs_done=2, train_loss=math.inf, val_loss=math.nan, value=0.5)
    assert told((good, broken, good), own=False) == (good,)
    nameless = CurvePoint(epochs_done=2, value=0.5)
    assert told((good, broken, good), own=True) == (good, nameless, good)


# How good it was


LEADS = ((0, 0.09, 0.03), (2, 0.02, 0.01), (3, 0.01, 0.01))


def test_the_winner_is_told_with_its_interval_and_its_seeds(made_result):
    won = made_result.result(*LEADS)
    assert SearchResult.of(won, won.trials[1], study="0123456789abcdef") == SearchResult(
        study="0123456789abcdef", trial=1, settings=settings_digest(won.trials[1].schedule, won.trials[1].regime), metric="top1", value=0.86, val_loss=1 - 0.86, fold_values=(0.86, 0.86), n_val=400,
        confirmed=True, estimate=Estimate(mean=0.84, low=0.84 - 0.02, high=0.84 + 0.02, seeds=6),
    )  # fmt: skip


def test_what_did_not_win_or_was_not_concluded_keeps_the_value_of_the_search_alone(made_result):
    won = made_result.result(*LEADS)
    cut = won.model_copy(update={"confirmation": made_result.confirmation(*LEADS, cut_short="out of time")})
    for result, trial in ((won, 2), (cut, 1), (made_result.result(), 1)):
        told_of_it = SearchResult.of(result, result.trials[trial])
        assert (told_of_it.confirmed, told_of_it.estimate) == (False, None)
        assert told_of_it.value == result.trials[trial].value
        assert (
            told_of_it.standing
            == f"not confirmed on fresh seeds; top1 {told_of_it.value:.4g} over 400 validation images in the search"
        )


def test_a_log_loss_is_told_as_people_read_it(made_result):
    chosen = made_result.candidate(1, -0.5, low=-0.6, high=-0.4, test_value=math.exp(-0.7))
    found = made_result.confirmation(candidates=(chosen,))
    told_of_it = SearchResult.of(
        made_result.result(metric="log_loss", confirmation=found), made_result.trials[1]
    )
    assert (told_of_it.direction, told_of_it.value) == ("minimize", pytest.approx(-math.log(0.86)))
    assert told_of_it.fold_values == (told_of_it.value,) * 2
    estimate = told_of_it.estimate
    assert (estimate.low, estimate.mean, estimate.high) == (0.4, 0.5, 0.6)
    assert estimate.test_value == pytest.approx(0.7)


def test_values_that_are_no_numbers_are_left_out(made_result):
    broken = made_result.trial(5, "full", math.nan, fold_values=(0.5, math.nan), val_loss=math.inf)
    told_of_it = SearchResult.of(made_result.result(), broken)
    assert (told_of_it.value, told_of_it.val_loss, told_of_it.fold_values) == (None, None, (0.5,))


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (confirmed(), "confirmed on 6 fresh seeds: top1 0.84 (95 %: 0.82 to 0.86)"),
        (confirmed(estimate=Estimate(mean=0.84, seeds=1)), "confirmed on 1 fresh seed: top1 0.84"),
        (
            confirmed(estimate=None),
            "confirmed on fresh seeds; top1 0.86 over 2,004 validation images in the search",
        ),
        (
            confirmed(estimate=None, confirmed=False, n_val=0),
            "not confirmed on fresh seeds; top1 0.86 in the search",
        ),
        (confirmed(estimate=None, confirmed=False, value=None), "not confirmed on fresh seeds"),
    ],
)
def test_the_words_say_how_sure_it_is_and_stand_on_top_of_the_file(file, result, words):
    assert result.standing == words
    assert f"# {words[0].upper()}{words[1:]}.\n" in file.model_copy(update={"result": result}).to_text()


def test_a_schedule_that_was_edited_claims_nothing_of_what_was_found(tmp_path):
    found = confirmed(settings=settings_digest(FILE.schedule, FILE.regime))
    whole = FILE.model_copy(update={"result": found})
    assert (whole.edited, whole.confirmed, whole.standing) == (False, True, found.standing)
    path = tmp_path / "mine.yaml"
    for before, after in (("epochs: 1.75", "epochs: 2.75"), ("batch_size: 32", "batch_size: 16")):
        assert before in whole.to_text()
        path.write_text(whole.to_text().replace(before, after))
        mine = NativeFile.load(path)
        assert (mine.edited, mine.confirmed) == (True, False)
        assert "# Edited since it was found: what the search found is another schedule's.\n" in mine.to_text()
        assert not any("Confirmed" in line for line in heading(mine))
    path.write_text(whole.to_text().replace("epochs: 1.75", "epochs: 1.750"))
    assert not NativeFile.load(path).edited


# Edited by hand


@pytest.mark.parametrize(("edit", "problems"), BAD.values(), ids=BAD.keys())
def test_a_hand_edited_file_is_told_all_that_is_wrong_with_it(edit, problems, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(edited(edit)))
    with pytest.raises(ConfigError) as refused:
        NativeFile.load(path)
    assert refused.value.where == str(path)
    told_of_it = [re.sub(r"^line \d+: ", "", problem) for problem in refused.value.problems]
    assert len(told_of_it) == len(problems), told_of_it
    for found, expected in zip(told_of_it, problems, strict=True):
        assert found.startswith(expected), told_of_it


@pytest.mark.parametrize(
    "name", ["rate as a word", "mode of no group", "a group renamed with care", "regime"]
)
def test_problems_are_told_with_their_lines(name, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(edited(BAD[name][0]), header="a comment"))
    with pytest.raises(ConfigError) as refused:
        NativeFile.load(path)
    lines = path.read_text().splitlines()
    for problem in refused.value.problems:
        line, key = re.match(r"line (\d+): [\w.]*?(\w+): ", problem).groups()
        assert f"{key}:" in lines[int(line) - 1]


TEXTS = {
    "key twice": (lambda text: text + "seed: 3\n", 'found duplicate key "seed"'),
    "cell twice": (lambda text: text.replace("lrs: {", "lrs: {head: 1e-3, ", 1), 'found duplicate key "head"'),
    "tag": (lambda text: text.replace("seed: ", "seed: !!int ", 1), "the tag tag:yaml.org,2002:int has no meaning here"),
    "tag of Python": (lambda text: text.replace("seed: ", "seed: !!python/object:os.system ", 1), "has no meaning here"),
    "alias of nothing": (lambda text: text.replace("seed: ", "seed: *seed #", 1), "not valid YAML"),
    "alias in itself": (lambda text: text + "more: &m [*m]\n", "the alias *m lies in what it names"),
    "two documents": (lambda text: f"{text}---\n{text}", "not valid YAML"),
    "unclosed": (lambda text: text.replace("}", "", 1), "not valid YAML"),
    "tabs": (lambda text: text.replace("  optimizer", "\toptimizer", 1), "not valid YAML"),
    "empty": (lambda text: "", "must begin with format"),
    "cut off": (lambda text: text[: text.index("regime:")], "regime: missing"),
    "too large": (lambda text: text + "#" * MAX_BYTES, "larger than"),
    "a list": (lambda text: "- 1\n", "must begin with format"),
    "another format": (lambda text: text.replace("autofreeze/schedule", "autofreeze/space"), "must begin with format: autofreeze/schedule"),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "words"), TEXTS.values(), ids=TEXTS.keys())
def test_text_that_is_no_native_file_is_told_without_a_traceback(file, edit, words, tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text(edit(file.to_text()))
    with pytest.raises(ConfigError, match=re.escape(words)) as refused:
        NativeFile.load(path)
    assert refused.value.where == str(path)
    assert main(["export", str(path)]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert words in errors
    assert "Traceback" not in errors


def test_an_alias_stands_for_what_it_names(file, tmp_path):
    path = tmp_path / "mine.yaml"
    text = (
        file.to_text()
        .replace("\nbackbone:", "\nbackbone: &b")
        .replace("curve_fused: false", "curve_fused: false", 1)
    )
    path.write_text(text)
    assert NativeFile.load(path) == file


def test_a_file_of_a_users_own_training_needs_no_model(tmp_path):
    own = NativeFile.load(VERSION_1 / "own.yaml")
    assert own.task is None
    with pytest.raises(ConfigError, match="train by it there"):
        _ = own.preprocessing
    broken = own.to_plain() | {"backbone": {"groups": {"stem": [], "head": []}}}
    (tmp_path / "a.yaml").write_text(to_yaml(broken))
    with pytest.raises(ConfigError, match="the backbone has no group body"):
        NativeFile.load(tmp_path / "a.yaml")


def test_a_file_is_never_made_of_parts_that_disagree(file):
    other = file.backbone.model_copy(update={"modes": {"": "neck"}})
    with pytest.raises(ValueError, match="the backbone has no group neck"):
        NativeFile.model_validate({**dict(file), "backbone": other})
