"""What a result says of data, backbone and settings in plain values: which kinds they must be of."""

from typing import Any, NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from autofreeze.results import StudyResult


class _Fold(TypedDict):
    train: int
    val: int


class _Parts(TypedDict):
    train: int
    val: int
    test: int


class _Finding(TypedDict):
    severity: str
    sentence: str
    way_out: str


class _Images(TypedDict):
    name: str
    classes: list[str]
    images: _Parts
    folds: NotRequired[list[_Fold]]
    class_images: NotRequired[list[int]]
    effective_images: NotRequired[float]
    findings: NotRequired[list[_Finding]]


class _Backbone(TypedDict):
    model: NotRequired[str]
    source: NotRequired[str]
    digest: NotRequired[str]
    coverage: NotRequired[str]
    preprocessing: NotRequired[dict[str, Any]]
    preprocessing_from: NotRequired[dict[str, str]]
    groups: NotRequired[dict[str, list[str]]]
    n_parameters: NotRequired[dict[str, int]]
    work_shares: NotRequired[list[float]]


class _Examples(TypedDict):
    name: str
    n_folds: int
    held_out: float
    held_out_given: bool
    left_out: NotRequired[list[str]]


class _Groups(TypedDict):
    groups: dict[str, list[str]]
    work_shares: NotRequired[list[float]]
    work_measured: bool


class _Settings(TypedDict):
    seed: NotRequired[int]
    trials: NotRequired[int | None]
    epochs: NotRequired[float]
    fold_seeds: NotRequired[list[int] | None]
    delta: NotRequired[float | None]
    task: NotRequired[dict[str, Any] | None]


_BY_KIND: dict[str, tuple[Any, Any]] = {"images": (_Images, _Backbone), "own": (_Examples, _Groups)}


def check_facts(result: StudyResult) -> None:
    """See that what pages read by name is there, and of the kind that they take it for.

    Raises:
        pydantic.ValidationError: Something is missing, or of another kind.
    """
    of_data, of_backbone = _BY_KIND[result.kind]
    for kind, facts in ((of_data, result.data), (of_backbone, result.backbone), (_Settings, result.settings)):
        TypeAdapter(kind).validate_python(facts, strict=True)
