"""The images that the best schedule gets wrong most often, to judge labels by."""

from autofreeze.mistakes import MOST_IMAGES, WrongImage
from autofreeze.phrases import capitalised, counted, printable
from autofreeze.report.page.classified import Classified, of_images
from autofreeze.report.page.figure import Absent, Gallery, Picture
from autofreeze.report.report import Report

ID, TITLE = "wrong-images", "Images most often wrong"

PURPOSE = (
    "Look here for wrong labels: what is called one thing and taken for another run after run is often "
    "labelled wrongly, or shows both."
)


def gallery(report: Report) -> Gallery | Absent:
    """Give them, most surely wrong first."""
    found, mistakes = Classified.of(report), report.evidence.mistakes
    if isinstance(found, str) or mistakes is None:
        return Absent(id=ID, title=TITLE, reason=str(found))
    seen = f"{of_images(mistakes)}, {counted(f'{mistakes.images_scored:,}', 'validation image')}"
    if not mistakes.images:
        return Absent(id=ID, title=TITLE, reason=f"Every image was classified rightly: {seen}.")
    wrong = f"{mistakes.images_wrong:,} of them wrong at least once"
    told = f"the {len(mistakes.images)} that are most surely wrong are shown"
    if mistakes.images_wrong <= MOST_IMAGES:
        told = "all are shown, those that are most surely wrong first"
    once = all(one.scored == 1 for one in mistakes.images)
    weak = " Each of them was scored once: an unlucky run looks the same as a wrong label." if once else ""
    note = f"{PURPOSE} {capitalised(seen)}, {wrong}; {told}.{weak} No image of the test split is among them."
    return Gallery(
        id=ID,
        title=TITLE,
        pictures=tuple(_picture(found, one) for one in mistakes.images),
        note=note,
    )


def _picture(found: Classified, one: WrongImage) -> Picture:
    beside = ""
    if found.baseline is not None and one.other_scored:
        beside = f"{found.baseline.name}: {one.other_wrong} of {one.other_scored}"
        if one.other_wrong and one.other_same == one.other_wrong:
            beside += ", same class"
    return Picture(
        name=printable(one.name),
        label=found.name(one.label),
        predicted=found.name(one.predicted),
        wrong=one.wrong,
        scored=one.scored,
        thumbnail=one.thumbnail,
        beside=beside,
    )
