"""What is seen of a run besides its losses: weight norms, thaws, and how far its features move."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from autofreeze.binding import BoundSchedule, Columns
from autofreeze.job import Thaw
from autofreeze.stability import Watcher
from autofreeze.steps import Step, column_norms, wide

DRIFT_IMAGES = 256
"""Validation images whose features are followed, at most: the first ones."""

ByColumn = tuple[float | None, ...]


class Signals:
    """The signals of one run.

    Nothing of it enters the training: norms are read, and features are seen while validation images pass
    through the model.

    Args:
        bound: The schedule tied to the model.
        columns: The model's layer groups.
        watch: Looks at every step.
    """

    def __init__(self, bound: BoundSchedule, columns: Columns, watch: Watcher) -> None:
        self._bound = bound
        self._watch = watch
        self._moves = bound.timetable.schedule.unfreeze_depth > 0
        self._features = Features(bound.model, columns)
        self._reference: Tensor | None = None
        self._thawing: tuple[tuple[int, ...], ByColumn] | None = None
        self._thaws: list[Thaw] = []

    @property
    def needs_reference(self) -> bool:
        """Whether the backbone will move, and its features have not been seen as pretrained."""
        return self._moves and self._reference is None

    def thaw(self, columns: Sequence[int]) -> None:
        """Weigh the columns that train from the next step on.

        Args:
            columns: Those of them that have never trained.
        """
        weights = weight_norms(self._bound, self._bound.trainable)
        self._thawing = (tuple(columns), weights)
        self._watch.weigh(weights)

    def look(self, step: int, phase: int, taken: Step) -> str:
        """Look at a step; says why the run cannot go on, empty when it can."""
        norms = iter(taken.norms)
        by_column = tuple(next(norms, None) if trains else None for trains in self._bound.trainable)
        if self._thawing is not None:
            columns, weights = self._thawing
            thaw = Thaw(
                step=step, columns=columns, loss=taken.loss, grad_norms=by_column, weight_norms=weights
            )
            self._thaws.append(thaw)
            self._thawing = None
        if taken.problem:
            return f"{taken.problem} at step {step}"
        return self._watch.look(step, phase, taken.loss, by_column)

    def validating(self) -> AbstractContextManager[None]:
        """See the features of the validation images that pass through the model within the block."""
        return self._features.seen() if self._moves else nullcontext()

    def end_epoch(self, ever_trained: Sequence[bool], *, validated: bool) -> dict[str, Any]:
        """Give an epoch's signals as fields of ``EpochRecord``.

        Args:
            ever_trained: Which columns have trained so far.
            validated: Whether the validation images have passed through the model.
        """
        moved = any(ever_trained[:-1])
        if validated and not moved:
            self.keep_reference()
        weights = weight_norms(self._bound, ever_trained)
        self._watch.weigh(weights)
        thaws, self._thaws = tuple(self._thaws), []
        drift = self._features.drift(self._reference) if validated else None
        return {"weight_norms": weights, "thaws": thaws, "drift": drift if moved else 0.0}

    def keep_reference(self) -> None:
        """Take the features that were seen last for those of the pretrained backbone."""
        if self.needs_reference:
            self._reference = self._features.last

    def state(self) -> dict[str, Any]:
        """Give what a run needs that goes on later: the reference features, and what the watch keeps."""
        return {"reference": self._reference, "watch": self._watch.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self._reference = state["reference"]
        self._watch.restore(state["watch"])


class Features:
    """What enters the classifier of a model.

    Args:
        model: The model, run whole or in part.
        columns: Its layer groups.

    Attributes:
        last: What was seen last, float32 (images, features), of the first call in a block; None: nothing.
    """

    def __init__(self, model: nn.Module, columns: Columns) -> None:
        owner = columns.groups.groups[-1].parameters[0].rpartition(".")[0]
        self._classifier = model.get_submodule(owner)
        self.last: Tensor | None = None

    @contextmanager
    def seen(self) -> Iterator[None]:
        """See the first batch that enters the classifier within the block, at most ``DRIFT_IMAGES`` of it."""
        self.last = None
        with self._classifier.register_forward_pre_hook(self._note):
            yield

    def _note(self, _: nn.Module, given: tuple[Tensor, ...]) -> None:
        if self.last is None:
            self.last = given[0][:DRIFT_IMAGES].detach().flatten(1).float().clone()

    def drift(self, reference: Tensor | None) -> float | None:
        """1 − the mean cosine between what was seen last and others, 0..2; None where it is unknown."""
        if self.last is None or reference is None:
            return None
        kind = wide(reference.device)
        cosines = torch.nn.functional.cosine_similarity(self.last.to(kind), reference.to(kind))
        drift = 1 - float(cosines.mean())
        return max(drift, 0.0) if drift == drift else None  # NaN


def weight_norms(bound: BoundSchedule, which: Sequence[bool]) -> ByColumn:
    """2-norm of the parameters of some columns as they are now; None for the others.

    Args:
        bound: The schedule tied to the model.
        which: By column.
    """
    places = [column for column, chosen in enumerate(which) if chosen]
    owned = [(turn, p.detach()) for turn, column in enumerate(places) for p in bound.parameters[column]]
    tensors = [parameter for _, parameter in owned]
    turns = torch.tensor([turn for turn, _ in owned], device=tensors[0].device)
    norms = column_norms(tensors, turns, len(places), wide(tensors[0].device)).tolist()
    by_place = dict(zip(places, norms, strict=True))
    return tuple(by_place.get(column) for column in range(len(which)))
