"""What a report shows beside the result: what the result rests on, gathered when the report is written."""

from autofreeze.importance import Importances
from autofreeze.learning import LearningCurve
from autofreeze.mistakes import Mistakes
from autofreeze.savings import Savings
from autofreeze.timeline import Stretch
from autofreeze.values import Value


class Evidence(Value):
    """Everything that a report holds which does not follow from the result alone."""

    curves: tuple[LearningCurve, ...] = ()
    """Of the finalists and the baselines, runs of the search first, then those on fresh seeds."""

    importances: Importances = Importances()
    timeline: tuple[Stretch, ...] = ()
    """In the order in which they began."""

    savings: Savings | None = None
    mistakes: Mistakes | None = None
    """None in a training of the user's own, and where no run has come to its end."""
