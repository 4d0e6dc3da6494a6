"""The report as Markdown and as a drawing: it shows what the result holds, whatever the names are."""

import html
import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from autofreeze.export.searchresult import SearchResult
from autofreeze.recipes import full, gradual, linear_probe
from autofreeze.regime import Regime
from autofreeze.report.drawing import BLOCKS, FROZEN, STEPS_PER_EPOCH, draw
from autofreeze.report.files import folder_of, read_any, read_report, write_report, write_summary
from autofreeze.report.markdown import bullets, escape, page, schedule_table, table
from autofreeze.report.report import Report
from autofreeze.report.summary import show_summary
from autofreeze.results import UNDER_WAY, DatasetOutcome, Ending, StudyResult, SummaryResult, TrialResult
from autofreeze.schedule import Phase, Schedule, format_rate

GROUPS = ("stem", "blocks.0-1", "head")
DATA = {
    "name": "photos", "classes": ["a|b", "`c`", "<b>d</b>"], "images": {"train": 2004, "val": 0, "test": 505},
    "folds": [{"train": 1603, "val": 401}, {"train": 1603, "val": 401}],
    "findings": [
        {"kind": "blank", "severity": "warning", "sentence": "4 images | are blank", "way_out": "look"}
    ],
}  # fmt: skip
BACKBONE = {
    "model": "some_net", "source": "w.safetensors", "coverage": "312 of 312 backbone tensors loaded",
    "preprocessing": {"image_size": 128}, "preprocessing_from": {"image_size": "given"},
}  # fmt: skip
STEPWISE = gradual(GROUPS, 6, head_lr=3e-3, warmup_epochs=1.5, unfreeze_every=1, unfreeze_depth=1)


def trial(number, schedule, ending=Ending.COMPLETE, **fields):
    return TrialResult(
        number=number,
        recipe="gradual",
        schedule=schedule,
        regime=Regime(),
        ending=ending,
        n_val=400,
        **fields,
    )


PROBE = trial(0, linear_probe(GROUPS, 6, head_lr=3e-3), baseline="linear_probe", value=0.75, val_loss=0.7)
FULL = trial(1, full(GROUPS, 6, head_lr=1e-3), Ending.FAILED, baseline="full", reason="out of | memory")
BEST = trial(3, STEPWISE, value=0.81, val_loss=0.6, work=1234.0)


def result(*trials, **fields):
    given = {
        "data": DATA, "backbone": BACKBONE, "settings": {"trials": 9, "task": {"data": "my photos"}},
        "metric": "top1", "seconds": 61.0, "command": "autofreeze search 'my photos'",
        "versions": {"torch": "2.1"}, "machine": {"device": "cpu", "threads": 1},
    }  # fmt: skip
    return StudyResult(trials=trials, **{**given, **fields})


def tables(text):
    """Every table as GitHub would read it: rows of cells as plain text."""
    rendered = MarkdownIt("commonmark").enable("table").render(text)

    def cells_of(row):
        cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)
        return [html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in cells]

    return [
        [cells_of(row) for row in re.findall(r"<tr>(.*?)</tr>", one, re.DOTALL)]
        for one in re.findall(r"<table>(.*?)</table>", rendered, re.DOTALL)
    ]


def test_the_page_tells_the_verdict_the_schedule_the_baselines_and_the_trials():
    text = page(Report(result(PROBE, FULL, BEST)))
    assert "**Best schedule found (unconfirmed): train the head alone for 1.5 epochs, then " in text
    schedule, compared, ended = tables(text)
    assert schedule == [
        ["group", "epochs 0–1.5", "epochs 1.5–6"],
        ["stem", "–", "–"], ["blocks.0-1", "–", "3e-4"], ["head", "3e-3", "3e-3"],
    ]  # fmt: skip
    assert [row[:3] for row in compared[1:]] == [
        ["best: gradual", "0.810 ± 0.020", ""],
        ["linear_probe", "0.750 ± 0.022", "+6.0 pt"],
        ["full", "–", ""],
    ]  # fmt: skip
    assert compared[3][-1] == "failed: out of | memory"
    assert ended[1:] == [["complete", "2"], ["failed", "1"]]
    assert draw(STEPWISE, 76) in text
    assert "autofreeze train best.yaml 'my photos'" in text


def test_every_figure_of_the_page_stands_in_the_json_file_beside_it(tmp_path):
    write_report(result(PROBE, FULL, BEST), tmp_path)
    text = (tmp_path / "report.md").read_text()
    # A phase's end, and both folds' images.
    assert figures_missing(text, tmp_path, "1.5", "802") == set()


