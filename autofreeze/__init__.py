"""autofreeze: the best freezing schedule for a pretrained model, found per data set.

    import autofreeze
    result = autofreeze.search("photos/", "mobilenetv2_100", weights="w.safetensors", out="runs/photos")
    result = autofreeze.search(fit=my_fit, groups={"body": "encoder", "head": "fc"}, epochs=5, out="runs/own")
    schedule = autofreeze.Schedule.load("best.yaml")
    bound = schedule.bind(model)
    autofreeze.train("best.yaml", "photos/", out="trained")
    predictions = autofreeze.predict("trained/model.safetensors", "new/")

Names load on first use: values without torch, searching and training with it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autofreeze.api import search, search_all
    from autofreeze.binding import BoundSchedule, bind
    from autofreeze.errors import AutofreezeError, InputError
    from autofreeze.own.epoch import Epoch
    from autofreeze.own.groups import Group
    from autofreeze.own.job import FitJob
    from autofreeze.predicting import Predictions, predict
    from autofreeze.pruner import MedianAfterUnfreezePruner
    from autofreeze.regime import Regime
    from autofreeze.results import StudyResult, SummaryResult, TrialResult
    from autofreeze.retraining import train
    from autofreeze.schedule import Phase, Schedule
    from autofreeze.space import SpaceSpec

__all__ = [
    "AutofreezeError", "BoundSchedule", "Epoch", "FitJob", "Group", "InputError", "MedianAfterUnfreezePruner",
    "Phase", "Predictions", "Regime", "Schedule", "SpaceSpec", "StudyResult", "SummaryResult", "TrialResult",
    "bind", "predict", "search", "search_all", "train",
]  # fmt: skip

_HOMES = {
    "AutofreezeError": "errors", "BoundSchedule": "binding", "Epoch": "own.epoch", "FitJob": "own.job",
    "Group": "own.groups", "InputError": "errors",
    "MedianAfterUnfreezePruner": "pruner", "Phase": "schedule", "Predictions": "predicting",
    "Regime": "regime", "Schedule": "schedule",
    "SpaceSpec": "space", "StudyResult": "results", "SummaryResult": "results", "TrialResult": "results",
    "bind": "binding", "predict": "predicting", "search": "api", "search_all": "api", "train": "retraining",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'autofreeze' has no attribute {name!r}")
    return getattr(import_module(f"autofreeze.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
