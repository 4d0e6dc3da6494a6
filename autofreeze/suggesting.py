"""A suggested schedule as a file: the rule of ``suggest.py`` on opened images and weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from autofreeze.budget import default_epochs
from autofreeze.errors import ConfigError
from autofreeze.export.facts import BackboneFacts, DataFacts
from autofreeze.export.native import NativeFile
from autofreeze.imagesubject import backbone_facts, data_facts
from autofreeze.provenance import versions
from autofreeze.regime import Regime
from autofreeze.seeds import derive
from autofreeze.suggest import Reason, family_of, suggest
from autofreeze.task import Task
from autofreeze.trial import Workbench


def suggest_file(
    data: str | Path,
    model: str,
    *,
    epochs: float | None = None,
    seed: int = 0,
    preparing: Callable[[str, int, int], None] | None = None,
    **task: Any,
) -> tuple[NativeFile, tuple[Reason, ...]]:
    """Suggest a schedule for a data set and a pretrained model, without a search.

    Args:
        data: The images, as for a search.
        model: timm name of the backbone.
        epochs: Length of the run; by the size of the data when left out (``budget.default_epochs``).
        seed: Decides the split, the head, the order and the views, as in a search.
        preparing: Told how far hashing and decoding have come.
        task: Fields of :class:`autofreeze.task.Task`, such as ``weights`` or ``image_size``.

    Returns:
        What ``autofreeze train`` reads, with no result and no curve, and the reasons for it.

    Raises:
        InputError: Something given is wrong.
    """
    if task.get("from_scratch"):
        raise ConfigError(
            "from_scratch: a suggestion is for pretrained weights; random ones must all be trained"
        )
    settings = Task.parse({"split_seed": seed, **task, "data": str(data), "model": model})
    bench = Workbench.open(settings, progress=preparing)
    dataset, train = bench.dataset, bench.splits[0].train
    counts = np.bincount(dataset.labels[train], minlength=len(dataset.classes))
    suggestion = suggest(
        counts.tolist(),
        bench.backbone.groups.names,
        default_epochs(len(train), Regime().batch_size) if epochs is None else epochs,
        family=family_of(bench.backbone.tensors),
    )
    file = NativeFile(
        schedule=suggestion.schedule,
        regime=suggestion.regime,
        task=settings,
        seed=derive(seed, "fold", 0),
        backbone=BackboneFacts.of(backbone_facts(bench)),
        data=DataFacts.of(data_facts(bench)),
        versions=versions(),
    )
    return file, suggestion.reasons
