"""The page in a browser: from a file, without network, narrow and wide, light, dark and on paper."""

import os
import re
import shutil

import pytest
from pages import SCRIPT, report_of

from autofreeze.report.page.blocks import Page, Section
from autofreeze.report.page.document import page as page_of
from autofreeze.report.page.document import render
from autofreeze.report.page.figure import Cell, Table
from autofreeze.report.page.palette import DARK, INK, LIGHT

pytestmark = pytest.mark.browser
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PHONE, DESK = 390, 1440
INIT = "window.alert = window.confirm = window.prompt = () => { window.alerted = true; };"
SCROLL = """async () => {
  const next = () => new Promise(requestAnimationFrame);
  const waits = () => [...document.querySelectorAll('.graph')].find((one) => !one.querySelector('.main-svg'));
  for (let turn = 0; waits() && turn < 60; turn++) { waits().scrollIntoView(); await next(); }
}"""
MARKS = """() => Object.fromEntries([...document.querySelectorAll('.graph')].map((graph) => [
  graph.dataset.figure,
  [...graph.querySelectorAll('.mlayer path, .mlayer image')]
    .map((mark) => mark.getBoundingClientRect()).filter((box) => box.width + box.height > 0).length,
]))"""
BESIDE = """() => {
  const wide = document.documentElement.scrollWidth > window.innerWidth;
  return wide ? [...document.querySelectorAll('main *')]
    .filter((one) => one.getBoundingClientRect().right > window.innerWidth && !one.closest('.wide, .code'))
    .map((one) => one.tagName + '.' + one.className).slice(0, 5) : [];
}"""
COLOURS = """(selector) => {
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const one = document.querySelector(selector);
  return [rgb(getComputedStyle(one).color), rgb(getComputedStyle(document.body).backgroundColor)];
}"""


HOVER = """async () => {
  const told = [];
  for (const graph of document.querySelectorAll('.graph')) {
    for (const [curveNumber, trace] of graph.data.entries()) {
      const drawn = (one, at) => one !== null && trace.x?.[at] !== null;
      const pointNumber = (trace.y ?? trace.x ?? []).findIndex(drawn);
      if (!trace.hovertemplate || trace.type === 'heatmap' || pointNumber < 0) continue;
      const subplot = (trace.xaxis ?? 'x') + (trace.yaxis ?? 'y');
      window.Plotly.Fx.hover(graph, [{ curveNumber, pointNumber }], subplot);
      const labels = [...graph.querySelectorAll('.hoverlayer .hovertext')];
      const shown = labels.map((one) => one.textContent).join();
      if (shown) told.push([graph.dataset.figure, shown, trace.customdata?.[pointNumber] ?? []]);
      window.Plotly.Fx.unhover(graph);
    }
  }
  return told;
}"""


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser here: {', '.join(BROWSERS)}")
    playwright = pytest.importorskip("playwright.sync_api")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"] if root else [])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Pages by scenario, each written once."""
    folder, written = tmp_path_factory.mktemp("pages"), {}

    def file(name):
        if name not in written:
            written[name] = folder / f"{name}.html"
            written[name].write_text(page_of(report_of(name)), encoding="utf-8")
        return written[name]

    return file


@pytest.fixture
def opened(browser, files):
    """Open the page of a scenario; at the end nothing may have gone wrong, been asked for, or been run."""
    contexts, wrong = [], []

    def open_page(name, width=DESK, colours="light", anchor="", **options):
        context = browser.new_context(
            viewport={"width": width, "height": 844}, color_scheme=colours, offline=True, **options
        )
        contexts.append(context)
        context.add_init_script(INIT)
        page = context.new_page()
        page.on("console", lambda told: wrong.append(f"console {told.type}: {told.text}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("request", lambda asked: wrong.append(asked.url) if is_outside(asked.url) else None)
        page.goto(files(name).as_uri() + anchor)
        return page

    yield open_page
    for context in contexts:
        for page in context.pages:
            if not wrong:
                assert page.evaluate("window.alerted") is None
        context.close()
    assert wrong == []


def is_outside(url):
    return not url.startswith(("file:", "data:", "blob:"))


def luminance(colour):
    channels = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (number / 255 for number in colour)
    ]
    return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]


def rgb(colour):
    return "rgb({}, {}, {})".format(*bytes.fromhex(colour[1:]))


