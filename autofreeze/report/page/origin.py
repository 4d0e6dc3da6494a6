"""Where a report's numbers come from: seeds, fingerprints, machine, versions."""

from collections.abc import Iterator, Mapping
from typing import Any

from autofreeze.phrases import counted
from autofreeze.report.report import Report


def provenance(report: Report) -> Iterator[tuple[str, str]]:
    """Give what the search hangs on beside its command, by name; what is not known is left out."""
    result = report.result
    settings, found = result.settings, result.confirmation
    task = settings.get("task", {})
    known = (
        ("fingerprint of the data", result.data.get("fingerprint")),
        ("digest of the weights", result.backbone.get("digest")),
        ("seed of the search", settings.get("seed")),
        ("seed of the split", task.get("split_seed")),
        ("seeds of the folds", ", ".join(map(str, settings.get("fold_seeds") or ())) or None),
        ("sampler", settings.get("sampler")),
    )
    yield from ((name, str(value)) for name, value in known if value is not None)
    if found is None:
        yield "fresh seeds", "none: nothing was confirmed"
        yield "reads of the test split", "none by this search"
        return
    yield "fresh seeds", f"{found.seeds} of up to {found.planned}"
    reads = f"{counted(found.test_reads, 'time')} on this machine, this one included"
    yield "reads of the test split", reads if found.test_reads else "none by this search"


def pairs_of(told: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Give what is known, by name."""
    return tuple((name, str(value)) for name, value in told.items() if value not in (None, ""))
