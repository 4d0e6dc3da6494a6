"""How parameter names become columns, without torch."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autofreeze.errors import BackboneError
from autofreeze.groups import split_layers


def split(layers: list[list[str]], granularity="auto", *, coarse=None, work=None, classifier=("fc",)):
    """Split parameters given as lists by fine layer, the classifier in the last."""
    fine = {name: i for i, layer in enumerate(layers) for name in layer}
    numbers = coarse if coarse is not None else list(range(len(layers)))
    loads = work if work is not None else [1] * len(layers)
    return split_layers(
        dict.fromkeys(fine, 10),
        fine=fine,
        coarse={name: numbers[i] for name, i in fine.items()},
        classifier=classifier,
        work={layer[0]: load for layer, load in zip(layers, loads, strict=True)},
        granularity=granularity,
    )


RESNET = [
    ["conv1.weight", "bn1.weight"],
    ["layer1.0.conv1.weight"],
    ["layer1.1.conv1.weight"],
    ["layer2.0.conv1.weight"],
    ["layer2.1.conv1.weight"],
    ["fc.weight", "fc.bias"],
]
RESNET_COARSE = [0, 1, 1, 2, 2, 3]


def test_the_head_is_the_classifier_alone_and_the_neck_joins_the_last_backbone_group():
    groups = split([["stem.weight"], ["blocks.0.weight"], ["conv_head.weight", "fc.weight"]], "fine")
    assert [group.parameters for group in groups.groups] == [
        ("stem.weight",),
        ("blocks.0.weight", "conv_head.weight"),
        ("fc.weight",),
    ]
    assert groups.names == ("stem", "blocks", "head")


def test_a_module_whose_name_only_begins_like_the_classifier_is_no_head():
    groups = split([["stem.weight"], ["fc_norm.weight", "fc.weight"]], "fine")
    assert groups.head.parameters == ("fc.weight",)


def test_two_classifiers_make_one_head():
    layers = [["stem.weight"], ["blocks.0.weight"], ["head.weight", "head_dist.weight"]]
    groups = split(layers, classifier=("head", "head_dist"))
    assert groups.head.parameters == ("head.weight", "head_dist.weight")


def test_a_last_layer_without_a_classifier_stays_a_group():
    groups = split([["fc.weight"], ["a.weight"], ["b.weight"]], "fine")
    assert [group.parameters for group in groups.backbone] == [("a.weight",), ("b.weight",)]


@pytest.mark.parametrize(
    ("granularity", "names"),
    [
        ("coarse", ("stem", "layer1", "layer2", "head")),
        ("fine", ("stem", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "head")),
        (1, ("stem", "head")),
        (2, ("stem", "layer1.1-2", "head")),
        (3, ("stem", "layer1", "layer2", "head")),
        (5, ("stem", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "head")),
    ],
)
def test_granularities_and_their_names(granularity, names):
    work = [4, 1, 1, 1, 3, 1] if granularity == 2 else [2, 1, 1, 1, 1, 1]
    assert split(RESNET, granularity, coarse=RESNET_COARSE, work=work).names == names


def test_modules_are_the_outermost_that_lie_wholly_in_a_group():
    groups = split(RESNET, "coarse", coarse=RESNET_COARSE)
    assert [group.modules for group in groups.groups] == [("conv1", "bn1"), ("layer1",), ("layer2",), ("fc",)]


def test_auto_splits_the_group_that_holds_over_half_of_the_work():
    groups = split(RESNET, coarse=RESNET_COARSE, work=[1, 1, 1, 5, 5, 1])
    assert groups.names == ("stem", "layer1", "layer2.0", "layer2.1", "head")


def test_auto_leaves_a_group_with_half_of_the_work_whole():
    groups = split(RESNET, coarse=RESNET_COARSE, work=[1, 1, 2, 3, 3, 2])
    assert groups.names == ("stem", "layer1", "layer2", "head")


def test_auto_merges_the_lightest_neighbours_and_keeps_the_stem_apart():
    layers = [["stem.weight"], *([f"blocks.{i}.weight"] for i in range(8)), ["fc.weight"]]
    groups = split(layers, work=[0, 1, 9, 9, 2, 1, 9, 9, 9, 1])
    assert groups.names == (
        "stem", "blocks.0-1", "blocks.2", "blocks.3-4", "blocks.5", "blocks.6", "blocks.7", "head",
    )  # fmt: skip


def test_work_is_shared_out_by_group():
    groups = split(RESNET, "coarse", coarse=RESNET_COARSE, work=[1, 2, 3, 2, 1, 1])
    assert groups.work_shares == (0.1, 0.5, 0.3, 0.1)
    assert [group.n_parameters for group in groups.groups] == [20, 20, 20, 20]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"granularity": 6}, "got 6 backbone groups; this model has 5 layers, so at most 5"),
        ({"granularity": 0}, "got 0; must be auto, coarse, fine or a number"),
        ({"granularity": True}, "got True; must be"),
        ({"granularity": 2.0}, "got 2.0; must be"),
        ({"granularity": "medium"}, "got 'medium'; must be"),
        ({"classifier": ("head",)}, "the classifier head holds 0 of the model's 8 parameters"),
        ({"classifier": ()}, r"\(none named\) holds 0"),
        ({"work": [0] * 6}, "no multiply-adds"),
    ],
)
def test_what_cannot_be_split_is_refused(changes, message):
    with pytest.raises(BackboneError, match=message):
        split(RESNET, **{"granularity": "auto", **changes})


@pytest.mark.parametrize("lost_from", ["fine", "coarse"])
def test_a_parameter_without_a_layer_is_refused(lost_from):
    layer_of = {"a.weight": 0, "b.weight": 1, "fc.weight": 2}
    partial = {key: layer for key, layer in layer_of.items() if key != "b.weight"}
    given = {"fine": layer_of, "coarse": layer_of, lost_from: partial}
    with pytest.raises(BackboneError, match=r"1 of 3 parameters lie in no layer .*: b\.weight"):
        split_layers(dict.fromkeys(layer_of, 1), **given, classifier=["fc"], work=dict.fromkeys(layer_of, 1))


@st.composite
def networks(draw):
    """Layers of a made-up network: blocks in stages, a neck beside the classifier or not."""
    stages = draw(st.lists(st.integers(1, 4), min_size=1, max_size=10))
    layers = [
        ["stem.weight"],
        *([f"s.{i}.{j}.w", f"s.{i}.{j}.b"] for i, n in enumerate(stages) for j in range(n)),
    ]
    coarse = [0, *(i + 1 for i, n in enumerate(stages) for _ in range(n)), len(stages) + 1]
    layers.append(["norm.weight", "fc.weight"] if draw(st.booleans()) else ["fc.weight"])
    work = draw(st.lists(st.integers(0, 20), min_size=len(layers), max_size=len(layers)))
    return layers, coarse, [work[0] + 1, *work[1:]]


@given(networks(), st.sampled_from(["auto", "coarse", "fine", 1, 2]))
def test_every_parameter_lies_in_exactly_one_group_and_names_are_unique(network, granularity):
    layers, coarse, work = network
    groups = split(layers, granularity, coarse=coarse, work=work)
    given_names = sorted(name for layer in layers for name in layer)
    assert sorted(name for group in groups.groups for name in group.parameters) == given_names
    assert groups.head.parameters == ("fc.weight",)
    assert sum(groups.work_shares) == pytest.approx(1)
    assert groups.names[0] == "stem"
    assert groups.names[-1] == "head"


@given(networks())
def test_auto_has_at_most_eight_columns_and_the_stem_is_never_merged(network):
    layers, coarse, work = network
    groups = split(layers, coarse=coarse, work=work)
    assert len(groups) <= 8
    assert groups.groups[0].parameters == ("stem.weight",)


@given(networks(), st.integers(1, 5))
def test_a_number_of_groups_makes_the_largest_as_light_as_can_be(network, n):
    layers, coarse, work = network
    backbone = len(layers) - 1
    n = min(n, backbone)
    groups = split(layers, n, coarse=coarse, work=work)
    neck = (
        0 if layers[-1] == ["fc.weight"] else work[-1]
    )  # the last layer's work is charged to its first name
    loads = [*work[: backbone - 1], work[backbone - 1] + neck]
    best = min(
        max(sum(loads[a:b]) for a, b in zip((0, *cuts), (*cuts, backbone), strict=True))
        for cuts in combinations(range(1, backbone), n - 1)
    )
    assert len(groups.backbone) == n
    assert max(group.work_share for group in groups.backbone) == pytest.approx(best / sum(work))


def test_the_largest_group_counts_before_evenness_of_the_rest():
    # 10, 3 and 5 have the lesser sum of squares; 1, 9 and 8 have the lesser maximum.
    layers = [["stem.weight"], ["a.1.weight"], ["a.2.weight"], ["a.3.weight"], ["fc.weight"]]
    groups = split(layers, 3, work=[1, 9, 3, 5, 2])
    assert groups.work_shares == (0.05, 0.45, 0.4, 0.1)


def test_a_neck_does_not_name_the_group_that_it_joins():
    layers = [
        ["stem.weight"],
        ["blocks.0.weight"],
        ["blocks.1.weight"],
        ["neck.0.w", "neck.1.w", "fc.weight"],
    ]
    assert split(layers, "fine").names == ("stem", "blocks.0", "blocks.1", "head")
