"""The sections of the page, in the order in which a reader asks."""

from collections.abc import Iterator

from autofreeze.figures import error_of, shown_value
from autofreeze.phrases import capitalised
from autofreeze.report.drawing import draw
from autofreeze.report.owntraining import is_own
from autofreeze.report.page import comparison, gallery, tables
from autofreeze.report.page.blocks import (
    Banner,
    Block,
    Bullets,
    Code,
    Fallback,
    Headline,
    Pairs,
    Prose,
    Question,
    Section,
)
from autofreeze.report.page.figure import Absent, Table
from autofreeze.report.page.figures import (
    against,
    classes,
    confusion,
    cost,
    curves,
    endings,
    gradient,
    heatmap,
    importance,
    progress,
    robustness,
    savings,
    slices,
    unstable,
    workers,
)
from autofreeze.report.page.glance import glance
from autofreeze.report.page.origin import pairs_of, provenance
from autofreeze.report.placing import placing_lines
from autofreeze.report.plan import expected_line
from autofreeze.report.report import Report
from autofreeze.report.stability import drift_line, gradient_grid, lines, map_grid
from autofreeze.report.telling import answer_lines, note_lines, test_lines
from autofreeze.report.using import use_of
from autofreeze.report.words import certainty, conditions, cost_line, curve_line, found, standing_of
from autofreeze.verdict import Outcome, Standing, conclusion_of

BADGES: dict[Standing | Outcome, str] = {
    "better": "better on fresh seeds: confirmed",
    "partly better": "better than some on fresh seeds: confirmed",
    "no difference": "no difference on fresh seeds: confirmed",
    "undecided": "undecided on fresh seeds",
    "no rival": "confirmed on fresh seeds, with no rival",
    "not concluded": "confirmation not concluded",
    "unconfirmed": "unconfirmed",
    "none": "no best schedule",
}
DRAWING_WIDTH = 76


def sections(report: Report) -> tuple[Section, ...]:
    """Put together all sections of a search on one data set."""
    made = (
        ("verdict", "The verdict", _verdict),
        ("others", "Against the others", _others),
        ("answers", "The answers", _answers),
        ("work", "Value against work", _work),
        ("learning", "Learning curves", _learning),
        ("mattered", "What mattered", _mattered),
        ("stability", "Where it was unstable", _stability),
        ("mistakes", "What it gets wrong", _mistakes),
        ("search", "The search", _search),
        ("conditions", "Conditions", _conditions),
        ("use", "Use it", _use),
    )
    parts = (Section(id=id, title=title, blocks=tuple(blocks(report))) for id, title, blocks in made)
    return tuple(part for part in parts if part.blocks)


def _verdict(report: Report) -> Iterator[Block]:
    result, verdict, best = report.result, report.verdict, report.result.best
    line = standing_of(result)
    if line:
        yield Banner(text=f"{capitalised(line)}.")
    basis = verdict.basis
    if best is not None and verdict.standing != "confirmed":
        told = certainty(result.scale, best, shown_value(result.scale, best), error_of(result, best))
        basis = f"{capitalised(told)}. {basis}"
    certain = conclusion_of(result) or verdict.standing
    yield Headline(
        standing=certain,
        badge=BADGES[certain],
        sentence=capitalised(verdict.headline),
        basis=basis,
    )
    yield glance(report)
    yield heatmap.figure(report)
    if best is not None:
        yield Fallback(lines=tuple(draw(best.schedule, DRAWING_WIDTH).split("\n")))
        yield tables.schedule_table(best.schedule)
        yield Prose(text=curve_line(best.schedule))


def _others(report: Report) -> Iterator[Block]:
    yield against.figure(report)
    yield from _unless_absent(comparison.table(report))
    yield from (Prose(text=line) for line in test_lines(report.result, report.verdict))


def _answers(report: Report) -> Iterator[Block]:
    verdict = report.verdict
    if report.result.best is None:
        return
    for question, told in answer_lines(verdict):
        yield Question(text=question, rests_on=told)
    notes = tuple(_topic(line) for line in note_lines(verdict))
    if notes:
        yield Pairs(pairs=notes)


def _topic(line: str) -> tuple[str, str]:
    topic, _, told = line.partition(": ")
    return topic, told


def _work(report: Report) -> Iterator[Block]:
    yield cost.figure(report)
    yield tables.front_table(report)


def _learning(report: Report) -> Iterator[Block]:
    yield curves.figure(report)


def _mattered(report: Report) -> Iterator[Block]:
    yield importance.figure(report)
    yield slices.figure(report)
    yield robustness.figure(report)


def _stability(report: Report) -> Iterator[Block]:
    found_there, figure = report.stability, unstable.figure(report)
    told = lines(found_there)
    if told:
        told.append(drift_line(found_there.beginnings))
    said = tuple(f"{capitalised(line)}." for line in told if line)
    if isinstance(figure, Absent):
        said = tuple(line for line in said if line != figure.reason)
    if said:
        yield Bullets(lines=said)
    yield figure
    yield from _unless_absent(unstable.table(report))
    grid = map_grid(found_there.instabilities, intervals=True)
    if grid is not None:
        yield tables.grid_table(grid, "unstable-table")
    yield gradient.figure(report)
    grid = gradient_grid(found_there.beginnings)
    if grid is not None:
        yield tables.grid_table(grid, "gradient-table")


def _mistakes(report: Report) -> Iterator[Block]:
    if is_own(report.result.data):
        yield Prose(text="Nobody knows the classes and examples of a training of one's own.")
        return
    yield classes.figure(report)
    yield from _unless_absent(classes.table(report))
    yield confusion.figure(report)
    yield from _unless_absent(confusion.table(report))
    yield gallery.gallery(report)


def _search(report: Report) -> Iterator[Block]:
    result = report.result
    yield progress.figure(report)
    yield endings.figure(report)
    yield savings.figure(report)
    yield Prose(text=f"{capitalised(cost_line(result))}.")
    if result.plan is not None:
        yield Prose(text=expected_line(result.plan))
    yield workers.figure(report)
    yield tables.trials_table(result)


def _conditions(report: Report) -> Iterator[Block]:
    result = report.result
    yield Bullets(
        lines=(
            *conditions(result.data, result.backbone),
            *(f"engine: {line}" for line in result.engine),
            *placing_lines(result.placing),
        )
    )
    yield tables.groups_table(result)
    if not is_own(result.data):
        yield Prose(text=f"Classes: {', '.join(result.data['classes'])}.")
        in_images = tuple(found(result.data))
        if in_images:
            yield Bullets(title="Found in the images:", lines=in_images)
    if result.command:
        yield Code(title="The command:", lines=(result.command,))
    yield Pairs(title="Seeds and fingerprints", pairs=tuple(provenance(report)))
    yield Pairs(title="Machine", pairs=pairs_of(result.machine))
    yield Pairs(title="Versions", pairs=pairs_of(result.versions))


def _use(report: Report) -> Iterator[Block]:
    use = use_of(report.result)
    if use is not None:
        yield Prose(text=use.sentence)
        yield Code(lines=use.commands)


def _unless_absent(table: Table | Absent) -> Iterator[Block]:
    """Give a table that there is; the figure beside it says why there is none."""
    if isinstance(table, Table):
        yield table
