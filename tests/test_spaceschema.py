"""The published schema of space files agrees with the reader, and is not stale."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from autofreeze.axes import GRID_AXES, REGIME_AXES, SCHEDULE_AXES, WORD_AXES
from autofreeze.documents import parse_yaml, read_yaml, to_yaml
from autofreeze.errors import ConfigError
from autofreeze.space import SpaceSpec, shipped_spaces
from autofreeze.spaceschema import space_schema

PUBLISHED = Path(__file__).parents[1] / "docs" / "space.schema.json"
SCHEMA = Draft202012Validator(space_schema())
HEAD = "head_lr: {low: 1e-4, high: 1e-2, log: true}\n"


def reads(text: str) -> bool:
    try:
        SpaceSpec.from_text(text)
    except ConfigError:
        return False
    return True


def test_the_published_schema_is_the_one_that_the_code_gives():
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == space_schema()


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(space_schema())


@pytest.mark.parametrize("name", shipped_spaces())
def test_every_shipped_space_is_valid(name):
    SCHEMA.validate(read_yaml(shipped_spaces()[name]).data)


def test_every_axis_of_every_shape_is_described():
    properties = space_schema()["properties"]
    axes = {name for shape in SCHEDULE_AXES.values() for name in shape} | {*REGIME_AXES, "shape"}
    assert set(properties) == axes
    assert all(schema["description"] for schema in properties.values())


GOOD = {
    "one value": "head_lr: 1e-3\n",
    "list": "head_lr: [1e-3, 1]\n",
    "whole number written with a point": f"{HEAD}batch_size: 32.0\n",
    "shares": f"{HEAD}warmup_epochs: {{low: 0, high: 12.5%}}\nunfreeze_depth: [0, 50%, all, 0.5]\n",
    "step": f"{HEAD}batch_size: {{low: 16, high: 64, step: 16}}\n",
    "no step": f"{HEAD}batch_size: {{low: 16, high: 64, step: null}}\n",
    "log of whole numbers": f"{HEAD}batch_size: {{low: 16, high: 64, log: true}}\n",
    "shape": f"shape: one_block\n{HEAD}block: {{low: 0, high: all}}\n",
    "flat by name": f"shape: flat\n{HEAD}unfreeze_depth: all\n",
    "words": f"{HEAD}optimizer: [adamw, sgd]\nfreeze_stem: true\nnorm: eval\n",
    "views": f"{HEAD}views: [none, flip, bank:2, bank:99, online]\nerase: {{low: 0, high: 1}}\n",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_a_good_space_is_valid_for_both(text):
    assert reads(text)
    assert SCHEMA.is_valid(parse_yaml(text).data)


BAD = {
    "nothing": "",
    "list of axes": "- 1\n",
    "no head_lr": "{}",
    "unknown key": f"{HEAD}head-lr: 1\n",
    "mixup": f"{HEAD}mixup: 0.2\n",
    "mixup as a view": f"{HEAD}views: [flip, mixup]\n",
    "block in a flat space": f"{HEAD}block: 1\n",
    "depth in chain_thaw": f"shape: chain_thaw\n{HEAD}unfreeze_depth: 1\n",
    "unknown shape": f"shape: flatt\n{HEAD}",
    "null": "head_lr:\n",
    "true": "head_lr: true\n",
    "true in a list": "head_lr: [1, true]\n",
    "text": "head_lr: fast\n",
    "quoted number": "head_lr: '1e-3'\n",
    "share of a rate": "head_lr: 40%\n",
    "empty list": "head_lr: []\n",
    "nested list": "head_lr: [[1]]\n",
    "zero": "head_lr: 0\n",
    "infinity": "head_lr: .inf\n",
    "beyond all range": "head_lr: 1e305\n",
    "no high": "head_lr: {low: 1}\n",
    "misspelt high": "head_lr: {low: 1, hihg: 2}\n",
    "log in words": "head_lr: {low: 1, high: 2, log: maybe}\n",
    "log as a number": "head_lr: {low: 1, high: 2, log: 1}\n",
    "log with step": "head_lr: {low: 1, high: 2, log: true, step: 1}\n",
    "log from zero": f"{HEAD}weight_decay: {{low: 0, high: 1, log: true}}\n",
    "log of epochs": f"{HEAD}warmup_epochs: {{low: 1, high: 2, log: true}}\n",
    "step of zero": "head_lr: {low: 1, high: 2, step: 0}\n",
    "step quoted": "head_lr: {low: 1, high: 2, step: '1'}\n",
    "step of half an image": f"{HEAD}batch_size: {{low: 1, high: 9, step: 0.5}}\n",
    "share above one": f"{HEAD}warmup_epochs: 140%\n",
    "all epochs": f"{HEAD}warmup_epochs: all\n",
    "negative depth": f"{HEAD}unfreeze_depth: -1\n",
    "batch of half an image": f"{HEAD}batch_size: 32.5\n",
    "batch quoted": f"{HEAD}batch_size: '32'\n",
    "momentum of one": f"{HEAD}momentum: {{low: 0, high: 1}}\n",
    "range of words": f"{HEAD}optimizer: {{low: 0, high: 1}}\n",
    "bank of one view": f"{HEAD}views: bank:1\n",
    "bank without a size": f"{HEAD}views: [flip, bank]\n",
    "range of views": f"{HEAD}views: {{low: 1, high: 8}}\n",
    "erase more than all": f"{HEAD}views: online\nerase: 1.5\n",
    "erase without crops": f"{HEAD}erase: 0.25\n",
    "erase without any crops": f"{HEAD}views: [flip, none]\nerase: 0.25\n",
    "unknown word": f"{HEAD}rates: [one, two]\n",
    "number for a switch": f"{HEAD}freeze_stem: 1\n",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_a_bad_space_is_refused_by_both(text):
    assert not reads(text)
    assert not SCHEMA.is_valid(parse_yaml(text).data)


@pytest.mark.parametrize("text", ["head_lr: {low: 2, high: 1}\n", "head_lr: .nan\n"])
def test_what_a_schema_cannot_say_the_reader_alone_refuses(text):
    assert not reads(text)
    assert SCHEMA.is_valid(parse_yaml(text).data)


SCALARS = st.one_of(
    st.sampled_from([0, 1, 2, 32, -1, 0.5, 1.5, 1e-3, 10.0, 70000, True, False, None]),
    st.sampled_from(["all", "50%", "0%", "101%", "12.5%", "adamw", "one", "eval", "none", "bank:8", "x", ""]),
)
RANGES = st.fixed_dictionaries(
    {"low": SCALARS, "high": SCALARS},
    optional={"log": SCALARS, "step": SCALARS, "hihg": SCALARS},
)
AXES = sorted({name for shape in SCHEDULE_AXES.values() for name in shape} | set(REGIME_AXES))
SPACES = st.dictionaries(
    st.sampled_from(AXES), st.one_of(SCALARS, st.lists(SCALARS, max_size=2), RANGES), max_size=2
)


def upside_down(space: dict) -> bool:
    """Whether some low exceeds its high: the one thing that only the reader tells."""
    ends = [(axis["low"], axis["high"]) for axis in space.values() if isinstance(axis, dict)]
    numbers = [pair for pair in ends if all(isinstance(end, int | float) for end in pair)]
    return any(low > high for low, high in numbers)


@settings(max_examples=200, deadline=None)
@given(SPACES, st.sampled_from([None, "flat", "one_block", "chain_thaw"]))
def test_schema_and_reader_agree_on_any_space(space, shape):
    document = {"head_lr": 1e-3, **space} | ({"shape": shape} if shape else {})
    if upside_down(space):
        return
    assert SCHEMA.is_valid(document) == reads(to_yaml(document))


def test_axes_over_words_have_no_range_and_grids_no_logarithm():
    properties = space_schema()["properties"]
    for name in AXES:
        kinds = [kind.get("type") for kind in properties[name]["anyOf"]]
        assert ("object" in kinds) == (name not in WORD_AXES and name != "views")
    for name in GRID_AXES:
        assert "not" in properties[name]["anyOf"][-1]
