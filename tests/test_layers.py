"""Layer groups of real timm architectures, most of them on the meta device: no weights, no arithmetic."""

import functools

import pytest
import timm
import torch
from timm.models import group_parameters
from torch import nn

from autofreeze.errors import BackboneError
from autofreeze.groups import LayerGroups
from autofreeze.layers import group_buffers, layer_groups, module_groups

TINY = {"depth": 3, "embed_dim": 48, "num_heads": 3}
FAMILIES = {
    "beit_base_patch16_224": TINY,
    "cait_xxs24_224": {"depth": 3},
    "coat_lite_tiny": {},
    "convmixer_768_32": {},
    "crossvit_tiny_240": {},
    "deit_tiny_distilled_patch16_224": {"depth": 4},
    "deit_tiny_patch16_224": {"depth": 9},
    "densenet121": {},
    "dla46_c": {},
    "edgenext_xx_small": {},
    "efficientformer_l1": {},
    "efficientvit_b0": {},
    "fasternet_t0": {},
    "fastvit_t8": {},
    "ghostnet_050": {},
    "hardcorenas_a": {},
    "hrnet_w18_small": {},
    "inception_v3": {},
    "levit_128s": {},
    "mixer_s32_224": {},
    "mobilenetv2_050": {},
    "mobilenetv3_small_050": {},
    "mobilenetv4_conv_small": {},
    "mobilevit_xxs": {},
    "nextvit_small": {},
    "pvt_v2_b0": {},
    "rdnet_tiny": {},
    "regnetx_002": {},
    "repvgg_a0": {},
    "resnetv2_18": {},
    "rexnet_100": {},
    "swin_tiny_patch4_window7_224": {},
    "test_byobnet": {},
    "test_coatnet": {},
    "test_convnext": {},
    "test_efficientnet": {},
    "test_mambaout": {},
    "test_maxvit": {},
    "test_nfnet": {},
    "test_resnet": {},
    "test_vit": {},
    "test_vit_relpos": {},
    "tiny_vit_5m_224": {},
    "tinynet_e": {},
    "twins_pcpvt_small": {},
    "vgg11": {},
    "xcit_nano_12_p16_224": {},
}
NO_COARSE_LAYERS = {"rdnet_tiny"}
WITH_BATCHNORM = [
    "test_resnet",
    "test_efficientnet",
    "mobilenetv2_035",
    "mobilenetv3_small_050",
    "dla46_c",
    "levit_128s",
]

SLOW_TO_MEASURE = {
    "convmixer_768_32",
    "crossvit_tiny_240",
    "efficientvit_b0",
    "inception_v3",
    "nextvit_small",
    "twins_pcpvt_small",
    "xcit_nano_12_p16_224",
}


def family(name: str):
    # One worker per family where xdist groups them: a family is measured once and looked at often.
    marks = [pytest.mark.xdist_group(name), *([pytest.mark.long] if name in SLOW_TO_MEASURE else [])]
    return pytest.param(name, marks=marks)


every_family = pytest.mark.parametrize("name", [family(name) for name in FAMILIES])


@functools.cache
def meta_model(name: str, num_classes: int = 10) -> nn.Module:
    with torch.device("meta"):
        return timm.create_model(name, num_classes=num_classes, **FAMILIES[name])


@functools.cache
def groups_of(name: str, granularity) -> LayerGroups:
    return layer_groups(meta_model(name), granularity)


def all_groups(name: str) -> list[LayerGroups]:
    kinds = ["auto", "fine"] if name in NO_COARSE_LAYERS else ["auto", "coarse", "fine"]
    return [groups_of(name, kind) for kind in kinds]


@every_family
def test_every_parameter_lies_in_exactly_one_group(name):
    parameters = sorted(key for key, _ in meta_model(name).named_parameters())
    for groups in all_groups(name):
        assert sorted(key for group in groups.groups for key in group.parameters) == parameters


@every_family
def test_the_head_is_what_changes_with_the_number_of_classes_and_nothing_else(name):
    shapes = {key: p.shape for key, p in meta_model(name).named_parameters()}
    other = {key: p.shape for key, p in meta_model(name, 7).named_parameters()}
    changing = {key for key in shapes if shapes[key] != other[key]}
    for groups in all_groups(name):
        assert set(groups.head.parameters) == changing


@every_family
def test_work_is_shared_out_in_full_and_every_boundary_has_a_size(name):
    for groups in all_groups(name):
        assert sum(groups.work_shares) == pytest.approx(1, abs=1e-12)
        assert all(group.boundary_bytes > 0 for group in groups.groups)
        assert groups.names[0] == "stem"
        assert groups.names[-1] == "head"
        assert all(group.n_parameters > 0 for group in groups.groups)


