"""What a search did not have to compute: frozen work that trials share, and trials that were ended early."""

from autofreeze.values import Value


class Savings(Value):
    """Forward-equivalents, of the search's trials alone."""

    spent: float
    """As trials are counted: every run as if it had the machine to itself."""

    by_unpromising: float | None
    """What unpromising trials would have gone on to spend; None: not known."""

    by_unstable: float | None
    """The same of unstable ones."""

    by_sharing: float
    """What trials took over from equal ones."""

    by_stores: float | None
    """Of what was spent, passes through frozen groups that were not computed again; None: not known."""
