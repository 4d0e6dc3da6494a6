"""What the report's page takes to open in a browser: a file from disk, nothing warm.

    python benchmarks/report_page.py [PAGE.html ...] [--scenario NAME ...] [--times 5] [--browser PATH]

Opens each page in Chromium, headless, without network, in a new context each time, and reads the page's own
clock, which begins when the browser asks for the file. ``first`` is when the first figure's marks are in the
document, and from then on the page reacts; ``busy`` is the processor time of the page's own thread until
then, which a busy machine does not lengthen; ``answer`` is how long it then takes to sort the table of all
trials, up to the next picture; ``all`` is when, scrolled through without a pause, all figures are drawn.
Without a page the made-up one of the tests with 2,000 trials is taken. Prints a line of JSON for each page:
medians, and the slowest.
"""

import argparse
import json
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from autofreeze.report.page.document import page as page_of

TESTS = Path(__file__).parent.parent / "tests"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FIRST = "() => document.querySelector('.graph .mlayer path, .graph .mlayer image') && performance.now()"
ALL = """async () => {
  const next = () => new Promise(requestAnimationFrame);
  const waits = () => [...document.querySelectorAll('.graph')].find((one) => !one.querySelector('.main-svg'));
  while (waits()) { waits().scrollIntoView(); await next(); }
  return performance.now();
}"""
ANSWER = """async () => {
  const button = document.querySelector('#trials th:nth-child(4) button');
  if (!button) return null;
  const began = performance.now();
  button.click();
  await new Promise(requestAnimationFrame);
  await new Promise((done) => setTimeout(done));
  return performance.now() - began;
}"""


def main() -> None:
    """Measure each page, and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--scenario", nargs="*", default=[])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--browser", default=next(filter(None, map(shutil.which, BROWSERS)), None))
    asked = parser.parse_args()
    if asked.browser is None:
        parser.error(f"no browser found ({', '.join(BROWSERS)}); name one with --browser")
    scenarios = asked.scenario or ([] if asked.pages else ["two_thousand"])
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        pages = [*asked.pages, *made_up(scenarios, Path(folder))]
        browser = playwright.chromium.launch(executable_path=asked.browser, args=["--no-sandbox"])
        for file in pages:
            print(json.dumps(measured(browser, file, asked.times)))


def made_up(scenarios: list[str], folder: Path) -> Iterator[Path]:
    """Write made-up pages."""
    if scenarios:
        sys.path.insert(0, str(TESTS))
        from pages import report_of
    for name in scenarios:
        file = folder / f"{name}.html"
        file.write_text(page_of(report_of(name)), encoding="utf-8")
        yield file


def measured(browser: Browser, file: Path, times: int) -> dict[str, Any]:
    """Open a page several times."""
    runs = [opened(browser, file.resolve()) for _ in range(times)]
    told: dict[str, Any] = {"page": file.name, "bytes": file.stat().st_size, "n": times}
    for name in ("first", "busy", "answer", "all"):
        spent = [run[name] for run in runs if run[name] is not None]
        told[name] = [round(find(spent)) for find in (statistics.median, max)] if spent else None
    return {**told, "unit": "ms: median, most", "browser": browser.version, "machine": platform.machine()}


def opened(browser: Browser, file: Path) -> dict[str, float | None]:
    """Open a page once: milliseconds."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    page = context.new_page()
    clock = context.new_cdp_session(page)
    clock.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(file.as_uri(), wait_until="commit")
    first = page.wait_for_function(FIRST, polling="raf").json_value()
    metrics = {one["name"]: one["value"] for one in clock.send("Performance.getMetrics")["metrics"]}
    busy = 1000 * metrics["TaskDuration"]
    found = {"first": first, "busy": busy, "answer": page.evaluate(ANSWER), "all": page.evaluate(ALL)}
    context.close()
    return found


if __name__ == "__main__":
    main()
