"""Training by a schedule inside a Ray Tune function.

``fit`` yields a record for each epoch and knows no search library, so any of them can drive it.

    python docs/examples/ray_tune.py FOLDER TRIALS
"""

import sys
from pathlib import Path

import ray
from ray import tune


def train(config: dict) -> None:
    from autofreeze.binding import Columns
    from autofreeze.recipes import gradual
    from autofreeze.regime import Regime
    from autofreeze.task import Task
    from autofreeze.training import fit
    from autofreeze.trial import Workbench

    task = Task(data=config["data"], model="test_resnet", from_scratch=True, image_size=32, folds=1)
    bench = Workbench.open(task)
    model, groups = bench.build_model(seed=0), bench.backbone.groups
    schedule = gradual(groups.names, 2, head_lr=config["head_lr"], warmup_epochs=config["warmup_epochs"])
    examples = bench.examples(bench.splits[0])
    for record in fit(model, Columns.of(model, groups), schedule, Regime(), examples, seed=0):
        tune.report({"value": record.value, "epoch": record.epoch})


ray.init("local", num_cpus=1, include_dashboard=False)
space = {"head_lr": tune.loguniform(1e-4, 1e-2), "warmup_epochs": tune.choice([0, 1])}
tuner = tune.Tuner(
    train,
    param_space={"data": str(Path(sys.argv[1]).resolve()), **space},
    tune_config=tune.TuneConfig(metric="value", mode="max", num_samples=int(sys.argv[2])),
)
best = tuner.fit().get_best_result()
print("best:", best.metrics["value"], "after", best.metrics["epoch"] + 1, "epochs,", best.config["head_lr"])
