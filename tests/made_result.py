"""A made-up result: what a report sees, without a search."""

from autofreeze import recipes
from autofreeze.confirmation import Candidate, Confirmation
from autofreeze.intervals import Interval
from autofreeze.looks import Comparison, decide
from autofreeze.recipes import name_of
from autofreeze.regime import Regime
from autofreeze.results import Ending, StudyResult, TrialResult
from autofreeze.space import SpaceSpec


class MadeResult:
    """A search on three classes, and a confirmation in which trial 1, LP-FT, won."""

    groups = ("stem", "layer1", "layer2", "head")
    epochs = 6.0

    @property
    def schedules(self):
        """A schedule of each kind, by name."""
        given = {"groups": self.groups, "epochs": self.epochs}
        return {
            "linear_probe": recipes.linear_probe(**given, head_lr=3e-3),
            "lp_ft": recipes.lp_ft(**given, head_lr=3e-3, warmup_epochs=2),
            "full": recipes.full(**given, head_lr=1e-3, backbone_ratio=1.0),
            "decay": recipes.full(**given, head_lr=1e-3, depth_ratio=0.1),
            "last_groups": recipes.full(**given, head_lr=1e-3, unfreeze_depth=1),
        }

    def trial(self, number, name, value=None, **fields):
        schedule = fields.pop("schedule", None) or self.schedules[name]
        given = {
            "ending": Ending.COMPLETE, "value": value, "n_val": 400, "recipe": name_of(schedule),
            "fold_values": () if value is None else (value, value),
            "val_loss": None if value is None else 1 - value,
            "work": 2000.0 * (1 + schedule.unfreeze_depth),
        }  # fmt: skip
        return TrialResult(number=number, schedule=schedule, regime=Regime(), **{**given, **fields})

    @property
    def trials(self):
        return (
            self.trial(0, "linear_probe", 0.75, baseline="linear_probe"),
            self.trial(1, "lp_ft", 0.86),
            self.trial(2, "full", 0.84, baseline="full"),
            self.trial(3, "decay", 0.85),
        )

    def comparison(self, against, estimate, half, *, chosen=1, delta=0.01, seeds=(6, 12)):
        interval = Interval(
            estimate=estimate, low=estimate - half, high=estimate + half, standard_error=half / 2.5,
            images=400, seeds=6,
        )  # fmt: skip
        decision = decide(interval, delta)
        return Comparison(trial=chosen, against=against, interval=interval, decision=decision, seeds=seeds)

    def candidate(self, number, mean, **fields):
        given = {
            "finalist": True, "arm": "freeze_first", "values": (mean,) * 12, "mean": mean,
            "standard_error": 0.01, "low": mean - 0.02, "high": mean + 0.02, "train_top1": 0.95, "top1": mean,
            "class_accuracies": (mean, mean - 0.1, mean + 0.05), "work": 48_000.0, "run_work": 4000.0,
        }  # fmt: skip
        return Candidate(trial=number, **{**given, **fields})

    def confirmation(self, *leads, **fields):
        """A confirmation of trial 1 at .84 against others: (trial, estimate, half width) each."""
        comparisons = tuple(self.comparison(*lead) for lead in leads)
        others = (self.candidate(number, 0.84 - estimate) for number, estimate, _ in leads)
        given = {
            "planned": 12, "seeds": 12, "choice_seeds": 6, "estimate_seeds": (6, 12), "delta": 0.01,
            "chosen": 1, "candidates": (self.candidate(1, 0.84), *others), "comparisons": comparisons,
            "n_train": 400, "n_val": 100, "work": 96_000.0,
        }  # fmt: skip
        return Confirmation(**{**given, **fields})

    def result(self, *leads, **fields):
        """The search, confirmed when there are leads."""
        given = {
            "data": {
                "name": "photos", "classes": ["a", "b", "c"], "class_images": [200, 200, 100],
                "images": {"train": 500, "val": 0, "test": 100}, "folds": [{"train": 400, "val": 100}] * 4,
            },
            "backbone": {
                "model": "some_net", "source": "w.safetensors", "coverage": "all loaded",
                "preprocessing": {"image_size": 96}, "preprocessing_from": {"image_size": "given"},
            },
            "settings": {
                "trials": 4, "epochs": self.epochs, "task": {"data": "photos"},
                "space": SpaceSpec.load("quick").model_dump(mode="json"),
            },
            "trials": self.trials, "metric": "top1", "seconds": 61.0,
            "confirmation": self.confirmation(*leads) if leads else None,
        }  # fmt: skip
        return StudyResult(**{**given, **fields})
