"""The page as text: whole, safe, the same from report.json alone, and no number in it that is not there."""

import hashlib
import json
import math
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from importlib import import_module
from pkgutil import iter_modules
from typing import get_args
from urllib.parse import unquote

import pytest
from figures import check
from pages import HOSTILE, SCENARIOS, report_of

from autofreeze.phrases import capitalised, printable
from autofreeze.report.page import assets, figures, leads
from autofreeze.report.page.blocks import Page, Section
from autofreeze.report.page.document import SHOWN, page, render, summary_page
from autofreeze.report.page.figure import Absent, Cell, Figure, Gallery, Picture, Table
from autofreeze.report.page.figures import classes, confusion
from autofreeze.report.page.palette import DARK, LIGHT
from autofreeze.report.page.sections import BADGES, sections
from autofreeze.report.report import Report
from autofreeze.results import UNDER_WAY, DatasetOutcome, SummaryResult
from autofreeze.verdict import Outcome, Standing

MOST_BYTES = 8_000_000
VOID = {"meta", "br", "img", "link", "input", "hr"}
OPTIONAL_TEXT = {"script", "style"}


class Parsed(HTMLParser):
    """A page, read: elements with their attributes, texts, and whether each tag was closed in its turn."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.open, self.wrong = [], [], [], []
        self.inside = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.wrong.append(f"{tag} has an attribute twice")
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open[-1][0] != tag:
            self.wrong.append(f"</{tag}> closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data):
        tag, attributes = self.open[-1] if self.open else ("", {})
        if tag in OPTIONAL_TEXT:
            self.inside.setdefault(tag, []).append((attributes, data))
        elif data.strip():
            self.texts.append(data)

    def all(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]

    @property
    def ids(self):
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    @property
    def islands(self):
        return [
            json.loads(text) for attributes, text in self.inside["script"]
            if attributes.get("type") == "application/json"
        ]  # fmt: skip


@pytest.fixture(scope="module", params=SCENARIOS)
def scenario(request):
    report = report_of(request.param)
    return request.param, report, page(report)


@pytest.fixture(scope="module")
def parsed(scenario):
    return Parsed(scenario[2].replace(assets.plotly(), ""))


# What every page is


def test_a_page_is_well_formed_and_each_id_is_there_once(parsed):
    assert parsed.wrong == []
    assert parsed.open == []
    assert [name for name, times in Counter(parsed.ids).items() if times > 1] == []


def test_every_link_leads_to_something_on_the_page(parsed):
    targets = [attributes["href"] for attributes in parsed.all("a")]
    assert len(targets) > 10
    assert {target for target in targets if target.removeprefix("#") not in parsed.ids} == set()
    named = [
        name
        for _, attributes in parsed.elements
        for key in ("aria-labelledby", "aria-describedby")
        for name in attributes.get(key, "").split()
    ]
    assert set(named) <= set(parsed.ids)


def test_sections_come_in_the_order_in_which_a_reader_asks(parsed):
    order = [
        "verdict", "others", "answers", "work", "learning", "mattered", "stability", "mistakes", "search",
        "conditions", "use",
    ]  # fmt: skip
    shown = [one["id"] for one in parsed.all("section")]
    assert shown == [name for name in order if name in shown]
    assert {"verdict", "others", "work", "stability", "search", "conditions"} <= set(shown)
    contents = [one["href"].removeprefix("#") for one in parsed.all("a") if not one.get("class")]
    assert [name for name in contents if name in order] == shown


def test_nothing_is_ever_loaded(parsed):
    for tag, attributes in parsed.elements:
        for key in ("src", "srcset", "action", "data", "poster", "background", "formaction"):
            assert attributes.get(key, "data:image/jpeg;base64,").startswith("data:image/jpeg;base64,"), tag
        assert attributes.get("href", "#").startswith("#"), tag
        assert "url(" not in attributes.get("style", "")
        assert not [key for key in attributes if key.startswith("on")]
    assert {"link", "iframe", "object", "embed", "base"}.isdisjoint(tag for tag, _ in parsed.elements)
    assert "url(" not in assets.style()
    assert "@import" not in assets.style()


def test_a_browser_is_told_to_run_the_pages_own_scripts_alone(parsed):
    policy = parsed.all("meta")[1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    rules = dict(rule.strip().split(" ", 1) for rule in policy["content"].split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in rules["script-src"]
    run = [text for attributes, text in parsed.inside["script"] if "type" not in attributes]
    drawn = bool(parsed.all("figure"))
    assert run == [assets.script()]  # and plotly's, which was taken out
    hashes = rules["script-src"].split(" ")
    assert len(hashes) == 1 + drawn
    assert all(re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", one) for one in hashes)


def test_a_page_is_small_and_follows_from_report_json_alone(scenario):
    _, report, text = scenario
    assert len(text.encode()) < MOST_BYTES
    written = json.dumps(report.document())
    again = page(Report.parse(json.loads(written)))
    assert again == text


def test_every_figure_table_and_reason_is_on_the_page(scenario, parsed):
    _, report, _ = scenario
    blocks = [block for section in sections(report) for block in section.blocks]
    shown = [one["data-figure"] for one in parsed.all("div") if "data-figure" in one]
    assert shown == [block.id for block in blocks if isinstance(block, Figure)]
    text = " ".join(" ".join(parsed.texts).split())
    for block in blocks:
        if isinstance(block, Figure | Absent | Table | Gallery):
            assert block.id in parsed.ids
        if isinstance(block, Figure):
            assert " ".join(printable(block.alt).split()) in text
        if isinstance(block, Absent):
            assert " ".join(printable(block.reason).split()) in text
    drawn_or_not = {block.id for block in blocks if isinstance(block, Figure | Absent)}
    modules = [import_module(f"{figures.__name__}.{one.name}") for one in iter_modules(figures.__path__)]
    assert len(modules) == 15
    of_images = {classes.ID, confusion.ID} if report.result.kind == "own" else set()
    assert drawn_or_not >= {module.ID for module in modules} - of_images


def test_figures_are_told_in_words_and_need_no_colour_of_their_own(parsed):
    names = set(LIGHT)
    plots = [one for one in parsed.all("div") if "data-figure" in one]
    for one in plots:
        assert one["role"] == "img"
        assert one["aria-describedby"] == f"{one['data-figure']}-alt"
        assert re.fullmatch(r"--height: \d+px; --more: \d+px", one["style"])
    assert set(DARK) == names


@pytest.mark.parametrize(
    ("name", "badge"),
    [
        ("full", "better than some on fresh seeds: confirmed"),  # undecided against one
        ("no_difference", "no difference on fresh seeds: confirmed"),
        ("undecided", "undecided on fresh seeds"),
        ("unconcluded", "unconfirmed"),  # it chose nobody
        ("unconfirmed", "unconfirmed"),
        ("only_failed", "no best schedule"),
    ],
)
def test_the_badge_says_how_sure_the_verdict_is_and_no_more(name, badge):
    report = report_of(name)
    parsed = Parsed(page(report).replace(assets.plotly(), ""))
    assert badge in parsed.texts
    assert capitalised(report.verdict.headline) in parsed.texts
    [shown] = [one["class"] for one in parsed.all("p") if one.get("class", "").startswith("badge")]
    assert (shown == "badge partly-better") == (name == "full")


def test_a_confirmation_that_was_cut_short_after_a_look_is_not_called_one():
    report = report_of("full")
    found = report.result.confirmation.model_copy(update={"cut_short": "interrupted"})
    cut = report.result.model_copy(update={"confirmation": found})
    parsed = Parsed(page(Report(cut, report.evidence)).replace(assets.plotly(), ""))
    assert "confirmation not concluded" in parsed.texts
    assert not any("confirmed" in text for text in parsed.texts if text in BADGES.values())


def test_only_what_beats_all_others_is_called_better_without_more():
    report = report_of("full")
    found = report.result.confirmation
    every = tuple(one.model_copy(update={"decision": "better"}) for one in found.comparisons)
    assert found.comparisons != every
    sure = found.model_copy(update={"comparisons": every})
    changed = Report(report.result.model_copy(update={"confirmation": sure}), report.evidence)
    parsed = Parsed(page(changed).replace(assets.plotly(), ""))
    assert "better on fresh seeds: confirmed" in parsed.texts
    assert any(one.get("class") == "badge better" for one in parsed.all("p"))


def test_there_is_a_badge_for_all_that_a_search_can_come_to():
    assert set(BADGES) == {*get_args(Outcome), *get_args(Standing)} - {"confirmed"}  # told by what came out


# Names from the data


def test_hostile_names_stay_text():
    report = report_of("hostile")
    text = page(report).replace(assets.plotly(), "")
    clean = Parsed(page(report_of("full")).replace(assets.plotly(), ""))
    hostile = Parsed(text)
    assert hostile.wrong == []
    assert {tag for tag, _ in hostile.elements} - {tag for tag, _ in clean.elements} == set()
    assert len(hostile.all("script")) == len(hostile.islands) + 2  # the page's own, and plotly's
    assert "<script>alert" not in text
    assert all(char.isprintable() or char == "\n" for char in text)
    words = " ".join(hostile.texts)
    for name in HOSTILE:
        assert printable(name) in words


def test_what_stands_in_data_cannot_end_it():
    awkward = "</script><script>alert(1)</script>&\u2028\u2029\ud800"
    written = assets.island([awkward])
    assert not {"<", ">", "&", "\u2028", "\u2029"} & set(written)
    assert written.isascii()
    assert json.loads(written) == [awkward]


def test_every_kind_of_text_is_escaped():
    name = '<img src=x onerror="alert(1)">&\u202e'
    table = Table(
        id="t", title=name, headings=(name,), note=name,
        rows=((Cell(text=name, key=name),),) * (SHOWN + 1),
    )  # fmt: skip
    picture = Picture(
        name=name, label=name, predicted=name, wrong=1, scored=2, thumbnail=f"javascript:{name}"
    )
    gallery = Gallery(id="g", title=name, pictures=(picture,), note=name)
    figure = Figure(id="f", title=name, alt=name, note=name, traces=({"type": "bar", "name": name},))
    absent = Absent(id="a", title=name, reason=name)
    section = Section(id="s", title=name, blocks=(table, gallery, figure, absent))
    text = render(Page(title=name, heading=name, sections=(section,))).replace(assets.plotly(), "")
    assert "<img" not in text
    assert "\u202e" not in text
    assert "javascript:" not in text
    parsed = Parsed(text)
    assert parsed.wrong == []
    assert parsed.texts.count(printable(name)) > 55


def test_a_figure_that_holds_no_number_is_written_as_a_gap():
    figure = Figure(
        id="f", title="t", alt="a", traces=({"type": "bar", "y": [1.0, math.nan], "x": (math.inf,)},)
    )
    text = render(Page(title="t", heading="t", sections=(Section(id="s", title="t", blocks=(figure,)),)))
    assert '"y":[1.0,null],"x":[null]' in text


# Tables


def test_a_long_table_is_built_as_it_is_asked_for():
    parsed = Parsed(page(report_of("two_thousand")).replace(assets.plotly(), ""))
    assert len(parsed.all("tr")) < 10 * SHOWN
    [rows] = [held for held in parsed.islands if isinstance(held, list) and len(held) == 2000]
    assert [row[0][1] for row in rows] == list(range(2000))
    assert "50 of 2,000 rows are shown." in parsed.texts


# Numbers


ARITHMETIC = {
    "schedule": "rates between two corners of the rate curve, and when they hold",
    "cost": "work of a run in runs of full fine-tuning; rounded",
    "curves": "means over the runs of a schedule",
    "slices": "head-only epochs as a share of the run; highest rates that the curve lets through",
    "robustness": "shares of two counts that stand beside them",
    "gradient": "medians of the runs that a group of marks stands for",
    "classes": "shares of counts of the confusions",
    "class-table/scored": "sums over a row of the confusions",
    "class-table/best": "shares of such a sum",
    "class-table/best baseline": "shares of such a sum",
    "confusion": "shares of a row of the confusions, and its sum",
    "confused/of": "sums over a row of the confusions",
    "confused/share": "shares of such a sum",
    "progress": "work added up trial by trial",
    "savings": "what was spent less what was read from stores; shares of the sum",
    "workers": "the share of the time in which nothing ran; runs counted",
    "trials/work of a run": "a trial's work over its folds",
    "against-table/× full": "work of a run in runs of full fine-tuning",
}
"""Figures and columns whose numbers follow from those of report.json by plain arithmetic, and by which."""


def numbers_of(data):
    """Every number in plain data, and how long each of its lists is."""
    if isinstance(data, dict | list):
        yield float(len(data))
        for one in data.values() if isinstance(data, dict) else data:
            yield from numbers_of(one)
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield float(data)


def shown_numbers(block):
    """Numbers of a block at full precision, by where they stand: those on hover, and what is sorted by."""
    if isinstance(block, Figure):
        for trace in block.traces:
            custom = json.loads(json.dumps(trace.get("customdata") or []))
            yield from ((block.id, number) for number in leaves(custom))
    if isinstance(block, Table):
        for row in block.rows:
            for heading, cell in zip(block.headings, row, strict=True):
                if isinstance(cell.key, int | float):
                    yield f"{block.id}/{heading}", float(cell.key)


def leaves(data):
    if isinstance(data, list):
        for one in data:
            yield from leaves(one)
    elif isinstance(data, int | float | str) and NUMBER.fullmatch(str(data)):
        yield float(data)


NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")


def test_every_number_of_a_figure_or_table_stands_in_report_json(scenario):
    _, report, _ = scenario
    kept = set(numbers_of(json.loads(json.dumps(report.document()))))
    # A log loss is kept as exp(-loss), and what is to be small with its sign turned.
    known = kept | {-one for one in kept} | {-math.log(one) for one in kept if one > 0}
    shown = [
        pair for section in sections(report) for block in section.blocks for pair in shown_numbers(block)
    ]
    missing = {where for where, number in shown if number not in known and math.isfinite(number)}
    assert missing <= set(ARITHMETIC)
    free = [where for where, _ in shown if where not in ARITHMETIC]
    assert len(free) > 20 or len(report.result.trials) < 6


# The index of several data sets


def outcome(name, **fields):
    given = {
        "data": f"data/{name}", "images": 500, "classes": 3, "metric": "top1", "best_trial": 1,
        "sentence": "train the head alone", "value": 0.84, "standard_error": 0.01, "trials": 20,
        "lead_over": {"full": 0.021, "linear_probe": 0.09}, "confirmed": True,
        "decision_over": {"full": "better", "linear_probe": "better"},
    }  # fmt: skip
    return DatasetOutcome(name=name, **{**given, **fields})


def summary(*datasets, **fields):
    given = {
        "model": "some_net",
        "seconds": 61.0,
        "versions": {"torch": "2.1"},
        "command": "autofreeze search a b",
    }
    return SummaryResult(datasets=datasets, **{**given, **fields})


AWKWARD = "a b..<img src=x onerror=alert(1)>?#%&"  # no name of a folder holds a slash


def test_the_index_leads_to_the_page_of_each_data_set():
    broken = outcome("broken", problem="no <b>images</b>", trials=3)
    text = summary_page(summary(outcome("photos"), outcome(AWKWARD), broken)).replace(assets.plotly(), "")
    parsed = Parsed(text)
    assert parsed.wrong == []
    links = [one["href"] for one in parsed.all("a") if not one["href"].startswith("#")]
    assert [unquote(link) for link in links] == ["photos/report.html", f"{AWKWARD}/report.html"]
    assert all(re.fullmatch(r"[\w%.~-]+/report\.html", link) for link in links)
    assert "<b>images" not in text
    assert "no <b>images</b>" in " ".join(parsed.texts)


def test_the_index_draws_the_leads_over_the_baselines():
    losses = outcome("losses", metric="log_loss", lead_over={"full": 0.052}, decision_over={})
    hollow = outcome(AWKWARD, confirmed=False, decision_over={}, lead_over={"full": -0.012})
    drawn = check(leads.figure(summary(outcome("photos"), hollow, losses)))
    probe, full = drawn.traces
    assert (probe["x"], full["x"]) == ([9.0], [2.1, -1.2])
    assert full["marker"]["symbol"] == ["circle", "circle-open"]
    assert full["customdata"][1][1:] == [-0.012, "in the search, unconfirmed"]
    assert "photos: +9.0 pt over linear_probe (better) and +2.1 pt over full (better)" in drawn.alt
    assert "-1.2 pt over full (in the search, unconfirmed)" in drawn.alt
    assert "nats of the loss (1)" in drawn.note
    assert isinstance(check(leads.figure(summary(losses))), Absent)


def test_an_index_without_figures_is_small():
    text = summary_page(summary(DatasetOutcome(name="later", data="data/later")))
    assert len(text) < 60_000
    assert "No best schedule has been compared with a baseline yet." in text


def test_the_index_of_an_unfinished_search_says_so():
    waiting = DatasetOutcome(name="later", data="data/later")
    parsed = Parsed(summary_page(summary(outcome("photos"), waiting, cut_short=UNDER_WAY)))
    assert any(text.startswith("Under way: 1 of 2 data sets begun") for text in parsed.texts)


# What the page needs


def test_files_of_the_page_are_found_in_the_package():
    assert "Plotly" in assets.plotly()[:2000] or "plotly.js" in assets.plotly()[:200]
    assert assets.script().startswith("(() => {")
    assert "@media print" in assets.style()
    assert "</script" not in (assets.plotly() + assets.script()).lower()
    assert "<!--" not in assets.plotly() + assets.script()
    assert "\r" not in assets.plotly() + assets.script()  # a browser would turn it into another hash


def test_a_page_is_made_without_plotly_for_python_the_same_in_each_process():
    code = (
        "import hashlib, sys; sys.path.insert(0, 'tests'); from pages import report_of\n"
        "from autofreeze.report.page.document import page; text = page(report_of('full'))\n"
        "print([name for name in ('plotly', 'torch', 'timm', 'optuna', 'ray') if name in sys.modules])\n"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    expected = hashlib.sha256(page(report_of("full")).encode()).hexdigest()
    assert (done.stdout, done.stderr) == (f"[]\n{expected}\n", "")
