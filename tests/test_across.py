"""``autofreeze compare``: which search has the best schedule of a data set, and where nothing can be said."""

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from autofreeze.cli import main
from autofreeze.intervals import mean_interval, unpaired_difference
from autofreeze.report.across import across, tell_best, tell_difference
from autofreeze.report.across_shown import show_across
from autofreeze.report.report import Report
from autofreeze.report.runs import NamedRun, read_runs
from autofreeze.results import DatasetOutcome, SummaryResult

WIDTH = 0.002
"""Standard error of a mean that is known well."""


@pytest.fixture
def run_of(tmp_path, made_result):
    """``run_of(folder, mean, …)``: a search whose winner has this mean on fresh seeds; None: unconfirmed."""

    def make(folder, mean=0.84, *, error=WIDTH, fields=None, data=None, backbone=None, **confirmation):
        result = made_result.result((0, 0.02, 0.01))
        found = result.confirmation
        winner = made_result.candidate(
            1,
            mean or 0.0,
            standard_error=error,
            low=(mean or 0.0) - 1.96 * error,
            high=(mean or 0.0) + 1.96 * error,
        )
        candidates = (winner, *found.candidates[1:])
        found = found.model_copy(update={"candidates": candidates, **confirmation})
        kept = {"fingerprint": "a" * 16, **result.data, **(data or {})}
        told = {"digest": "d" * 16, **result.backbone, **(backbone or {})}
        update = {
            "confirmation": None if mean is None else found,
            "data": kept,
            "backbone": told,
            **(fields or {}),
        }
        result = result.model_copy(update=update)
        path = tmp_path / folder
        path.mkdir(parents=True)
        (path / "report.json").write_text(json.dumps(Report(result).document()))
        (path / "run.json").write_text(json.dumps({"created": "2026-03-04T05:06:07+00:00"}))
        return path

    return make


def compared(*folders):
    return across(*read_runs(folders))


def shown(found, width=140):
    stream = io.StringIO()
    show_across(found, Console(file=stream, width=width))
    return stream.getvalue()


# What can be told


def test_the_higher_of_two_confirmed_means_is_best_when_the_interval_parts_them(run_of):
    [one] = compared(run_of("low", 0.80), run_of("high", 0.90)).datasets
    assert one.best == 1
    [difference] = one.differences
    assert (difference.leader, difference.other, difference.told) == (1, 0, True)
    assert difference.estimate == pytest.approx(0.10)
    half = 1.96 * WIDTH * math.sqrt(2)
    assert difference.low == pytest.approx(0.10 - half)
    assert difference.high == pytest.approx(0.10 + half)
    assert tell_best(one).startswith("best schedule: run 2 (")
    assert tell_difference(one, difference) == "run 2 against run 1: +10.0 pt (+9.4 to +10.6): better"


def test_a_difference_within_its_interval_is_none_that_can_be_told(run_of):
    [one] = compared(run_of("a", 0.84), run_of("b", 0.85, error=0.02)).datasets
    assert not one.differences[0].told
    assert tell_best(one) == "no difference can be told; run 2 has the highest mean"
    assert "no difference can be told" in tell_difference(one, one.differences[0])


def test_equal_means_have_no_leader(run_of):
    [one] = compared(run_of("a", 0.84), run_of("b", 0.84)).datasets
    assert tell_best(one) == "no difference can be told; the means are equal"


def test_some_told_and_some_not(run_of):
    [one] = compared(run_of("a", 0.60), run_of("b", 0.85), run_of("c", 0.851)).datasets
    assert tell_best(one) == "no difference can be told between run 3 and run 2; they lead"


def test_of_several_runs_the_intervals_hold_all_at_once(run_of):
    two = compared(run_of("a", 0.84), run_of("b", 0.86)).datasets[0].differences[0]
    [three] = compared(run_of("c", 0.84), run_of("d", 0.86), run_of("e", 0.80)).datasets
    [first, _] = three.differences
    assert first.high - first.low > two.high - two.low
    assert first.estimate == pytest.approx(two.estimate)


@pytest.mark.parametrize(
    ("fields", "better"),
    [({"metric": "log_loss"}, 0), ({"kind": "images"}, 1)],
    ids=["less is better", "more is better"],
)
def test_the_direction_of_the_metric_is_minded(run_of, fields, better):
    """Of a log loss the merit is the loss with its sign turned."""
    sign = -1 if better == 0 else 1
    [one] = compared(run_of("a", sign * 0.3, fields=fields), run_of("b", sign * 0.6, fields=fields)).datasets
    assert one.best == better
    assert [each.confirmed.mean for each in one.found] == pytest.approx([0.3, 0.6])


# What is not compared


