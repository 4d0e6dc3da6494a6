"""Made-up reports, one for each kind of search that a page must be able to show.

``SCENARIOS`` names them; ``report_of(name)`` makes one, once. Numbers are drawn with a fixed seed, so that a
scenario is the same in every test, and hang together as those of a search do.
"""

import functools
import random

from made_evidence import MadeEvidence, thumbnail
from made_search import Made, MadeSearch

from autofreeze.evidence import Evidence
from autofreeze.report.report import Report
from autofreeze.results import UNDER_WAY, Ending

__all__ = ["HOSTILE", "SCENARIOS", "SCRIPT", "report_of", "scenarios", "thumbnail"]

SCRIPT = "<script>alert(1)</script>"
HOSTILE = (
    SCRIPT,
    "%{x} of %{customdata[0]}",
    "$a_1$ \\(b\\)",
    "two\nlines\t\x1b[31m",
    "\u202eabc\u200f",
    '"><img src=x>',
)
"""Names that a folder may have, and that must be shown as they are."""

SCENARIOS: dict[str, Made] = {
    "full": Made(),
    "no_difference": Made(lead=0.001, blur=0.002),
    "undecided": Made(lead=0.006, blur=0.008),
    "unconfirmed": Made(confirmed=False),
    "unconcluded": Made(concluded=False, cut_short="out of time"),
    "interrupted": Made(confirmed=False, trials=9, cut_short="interrupted"),
    "under_way": Made(confirmed=False, trials=3, cut_short=UNDER_WAY),
    "one_trial": Made(confirmed=False, trials=1),
    "only_failed": Made(confirmed=False, trials=5, endings=((Ending.FAILED, 1.0),)),
    "only_unstable": Made(confirmed=False, trials=5, endings=((Ending.UNSTABLE, 1.0),)),
    "no_trial": Made(confirmed=False, trials=0),
    "cluster": Made(places=3),
    "sweep": Made(sweeps=True),
    "own": Made(kind="own", metric="rmse", lead=0.4, blur=0.05),
    "own_without_losses": Made(kind="own", metric="rmse", lead=0.4, blur=0.05, losses=False),
    "log_loss": Made(metric="log_loss", lead=0.04),
    "balanced_accuracy": Made(metric="balanced_accuracy"),
    "many_classes": Made(classes=tuple(f"class {number:02} of forty" for number in range(40))),
    "long_names": Made(
        classes=tuple(f"{'a very long name of a class ' * 4}{number}" for number in range(3)),
        groups=(
            *tuple(f"stages.{number}.blocks.{number}-{number + 9}.{'x' * 60}" for number in range(5)),
            "head",
        ),
        names=("d" * 120, "m" * 120, "w" * 90, "v" * 90, "u" * 90),
    ),
    "hostile": Made(
        classes=HOSTILE, groups=(*HOSTILE[:5], "head"), names=HOSTILE[:5], places=3, script=SCRIPT
    ),
    "without_evidence": Made(evidence=False),
    "two_thousand": Made(trials=2000),
}


@functools.cache
def report_of(name: str) -> Report:
    """Make the report of a scenario; the same object at each call."""
    made, rng = SCENARIOS[name], random.Random(name)
    result = MadeSearch(made, rng).result()
    return Report(result, MadeEvidence(made, rng).evidence(result) if made.evidence else Evidence())


def scenarios() -> dict[str, Report]:
    """Make them all."""
    return {name: report_of(name) for name in SCENARIOS}
