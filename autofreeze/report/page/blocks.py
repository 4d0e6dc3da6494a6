"""What a section of a page holds beside figures and tables: words, commands, answers."""

from autofreeze.report.page.figure import Absent, Figure, Gallery, Table
from autofreeze.values import Value


class Prose(Value):
    """A paragraph of plain text."""

    text: str


class Bullets(Value):
    """Lines of plain text, a bullet for each."""

    lines: tuple[str, ...]
    title: str = ""


class Code(Value):
    """Text that is read to the letter, such as commands."""

    lines: tuple[str, ...]
    title: str = ""


class Headline(Value):
    """The verdict: how sure it is, in one sentence, and what it rests on."""

    standing: str
    """What came out, in the verdict's own word, by which the page's style tells them apart."""

    badge: str
    """The same for people."""

    sentence: str
    basis: str


class Banner(Value):
    """What readers must know before they read on."""

    text: str


class Question(Value):
    """A question, answered."""

    text: str
    """The question with its answer."""

    rests_on: str


class Pairs(Value):
    """Names, each with what is told of it."""

    title: str = ""
    pairs: tuple[tuple[str, str], ...]


class Fact(Value):
    """One figure, and what it is."""

    label: str
    figure: str
    detail: str = ""


class Facts(Value):
    """A few figures at a glance."""

    facts: tuple[Fact, ...]


class Fallback(Value):
    """What stands in for a figure where no script runs."""

    lines: tuple[str, ...]


Block = (
    Prose | Bullets | Code | Headline | Banner | Question | Pairs | Facts | Fallback
    | Figure | Table | Gallery | Absent
)  # fmt: skip


class Section(Value):
    """A part of the page that a link can lead to."""

    id: str
    title: str
    blocks: tuple[Block, ...]


class Page(Value):
    """A whole page."""

    title: str
    heading: str
    sections: tuple[Section, ...]