def test_a_score_of_a_search_is_shown_and_never_compared(run_of):
    [one] = compared(run_of("a", None), run_of("b", 0.50)).datasets
    assert one.found[0].merit is None
    assert one.found[0].confirmed is None
    assert one.found[0].in_search == pytest.approx(0.86)  # higher than any mean here
    assert one.best == 1
    assert one.differences == ()
    assert "run 1 is shown and not compared" in one.remarks[0]
    assert "0.860 in the search, on one seed, the best of many" in shown(
        across(*read_runs([one.found[0].run]))
    )


def test_of_none_that_is_confirmed_nothing_is_said(run_of):
    [one] = compared(run_of("a", None), run_of("b", None)).datasets
    assert one.best is None
    assert tell_best(one) == "none confirmed on fresh seeds, so nothing is said of which schedule is best"


def test_a_confirmation_that_was_cut_short_is_not_compared(run_of):
    [one] = compared(run_of("a", 0.9, cut_short="out of time"), run_of("b", 0.5)).datasets
    assert one.found[0].standing == "not concluded"
    assert one.best == 1
    assert one.differences == ()


def test_other_images_of_the_same_name_are_another_data_set(run_of):
    found = compared(run_of("a", 0.8), run_of("b", 0.9, data={"fingerprint": "b" * 16}))
    assert [len(one.found) for one in found.datasets] == [1, 1]
    assert all("called photos too: they are another data set" in one.remarks[0] for one in found.datasets)


def test_the_same_images_under_two_names_are_one_data_set(run_of):
    [one] = compared(run_of("a", 0.8), run_of("b", 0.9, data={"name": "pictures"})).datasets
    assert one.best == 1
    assert "the same images are called pictures too" in one.remarks


def test_another_metric_is_not_compared_and_that_is_said(run_of):
    found = compared(run_of("a", 0.8), run_of("b", 0.9, fields={"metric": "balanced_accuracy"}))
    assert [len(one.found) for one in found.datasets] == [1, 1]
    assert "searched by balanced_accuracy too, which is not compared" in found.datasets[0].remarks


@pytest.mark.parametrize(
    ("confirmation", "words"),
    [
        ({"own_split": True}, "the validation part (one for each seed and their own)"),
        ({"n_train": 200}, "the training images (200 and 400)"),
        ({"n_val": 50}, "the validation images (100 and 50)"),
    ],
)
def test_what_was_scored_otherwise_is_not_compared(run_of, confirmation, words):
    [one] = compared(run_of("a", 0.8), run_of("b", 0.9, **confirmation)).datasets
    assert one.best is None
    assert one.differences == ()
    assert any(words in remark for remark in one.remarks)
    assert tell_best(one) == "nothing is said of which is best"


def test_trainings_of_ones_own_are_shown_and_not_compared(run_of):
    fields = {"kind": "own", "data": {"name": "fit", "n_folds": 1, "held_out": 0.2, "held_out_given": False}}
    fields["backbone"] = {"groups": {}, "work_measured": False}
    [one] = compared(run_of("a", 0.8, fields=fields), run_of("b", 0.9, fields=fields)).datasets
    assert one.best is None
    assert any("have no fingerprint" in remark for remark in one.remarks)


def test_what_else_differs_is_said(run_of):
    other = {"model": "other_net", "digest": "e" * 16, "preprocessing": {"image_size": 224}}
    [one] = compared(run_of("a", 0.8), run_of("b", 0.9, backbone=other)).datasets
    assert one.best == 1
    assert (
        "beside the schedule the model, its weights and the preprocessing may make the difference"
        in one.remarks
    )


def test_a_mean_on_the_seeds_of_its_choice_is_told_to_be_too_high(run_of):
    same = {"choice_seeds": 6, "estimate_seeds": (0, 6)}
    [one] = compared(run_of("a", 0.8, **same), run_of("b", 0.9, **same)).datasets
    assert any("choose and estimate at once" in remark for remark in one.remarks)
    [other] = compared(run_of("c", 0.8), run_of("d", 0.9)).datasets
    assert not any("choose and estimate" in remark for remark in other.remarks)


# What it looks like


def test_figures_are_those_of_the_report(run_of):
    [one] = compared(run_of("a", 0.8)).datasets
    [found] = one.found
    assert (found.model, found.weights, found.image_size, found.epochs) == (
        "some_net",
        "w.safetensors",
        96,
        6.0,
    )
    assert (found.confirmed.mean, found.seeds, found.run_work) == (0.8, 6, 4000.0)
    assert found.created.startswith("2026-03-04")
    text = shown(across(*read_runs([found.run])))
    for figure in (
        "0.800",
        "0.796 to 0.804",
        "some_net",
        "4,000",
        "2026-03-04",
        found.sentence[:40],
        "d" * 16,
    ):
        assert figure in text