def contrast(one, other):
    """Contrast of two colours, 1..21 (WCAG 2.2)."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


# Figures


VIEWS = [
    ("full", PHONE, "light"), ("full", PHONE, "dark"), ("full", DESK, "light"), ("full", DESK, "dark"),
    ("one_trial", PHONE, "dark"), ("only_failed", DESK, "light"), ("own", PHONE, "light"),
    ("two_thousand", DESK, "dark"), ("two_thousand", PHONE, "light"), ("hostile", PHONE, "light"),
    ("long_names", PHONE, "light"), ("many_classes", DESK, "light"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "width", "colours"), VIEWS, ids=[f"{a}-{b}-{c}" for a, b, c in VIEWS])
def test_every_figure_has_marks_and_nothing_stands_out_at_the_side(opened, name, width, colours):
    page = opened(name, width, colours)
    page.evaluate(SCROLL)
    marks = page.evaluate(MARKS)
    assert marks
    assert [figure for figure, count in marks.items() if not count] == []
    assert page.evaluate(BESIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_figures_are_drawn_as_they_come_into_sight(opened):
    page = opened("full")
    page.wait_for_function("document.querySelector('.graph .main-svg')")
    drawn = page.evaluate("document.querySelectorAll('.graph.drawn').length")
    assert 0 < drawn < page.evaluate("document.querySelectorAll('.graph').length")


def test_hovering_gives_numbers_unrounded_and_no_template_is_left_open(opened):
    page = opened("full")
    page.evaluate(SCROLL)
    told = page.evaluate(HOVER)
    assert len({figure for figure, _, _ in told}) >= 8
    assert [shown for _, shown, _ in told if "%{" in shown or "undefined" in shown or "NaN" in shown] == []
    plain = [
        (shown.replace("−", "-"), number)
        for figure, shown, row in told
        for number in row
        if figure == "progress" and isinstance(number, float) and number % 1
    ]
    assert plain
    assert [number for shown, number in plain if str(number) not in shown] == []


def test_a_link_leads_to_its_section_though_figures_above_are_not_drawn(opened):
    page = opened("full", anchor="#conditions")
    page.wait_for_timeout(300)
    top = page.evaluate("document.getElementById('conditions').getBoundingClientRect().top")
    assert -10 <= top <= 60


def test_what_a_name_says_is_shown_and_never_run(opened):
    page = opened("hostile")
    page.evaluate(SCROLL)
    shown = page.evaluate("document.body.innerText")
    assert SCRIPT in shown
    drawn = page.evaluate("[...document.querySelectorAll('svg text')].map((one) => one.textContent)")
    assert [text for text in drawn if text.startswith("<script>alert")]  # the rest may be cut off
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("window.alerted") is None


def test_a_script_that_got_into_the_page_would_not_run(browser, files):
    page = browser.new_context(offline=True).new_page()
    page.goto(files("full").as_uri())
    page.evaluate("""() => {
      const refused = window.refused = [];
      document.addEventListener('securitypolicyviolation', (one) => refused.push(one.effectiveDirective));
      const script = document.createElement('script');
      script.textContent = 'window.alerted = true';
      document.body.append(script);
      const image = '<img src="https://example.org/x.png" onerror="window.alerted = true">';
      document.body.insertAdjacentHTML('beforeend', image);
    }""")
    page.wait_for_function("window.refused.length >= 3")
    assert page.evaluate("window.alerted") is None
    assert {"script-src-elem", "img-src", "script-src-attr"} <= set(page.evaluate("window.refused"))
    page.context.close()


# Tables


def column(page, table, number):
    return page.locator(f"#{table} tbody tr td:nth-child({number})").all_inner_texts()


def numbers(texts):
    """Numbers of cells in their order; dashes apart."""
    told = [float(re.match(r"[\d.,]+(?:e-?\d+)?", text)[0].replace(",", "")) for text in texts if text != "–"]
    return told, texts[len(told) :]


def test_a_table_is_sorted_by_any_column_there_and_back(opened):
    page = opened("full")
    before = column(page, "trials", 1)
    button = page.locator("#trials th:nth-child(4) button")
    header = page.locator("#trials th:nth-child(4)")
    assert header.get_attribute("aria-sort") == "none"
    button.click()
    assert header.get_attribute("aria-sort") == "ascending"
    values, rest = numbers(column(page, "trials", 4))
    assert values == sorted(values)
    assert len(values) > 20
    assert set(rest) == {"–"}
    button.focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    values, rest = numbers(column(page, "trials", 4))
    assert values == sorted(values, reverse=True)
    assert set(rest) == {"–"}  # what has no value comes last both ways
    page.locator("#trials th:nth-child(1) button").click()
    assert header.get_attribute("aria-sort") == "none"
    assert column(page, "trials", 1) == before == [str(number) for number in range(len(before))]


def test_words_are_sorted_too_and_equal_ones_keep_their_order(opened):
    page = opened("full")
    page.locator("#trials th:nth-child(2) button").click()
    names = column(page, "trials", 2)
    assert sorted(names, key=str.lower) == names
    pairs = list(zip(names, map(int, column(page, "trials", 1)), strict=True))
    assert pairs == sorted(pairs, key=lambda pair: (pair[0].lower(), pair[1]))


def test_empty_cells_come_last_among_words_too(opened):
    page = opened("full")
    for backwards in (False, True):
        page.locator("#trials th:last-child button").click()
        reasons = page.locator("#trials tbody tr td:last-child").all_inner_texts()
        told = [reason for reason in reasons if reason]
        assert told
        assert reasons[: len(told)] == told == sorted(told, key=str.lower, reverse=backwards)


def test_of_two_thousand_trials_all_are_sorted_and_shown_when_asked_for(opened):
    page = opened("two_thousand")
    assert len(column(page, "trials", 1)) == 50
    for _ in range(2):
        page.locator("#trials th:nth-child(4) button").click()
    known = [
        one.value for one in report_of("two_thousand").result.trials if one.value is not None
    ]  # fmt: skip
    values, rest = numbers(column(page, "trials", 4))
    assert rest == []
    assert values == [round(value, 3) for value in sorted(known, reverse=True)[:50]]
    page.locator("#trials .more button").click()
    assert sorted(map(int, column(page, "trials", 1))) == list(range(2000))
    assert page.locator("#trials .more").count() == 0


def test_rows_that_a_script_builds_hold_text_alone(browser, tmp_path):
    names = [f"{SCRIPT}<img src=x onerror=alert(1)>{number}" for number in range(60)]
    rows = tuple((Cell(text=name, key=number, href="a.html"),) for number, name in enumerate(names))
    table = Table(id="t", title="t", headings=("name",), rows=rows)
    file = tmp_path / "page.html"
    section = Section(id="s", title="s", blocks=(table,))
    file.write_text(render(Page(title="t", heading="t", sections=(section,))), encoding="utf-8")
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(file.as_uri())
    page.locator("#t .more button").click()
    page.locator("#t th button").click()
    page.locator("#t th button").click()
    assert column(page, "t", 1) == names[::-1]
    assert page.locator("#t td *:not(a)").count() == 0
    assert page.locator("#t td a").first.get_attribute("href") == "a.html"
    context.close()


# Light, dark, paper


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_words_stand_out_from_the_page(opened, colours):
    page = opened("full", colours=colours)
    told = ("body", ".headline", ".basis", ".contents a", ".badge", "th button", ".note", ".absent p", "a")
    for selector in told:
        if page.locator(selector).count():
            assert contrast(*page.evaluate(COLOURS, selector)) >= 4.5, selector


def test_a_reader_turns_the_page_dark_by_keyboard_and_it_stays_so(opened):
    page = opened("full")
    page.wait_for_function("document.querySelector('.graph .main-svg .xtick text')")
    ink = "getComputedStyle(document.querySelector('.graph .main-svg .xtick text')).fill"
    before, paper = page.evaluate(ink), page.evaluate(COLOURS, "body")[1]
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "theme"
    page.keyboard.press("Enter")
    assert page.evaluate(COLOURS, "body")[1] != paper
    page.wait_for_function(f"{ink} !== {before!r}")
    assert page.locator("#theme").inner_text() == "Light page"
    page.reload()
    assert page.evaluate(COLOURS, "body")[1] != paper


def test_a_page_follows_the_system_while_it_is_open(opened):
    page = opened("full")
    paper = page.evaluate(COLOURS, "body")[1]
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(COLOURS, "body")[1] != paper


def test_on_paper_every_figure_is_drawn_in_light_colours_and_no_wider_than_the_paper(opened):
    page = opened("full", colours="dark")
    tick = "getComputedStyle(document.querySelector('.graph .xtick text')).fill"
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert [figure for figure, count in page.evaluate(MARKS).items() if not count] == []
    widths = page.evaluate("[...document.querySelectorAll('.graph .main-svg')].map((one) => one.clientWidth)")
    assert max(widths) <= 680
    assert page.evaluate(tick) == rgb(LIGHT[INK])
    page.emulate_media(media="print", color_scheme="dark")
    assert luminance(page.evaluate(COLOURS, "h1")[0]) < 0.05
    page.emulate_media(media="screen", color_scheme="dark")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(tick) == rgb(DARK[INK])


def test_printing_draws_what_has_not_been_seen(opened):
    page = opened("full")
    assert len(page.pdf(format="A4")) > 100_000
    assert [figure for figure, count in page.evaluate(MARKS).items() if not count] == []


# Without scripts


def test_without_scripts_words_and_tables_are_there(opened):
    page = opened("full", java_script_enabled=False)
    shown = page.locator("main").inner_text()
    assert "No script runs here" in shown
    assert page.locator("#trials tbody tr").count() == 40
    assert page.locator("#theme").is_hidden()
    assert "epoch" in page.locator("noscript pre").first.inner_text() or "·" in shown
    page.locator("#against .alt summary").click()
    assert page.locator("#against-alt").is_visible()
