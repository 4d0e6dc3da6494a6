"""How the best schedule is used: the commands, and what they do."""

from typing import NamedTuple

from autofreeze.phrases import shell_word
from autofreeze.report.owntraining import is_own
from autofreeze.results import StudyResult

FOLDER = "RUN is the folder that this page lies in"
SCHEDULE_FILE = "best.yaml"


class Use(NamedTuple):
    """Commands, and what they do."""

    sentence: str
    commands: tuple[str, ...]


def use_of(result: StudyResult) -> Use | None:
    """Say how the best schedule is used; None where there is none."""
    if result.best is None:
        return None
    export = f"autofreeze export RUN -o {SCHEDULE_FILE}"
    if is_own(result.data):
        does = "The command writes the schedule as a file, and autofreeze.Schedule.load reads it."
        return Use(f"{FOLDER}. {does}", (export,))
    data = result.settings.get("task", {}).get("data", "DATA")
    does = "The first command writes the schedule as a file, the second one trains by it."
    return Use(f"{FOLDER}. {does}", (export, f"autofreeze train {SCHEDULE_FILE} {shell_word(data)}"))


def use_of_all() -> Use:
    """Say how the best schedules of several data sets are shown and used."""
    return Use(
        f"{FOLDER}:",
        (
            "autofreeze report RUN --dataset NAME",
            f"autofreeze export RUN --dataset NAME -o {SCHEDULE_FILE}",
        ),
    )