@pytest.mark.parametrize("width", [80, 140])
def test_it_keeps_to_the_width_of_the_terminal(run_of, width):
    hostile = {"name": "\x1b[31m<script>alert(1)</script>", "fingerprint": "c" * 16}
    long = {"model": "a_backbone_with_a_name_of_many_characters.of_some_weights_in22k_ft_in1k"}
    found = compared(run_of("a", 0.8), run_of("b", None), run_of("c", 0.9, data=hostile, backbone=long))
    text = shown(found, width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "\x1b[31m" not in text
    assert "0.796 to 0.804" in text


def test_json_holds_all_of_it(run_of, capsys):
    folders = [str(run_of("a", 0.8)), str(run_of("b", 0.9, error=math.inf))]
    assert main(["compare", *folders, "--json"]) == 0
    [one] = json.loads(capsys.readouterr().out)["datasets"]
    assert one["best"] == 1
    assert one["differences"][0]["low"] == "-Infinity"
    assert [found["run"] for found in one["found"]] == folders
    assert main(["compare", *folders]) == 0
    assert "no difference can be told" in capsys.readouterr().out.lower()


def test_it_needs_neither_torch_nor_optuna(run_of):
    import subprocess
    import sys

    code = (
        "import sys; from autofreeze.cli import main; assert main(sys.argv[1:]) == 0\n"
        "assert not {'torch', 'timm', 'optuna', 'ray'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, "compare", str(run_of("a"))], check=False)
    assert done.returncode == 0


# Which folders


def test_each_data_set_of_a_search_on_several_counts(run_of, tmp_path):
    run_of("several/photos", 0.8)
    rest = DatasetOutcome(name="scans", data="scans")
    begun = DatasetOutcome(name="photos", data="photos")
    summary = SummaryResult(model="some_net", datasets=(begun, rest), seconds=1.0)
    (tmp_path / "several" / "report.json").write_text(json.dumps(summary.plain()))
    found = compared(tmp_path / "several", run_of("alone", 0.9))
    assert [one.run for one in found.datasets[0].found] == [
        str(tmp_path / "several" / "photos"), str(tmp_path / "alone"),
    ]  # fmt: skip
    assert found.absent == (f"{tmp_path / 'several' / 'scans'}: not begun",)
    assert "not begun" in shown(found)


def test_all_that_is_wrong_with_the_folders_is_told_at_once(run_of, tmp_path, capsys):
    good, damaged = run_of("good"), run_of("damaged")
    (damaged / "report.json").write_text("{")
    (tmp_path / "link").symlink_to(good)
    given = [good, damaged, tmp_path / "nowhere", tmp_path / "link", damaged]
    assert main(["compare", *map(str, given)]) == 2
    errors = capsys.readouterr().err
    assert errors.count(f"{damaged}: report.json is damaged") == 1  # though named twice
    assert f"{tmp_path / 'nowhere'}: no report.json" in errors
    assert f"{tmp_path / 'link'}: given twice" in errors
    assert errors.count("autofreeze: ") == 1


def test_a_folder_without_run_json_has_no_date(run_of):
    path = run_of("a")
    (path / "run.json").unlink()
    assert NamedRun(path, read_runs([path])[0][0].result).created == ""
    assert "2026" not in shown(compared(path))


# The interval


def triple(one):
    return one.estimate, one.standard_error, one.high - one.estimate


@pytest.mark.parametrize("seeds", [3, 6, 12])
def test_ninety_five_in_a_hundred_intervals_of_a_difference_hold_the_truth(seeds):
    """Two searches on the same images with seeds of their own, whose seeds vary in what they are worth."""
    rng, n, held = np.random.default_rng(seeds), 600, 0
    for _ in range(n):
        image = rng.normal(0, 0.1, (1, 150))
        tables = [image + rng.normal(0, 0.1, (seeds, 1)) + rng.normal(0, 0.1, (seeds, 150)) for _ in range(2)]
        one, other = (triple(mean_interval(table, overlap=0.0)) for table in tables)
        found = unpaired_difference(one, other)
        held += found.low <= 0 <= found.high
    assert held / n >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / n)
    assert held / n <= 0.995


def test_few_seeds_make_the_interval_of_a_difference_wider_as_students_t_does():
    rng = np.random.default_rng(0)
    few = mean_interval(rng.normal(0, 1, (4, 1)), overlap=0.0)
    found = unpaired_difference(triple(few), (0.0, 1e-9, 1.96e-9))
    assert found.high - found.estimate == pytest.approx(few.high - few.estimate, rel=1e-6)
    many = unpaired_difference(triple(few), (0.0, 1e-9, 1.96e-9), comparisons=10)
    assert (many.high - many.estimate) / (few.high - few.estimate) > 1.5  # 1.40 of the normal distribution


def test_an_error_that_is_not_known_leaves_the_interval_infinite():
    for unknown in ((0.9, math.inf, math.inf), (0.9, 0.0, math.inf)):
        found = unpaired_difference(unknown, (0.8, 0.01, 0.0196))
        assert (found.low, found.high) == (-math.inf, math.inf)
