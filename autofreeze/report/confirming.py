"""What is told while a confirmation runs."""

from autofreeze.looks import Look
from autofreeze.scale import Scale


def look_lines(look: Look, scale: Scale) -> list[str]:
    """Say what a look has found: who leads, who is left behind, whether it goes on."""
    lines = [f"trial {number} is left behind: {reason}" for number, reason in look.dropped.items()]
    if look.chosen is None:
        return [*lines, "no finalist is left: every one broke off on a fresh seed"]
    mean = look.means[look.chosen]
    shown = scale.shown_mean(mean.estimate)
    lines.append(
        f"after {look.seeds} fresh seeds: trial {look.chosen} leads, {scale.metric} "
        f"{scale.figure(shown, mean.standard_error)}"
    )
    open_ones = [one for one in look.comparisons if one.decision == "undecided"]
    if not look.done:
        lines.append(
            f"{len(open_ones)} of {len(look.comparisons)} comparisons are undecided: more seeds follow"
        )
    return lines