@every_family
def test_auto_has_at_most_eight_columns_and_splits_what_holds_over_half(name):
    groups, fine = groups_of(name, "auto"), groups_of(name, "fine")
    assert len(groups) <= 8
    layers = [set(layer.parameters) for layer in fine.backbone]
    for group in groups.backbone:
        divisible = sum(bool(layer & set(group.parameters)) for layer in layers) > 1
        assert group.work_share <= 0.5 or len(groups) == 8 or not divisible


@every_family
def test_fine_is_timms_own_numbering_apart_from_the_head_rule(name):
    model, groups = meta_model(name), groups_of(name, "fine")
    number = group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    head = set(groups.head.parameters)
    last = max(number.values())
    layers: dict[int, set[str]] = {}
    for key, layer in number.items():
        if key not in head:
            layers.setdefault(layer, set()).add(key)
    ordered = [layers[layer] for layer in sorted(layers)]
    if last in layers and any(number[key] == last for key in head):
        ordered[-2:] = [ordered[-2] | ordered[-1]]
    assert [set(group.parameters) for group in groups.backbone] == ordered


@every_family
def test_every_module_follows_the_group_of_its_parameters(name):
    model, groups = meta_model(name), groups_of(name, "auto")
    column = {key: i for i, group in enumerate(groups.groups) for key in group.parameters}
    modules = module_groups(model, groups)
    assert set(modules) == {key for key, _ in model.named_modules()}
    assert modules[""] == len(groups) - 1
    for key, module in model.named_modules():
        names = [f"{key}.{p}".strip(".") for p, _ in module.named_parameters()]
        below = {column[p] for p in names if p in column}
        if below:
            assert modules[key] == max(below)


@pytest.mark.parametrize(
    ("name", "granularity", "expected"),
    [
        ("test_resnet", "auto", ("stem", "layer1", "layer2", "layer3", "layer4", "head")),
        (
            "mobilenetv2_050",
            "auto",
            ("stem", "blocks.0", "blocks.1", "blocks.2-3", "blocks.4", "blocks.5", "blocks.6", "head"),
        ),
        ("deit_tiny_patch16_224", 3, ("stem", "blocks.3-5", "blocks.6-8", "head")),
        ("test_convnext", "coarse", ("stem", "stages.0", "stages.1", "stages.2", "stages.3", "head")),
        ("test_resnet", 1, ("stem", "head")),
    ],
)
def test_names_are_those_of_the_modules(name, granularity, expected):
    assert groups_of(name, granularity).names == expected


def test_pretrained_neck_weights_stay_in_the_backbone():
    assert "conv_head.weight" in groups_of("mobilenetv3_small_050", "auto").backbone[-1].parameters
    assert "head.norm.weight" in groups_of("test_convnext", "coarse").backbone[-1].parameters
    assert "norm.weight" in groups_of("swin_tiny_patch4_window7_224", "coarse").backbone[-1].parameters
    assert "pre_logits.fc1.weight" in groups_of("vgg11", "fine").backbone[-1].parameters


def test_boundaries_are_measured_where_the_tensors_flow():
    groups = groups_of("test_resnet", "auto")  # 160 px; stem 32 channels wide, then pooled to a quarter
    assert groups.groups[0].boundary_bytes == 4 * 3 * 160 * 160
    assert groups.groups[1].boundary_bytes == 4 * 32 * 40 * 40
    assert groups.head.boundary_bytes == 4 * 96
    dense = groups_of("densenet121", "fine")  # the second dense layer takes 64 + 32 channels as a list
    assert dense.groups[2].boundary_bytes == 4 * 96 * 56 * 56
    distilled = groups_of("deit_tiny_distilled_patch16_224", "auto")  # two classifiers, a token each
    assert distilled.head.boundary_bytes == 4 * 2 * 192


def test_work_counts_multiply_adds_as_by_hand():
    groups = layer_groups(meta_model("vgg11"), "fine", image_size=224)
    by_layer = [c_in * c_out * 9 * side**2 for c_in, c_out, side in VGG11_CONVS]
    by_layer[-1] += 512 * 4096 * 49 + 4096 * 4096
    by_layer.append(4096 * 10)
    assert groups.work_shares == pytest.approx([work / sum(by_layer) for work in by_layer], rel=1e-12)