def figures_missing(text, folder, *more):
    """Figures of a page, its code left out, that are not in the JSON file in any way they are told."""
    kept = (folder / "report.json").read_text()
    known = set(re.findall(r"\d[\d.,e-]*\d|\d", kept))

    def note(data):
        if isinstance(data, dict | list):
            for value in data.values() if isinstance(data, dict) else data:
                note(value)
            known.add(str(len(data)))
        elif isinstance(data, int | float):
            known.update((f"{data:.3f}", f"{data:,.0f}", f"{100 * data:.1f}", f"{data:g}", format_rate(data)))
            known.add(f"{100 * data:.0f}")

    note(json.loads(kept))
    known |= {*more, "61", "95"}  # the seconds; the level of intervals
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL).replace("1 min 1 s", "61 s")
    figures = re.findall(r"\d[\d.,e-]*\d|\d", prose)
    assert len(figures) > 40
    return {figure for figure in figures if figure not in known}


LEADS = [(0, 0.09, 0.03), (2, 0.021, 0.017), (3, 0.004, 0.015)]


def test_every_figure_of_a_confirmed_page_stands_in_the_json_file_beside_it(made_result, tmp_path):
    winner = made_result.candidate(1, 0.84, test_value=0.83)
    others = [made_result.candidate(number, 0.84 - lead) for number, lead, _ in LEADS]
    found = made_result.confirmation(
        *LEADS, candidates=(winner, *others), test_images=505, test_reads=1, test_seeds=3
    )
    data = {**made_result.result().data, "class_images": [400, 80, 20]}
    write_report(made_result.result(confirmation=found, data=data), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert figures_missing(text, tmp_path, "400") == set()  # the folds' images together
    tables_of = {table[0][0]: table for table in tables(text)}
    assert [row[:5] for row in tables_of["schedule"][1:]] != []
    compared = tables(text)[1]
    assert compared[1][:5] == ["best: lp_ft", "0.840 ± 0.010", "", "", ""]
    assert compared[3][:5] == ["full", "0.819 ± 0.010", "+2.1 pt", "+0.4 to +3.8", "better"]
    assert tables_of["class"][2] == ["b", "80", "0.740", "0.719"]


@pytest.mark.parametrize(
    ("cut_short", "chosen", "confirmed"), [("", 1, True), ("out of time", 1, False), ("", None, False)]
)
def test_the_json_file_says_confirmed_only_when_the_confirmation_was_concluded(
    made_result, tmp_path, cut_short, chosen, confirmed
):
    found = made_result.confirmation(*LEADS, cut_short=cut_short, chosen=chosen)
    original = made_result.result(confirmation=found)
    write_report(original, tmp_path)
    kept = json.loads((tmp_path / "report.json").read_text())
    assert kept["confirmed"] is confirmed
    assert ("(unconfirmed)" in kept["verdict"]["headline"]) == (chosen is None)
    assert read_report(tmp_path) == original


def test_the_summary_takes_the_answer_and_the_confirmed_figures(made_result, tmp_path):
    write_summary(summary(*(DatasetOutcome(name=name, data=name) for name in ("sure", "open"))), tmp_path)
    for name, leads in (("sure", LEADS[:2]), ("open", ())):
        (tmp_path / name).mkdir()
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        write_report(made_result.result(*leads), tmp_path / name)
    whole = read_any(tmp_path)
    write_summary(whole, tmp_path)
    text = (tmp_path / "report.md").read_text()
    [[_, sure, unsure]] = tables(text)
    assert sure[5:9] == ["0.840 ± 0.010", "+9.0 pt, better", "+2.1 pt, better", "freeze first (confirmed)"]
    assert unsure[5:9] == ["0.860 ± 0.017", "+11.0 pt", "+2.0 pt", "undecided (unconfirmed)"]
    assert "open: Unconfirmed: the best of many" in text
    stream = io.StringIO()
    show_summary(whole, Console(file=stream, width=80))
    shown = stream.getvalue()
    assert "freeze first, or not? Freeze first (confirmed)" in shown
    assert "open: Unconfirmed: " in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_an_exported_file_is_confirmed_when_its_trial_won(made_result):
    won = made_result.result(*LEADS)
    assert SearchResult.of(won, won.trials[1]).confirmed
    assert not SearchResult.of(won, won.trials[2]).confirmed
    cut = won.model_copy(update={"confirmation": made_result.confirmation(*LEADS, cut_short="out of time")})
    assert not SearchResult.of(cut, won.trials[1]).confirmed


def test_the_report_is_read_back_equal(tmp_path):
    original = result(PROBE, FULL, BEST)
    write_report(original, tmp_path)
    assert read_report(tmp_path) == original


def test_a_report_of_a_search_under_way_says_how_far_it_is_and_one_without_a_best_says_so():
    text = page(Report(result(FULL, cut_short=UNDER_WAY)))
    assert "*Under way: 1 of 9 trials so far; one that was killed goes on with --resume.*" in text
    assert "**No trial was completed, so there is no best schedule**" in text
    assert "autofreeze train" not in text


def test_a_log_loss_is_shown_as_itself_and_leads_by_being_lower():
    better, worse = (trial(n, STEPWISE, value=value, baseline=name) for n, value, name in (
        (0, 0.7408182206817179, None), (1, 0.6065306597126334, "full")))  # fmt: skip
    compared = tables(page(Report(result(better, worse, metric="log_loss"))))[1]
    assert [row[1:3] for row in compared[1:]] == [["0.300", ""], ["0.500", "+0.200 nat"]]


text_of_any_kind = st.text(
    st.one_of(st.characters(), st.sampled_from("|`*_<>[]()#$~\\&!-+=1.: \n")), min_size=1, max_size=30
)


@settings(max_examples=150, deadline=None)
@given(text_of_any_kind, text_of_any_kind)
def test_any_name_comes_out_of_a_table_as_it_went_in(name, other):
    shown = [" ".join("".join(c if c.isprintable() else " " for c in text).split()) for text in (name, other)]
    [[_, cells]] = tables(table(("a", "b"), [(escape(name), escape(other))]))
    assert [" ".join(cell.split()) for cell in cells] == shown


@settings(max_examples=150, deadline=None)
@given(text_of_any_kind)
def test_any_line_is_one_plain_item_of_a_list(line):
    rendered = MarkdownIt("commonmark").render(bullets([escape(line)]))
    shown = "".join(c if c.isprintable() else " " for c in line).split()
    assert re.findall(r"<[^>]*>", rendered) == ["<ul>", "<li>", "</li>", "</ul>"]
    assert html.unescape(re.sub(r"<[^>]*>", "", rendered)).split() == shown


cells = st.lists(st.sampled_from([None, 1e-2, 1e-3, 3e-4, 1e-5]), min_size=3, max_size=3).filter(any)
schedules = st.builds(
    lambda rows, curve: Schedule(
        groups=GROUPS, curve=curve, phases=tuple(Phase(epochs=e, lrs=tuple(row)) for e, row in rows)
    ),
    st.lists(st.tuples(st.sampled_from([0.5, 1.0, 3.0]), cells), min_size=1, max_size=4),
    st.sampled_from(["constant", "cosine"]),
)


@settings(max_examples=50, deadline=None)
@given(schedules, st.integers(30, 120))
def test_the_drawing_shows_who_is_frozen_and_who_is_faster_at_every_moment(schedule, width):
    lines = draw(schedule, width).splitlines()
    assert len(lines) == len(GROUPS) + 2
    assert max(map(len, lines[:-1])) <= width
    rows = [line.split(maxsplit=1)[1] for line in lines[: len(GROUPS)]]
    timetable = schedule.timetable(STEPS_PER_EPOCH)
    for column, blocks in enumerate(zip(*rows, strict=True)):
        rates = timetable.rates(int((column + 0.5) / len(rows[0]) * timetable.total_steps))
        assert [block == FROZEN for block in blocks] == [rate is None for rate in rates]
        heights = [(rate, BLOCKS.index(block)) for rate, block in zip(rates, blocks, strict=True) if rate]
        assert all(low[1] <= high[1] for low in heights for high in heights if low[0] <= high[0])


def test_the_table_of_a_schedule_has_a_row_for_each_group_and_a_column_for_each_phase():
    [[headings, *rows]] = tables(schedule_table(STEPWISE))
    assert [row[0] for row in rows] == list(GROUPS)
    assert len(headings) == 1 + len(STEPWISE.phases)


def summary(*datasets):
    return SummaryResult(model="some_net", datasets=datasets, seconds=5)


def test_a_summary_takes_its_figures_from_the_reports_beside_it(tmp_path):
    write_summary(summary(DatasetOutcome(name="a b", data="x"), DatasetOutcome(name="c", data="y")), tmp_path)
    (tmp_path / "c").mkdir()
    (tmp_path / "c").mkdir(parents=True, exist_ok=True)
    write_report(result(PROBE, BEST, cut_short=UNDER_WAY), tmp_path / "c")
    first, second = read_any(tmp_path).datasets
    assert (first.trials, first.value) == (0, None)
    assert (second.trials, second.value, second.cut_short) == (2, 0.81, UNDER_WAY)
    assert second.lead_over == {"linear_probe": pytest.approx(0.06)}
    assert folder_of(tmp_path, "c") == tmp_path / "c"
    write_summary(read_any(tmp_path), tmp_path)
    [[_, row_a, row_c]] = tables((tmp_path / "report.md").read_text())
    assert row_a[0] == "a b"
    assert (row_c[5], row_c[6]) == ("0.810 ± 0.020", "+6.0 pt")


def test_a_report_does_not_make_a_run_folder_that_was_removed_anew(made_result, tmp_path):
    with pytest.raises(FileNotFoundError):
        write_report(made_result.result(), tmp_path / "gone")
    assert not (tmp_path / "gone").exists()