VGG11_CONVS = [
    (3, 64, 224),
    (64, 128, 112),
    (128, 256, 56),
    (256, 256, 56),
    (256, 512, 28),
    (512, 512, 28),
    (512, 512, 14),
    (512, 512, 14),
]


def test_groups_are_equal_on_the_cpu_and_on_meta_and_leave_the_model_as_it_was():
    model = timm.create_model("test_vit", num_classes=10)
    model.blocks[0].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert layer_groups(model, "auto") == groups_of("test_vit", "auto")
    assert model.training
    assert not model.blocks[0].training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_dropout_before_the_classifier_follows_the_head_and_dropout_in_a_block_its_block():
    model = timm.create_model("test_vit", num_classes=3, drop_rate=0.5, drop_path_rate=0.5)
    groups = layer_groups(model, "auto")
    modules = module_groups(model, groups)
    assert modules["head_drop"] == modules["head"] == len(groups) - 1
    assert modules["norm"] == len(groups) - 2
    assert modules["blocks.2.drop_path1"] == modules["blocks.2.mlp"]
    assert modules["pos_drop"] == 0
    assert modules["blocks"] == len(groups) - 2


def test_groups_serve_a_model_with_another_number_of_classes():
    assert module_groups(meta_model("test_vit", 7), groups_of("test_vit", "auto"))[""] == 7


def test_groups_of_another_model_are_refused():
    with pytest.raises(BackboneError, match="of another model"):
        module_groups(meta_model("test_vit"), groups_of("test_resnet", "auto"))


@pytest.mark.parametrize("name", ["pit_ti_224", "poolformer_s12"])
def test_a_model_without_layer_order_is_refused_by_name(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    with pytest.raises(BackboneError, match=rf"{name}: .*group_matcher"):
        layer_groups(model)


def test_a_model_without_a_classifier_is_refused():
    with torch.device("meta"):
        model = timm.create_model("test_resnet", num_classes=0)
    with pytest.raises(BackboneError, match="no classifier"):
        layer_groups(model)


def test_coarse_is_refused_where_timm_has_none_and_auto_falls_back_on_fine_layers():
    with pytest.raises(BackboneError, match="no coarse layers"):
        groups_of("rdnet_tiny", "coarse")
    assert len(groups_of("rdnet_tiny", "auto")) <= 8


def test_an_image_that_the_model_cannot_take_is_refused():
    with pytest.raises(BackboneError, match="test_vit: cannot run on an image of 100 px"):
        layer_groups(meta_model("test_vit"), image_size=100)


@functools.cache
def batchnorm_model(name: str) -> tuple[nn.Module, LayerGroups]:
    fixed = {"img_size": 64} if name == "levit_128s" else {}
    model = timm.create_model(name, num_classes=5, drop_rate=0.2, **fixed)
    return model, layer_groups(model, "auto", image_size=64)


def train_step(model: nn.Module, groups: LayerGroups, first: int) -> set[str]:
    """Train the columns from ``first`` on for one step; give the names of the tensors that moved."""
    for key, column in module_groups(model, groups).items():
        model.get_submodule(key).training = column >= first
    trained = {key for group in groups.groups[first:] for key in group.parameters}
    for key, parameter in model.named_parameters():
        parameter.requires_grad_(key in trained)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    logits = model(torch.randn(4, 3, 64, 64))
    logits = sum(logits) if isinstance(logits, tuple) else logits
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    optimizer.step()
    return {key for key, value in model.state_dict().items() if not torch.equal(before[key], value)}


@pytest.mark.parametrize("frozen", ["all but the head", "all but the top two groups", "nothing"])
@pytest.mark.parametrize("name", WITH_BATCHNORM)
def test_frozen_means_that_not_one_bit_moves(name, frozen):
    model, groups = batchnorm_model(name)
    first = {"all but the head": len(groups) - 1, "all but the top two groups": len(groups) - 3, "nothing": 0}
    start = first[frozen]
    moved = train_step(model, groups, start)
    buffers = group_buffers(model, groups)
    may_move = {key for column in buffers[start:] for key in column}
    may_move |= {key for group in groups.groups[start:] for key in group.parameters}
    statistics = {key for column in buffers[start:] for key in column if key.endswith("running_mean")}
    assert moved <= may_move
    assert statistics <= moved
    assert set(groups.head.parameters) & moved


@every_family
def test_every_buffer_lies_in_exactly_one_column(name):
    model = meta_model(name)
    columns = group_buffers(model, groups_of(name, "auto"))
    assert sorted(key for column in columns for key in column) == sorted(
        key for key, _ in model.named_buffers()
    )
