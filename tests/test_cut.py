"""Cut models compute what whole ones do, to the bit; what cannot be cut says why."""

import copy
import functools

import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

from autofreeze.binding import Columns
from autofreeze.cut import Cutter
from autofreeze.errors import BackboneError
from autofreeze.groups import LayerGroup, LayerGroups
from autofreeze.layers import layer_groups
from autofreeze.tracing import CannotCut

FOUR = {"depths": (1, 1, 2, 1), "num_heads": (1, 2, 4, 8), "embed_dim": 16, "window_size": 4}

QUICK = {
    "test_resnet": (32, {}),
    "test_efficientnet": (32, {}),
    "test_vit": (32, {"depth": 2}),
    "swin_tiny_patch4_window7_224": (32, FOUR),
    "levit_128s": (32, {"depth": (1, 1, 1), "embed_dim": (32, 64, 96)}),
    "densenet121": (32, {"block_config": (1, 2), "growth_rate": 8}),
    "deit_tiny_distilled_patch16_224": (32, {"depth": 2}),
}
"""Image size and constructor options by model: one of each kind."""

MORE = {
    "beit_base_patch16_224": (64, {"embed_dim": 48, "depth": 4, "num_heads": 3}),
    "cait_xxs24_224": (64, {"embed_dim": 48, "depth": 4, "num_heads": 2}),
    "coat_tiny": (64, {"serial_depths": (1, 1, 1, 1), "parallel_depth": 2, "embed_dims": (32, 32, 32, 32)}),
    "convit_tiny": (64, {"depth": 4, "local_up_to_layer": 2}),
    "cs3darknet_s": (64, {}),
    "davit_tiny": (64, FOUR | {"embed_dims": (16, 32, 64, 128), "embed_dim": None}),
    "dla46_c": (64, {}),
    "edgenext_xx_small": (64, {}),
    "eva02_tiny_patch14_224": (56, {"depth": 4, "embed_dim": 48, "num_heads": 3}),
    "fastvit_t8": (64, {}),
    "ghostnet_050": (64, {}),
    "hrnet_w18_small": (64, {}),
    "inception_next_atto": (64, {}),
    "mobilenetv3_small_050": (64, {}),
    "mobilevit_xxs": (64, {}),
    "mvitv2_tiny": (64, {}),
    "pvt_v2_b0": (64, {"depths": (1, 1, 2, 1)}),
    "regnetx_002": (64, {}),
    "repvgg_a0": (64, {}),
    "resnetv2_18": (64, {}),
    "rexnet_100": (64, {}),
    "swinv2_tiny_window8_256": (64, FOUR),
    "test_byobnet": (64, {}),
    "test_convnext": (64, {}),
    "test_mambaout": (64, {}),
    "test_maxvit": (32, {}),
    "test_nfnet": (64, {}),
    "twins_svt_small": (64, {"depths": (1, 1, 2, 1)}),
    "vgg11_bn": (32, {}),
    "xcit_nano_12_p16_224": (64, {"depth": 3}),
}

FAMILIES = [*QUICK, *(pytest.param(name, marks=pytest.mark.long) for name in MORE)]


def build(name, *, seed=0, classes=3, drops=True):
    """A model with dropout and stochastic depth, and its columns."""
    size, options = (QUICK | MORE)[name]
    options = {key: value for key, value in options.items() if value is not None}
    if timm.get_pretrained_cfg(name).fixed_input_size:
        options = {"img_size": size} | options
    rates = {"drop_rate": 0.3, "drop_path_rate": 0.2} if drops else {}
    if name in ("densenet121", "dla46_c", "ghostnet_050", "hrnet_w18_small", "vgg11_bn", "mobilevit_xxs"):
        rates.pop("drop_path_rate", None)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = timm.create_model(name, num_classes=classes, **rates, **options)
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn(parameter.shape)  # no branch is multiplied by 0
    model = model.to(memory_format=torch.channels_last)
    return model, Columns.of(model, layer_groups(model, "auto", size)), size


@functools.cache
def cutter_of(name):
    return Cutter(*build(name), chunk=4)


def images(n, size, seed=0):
    pixels = torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))
    return pixels.contiguous(memory_format=torch.channels_last)


def set_modes(model, columns, trains):
    """Put each module and parameter into the mode of its column."""
    model.eval()
    for name, module in model.named_modules():
        module.training = trains[columns.of_module[name]]
    for column, group in enumerate(columns.groups.groups):
        for name in group.parameters:
            model.get_parameter(name).requires_grad_(trains[column])


def from_column(columns, boundary):
    return [column >= boundary for column in range(len(columns.groups))]


def outcome(model, run):
    """Logits, gradients and buffers of one step from equal random state."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)
        logits = run()
        if logits.requires_grad:
            F.cross_entropy(logits, torch.arange(len(logits)) % logits.shape[1]).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {
        "logits": logits.detach(),
        **gradients,
        **{f"buffer {name}": b for name, b in model.named_buffers()},
    }


def features(cutter, model, boundary, pixels):
    with torch.no_grad():
        return cutter.prefix(model, boundary)(pixels)


def compare(cutter, model, boundary, pixels):
    """The names of what differs between the whole and the cut model, both copies of ``model``."""
    whole, parts = copy.deepcopy(model), copy.deepcopy(model)
    expected = outcome(whole, lambda: whole(pixels))
    stored = tuple(one.clone() for one in features(cutter, parts, boundary, pixels))
    given = outcome(parts, lambda: cutter.suffix(parts, boundary)(*stored))
    assert expected.keys() == given.keys()
    return [name for name in expected if not torch.equal(expected[name], given[name])]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_cut_model_gives_the_bits_of_the_whole_at_every_border_in_both_modes(name):
    cutter = cutter_of(name)
    model, columns, size = build(name, seed=1)
    told = {boundary: cutter.refusal(boundary) for boundary in range(1, len(columns.groups))}
    # Kernels of some processors give a row other last bits elsewhere in memory: that is rightly refused.
    cut = [boundary for boundary, refusal in told.items() if "on its place among" not in refusal]
    assert [told[boundary] for boundary in cut] == [""] * len(cut)
    assert cut
    for boundary in cut:
        shapes = tuple(
            tuple(one.shape[1:]) for one in features(cutter, model.eval(), boundary, images(2, size))
        )
        assert shapes == cutter.shapes(boundary)
        for trains in (from_column(columns, boundary), [False] * len(columns.groups)):
            set_modes(model, columns, trains)
            assert compare(cutter, model, boundary, images(5, size)) == []


class Toy(nn.Module):
    """Three columns: a stem, a body and a head."""

    def __init__(self, classes=3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.head = nn.Linear(4, classes)

    def between(self, x):
        return x

    def through(self, x):
        return self.body(x)

    def forward(self, x):
        return self.head(self.through(self.between(self.stem(x))).mean((2, 3)))


class Decides(Toy):
    def between(self, x):
        return x if x.sum() > 0 else -x


class MixesImages(Toy):
    def between(self, x):
        return x - x.mean(0)


class CountsImages(Toy):
    def through(self, x):
        return self.body(x) * x.shape[0] ** 2


class DrawsAlways(Toy):
    class Noise(nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x)

    def __init__(self):
        super().__init__()
        self.stem.append(self.Noise())


class Checkpoints(Toy):
    def __init__(self):
        super().__init__()
        self.grad_checkpointing = True


class AddsInPlace(Toy):
    def through(self, x):
        y = torch.cat([self.body(x), x], 1)[:, :4]
        y += self.body[0](x)
        return y


class SkipsAcross(Toy):
    def through(self, x):
        """Needs what enters the border, and what a pooling makes of it."""
        small = F.avg_pool2d(x, 2)
        return self.body(x) + F.interpolate(self.body(small), size=x.shape[-2:])


class DropsOnTheWay(Toy):
    """Without drawing, the sum is prefix; with it, the two summands are."""

    def through(self, x):
        branch = F.avg_pool2d(x, 3, 1, 1)
        return self.body(x + (F.dropout(branch, 0.5) if self.training else branch))


class Windows(Toy):
    """Two halves of each image go through the body as images of their own."""

    def through(self, x):
        n, c, h, w = x.shape
        halves = x.reshape(n, c, 2, h // 2, w).transpose(1, 2).reshape(n * 2, c, h // 2, w)
        return self.body(halves).reshape(n, 2, c, h // 2, w).transpose(1, 2).reshape(n, c, h, w)


class AddsImagesAgain(Toy):
    """Has two rows for each image that do not lie together."""

    def through(self, x):
        return self.body(torch.cat([x, x.flip(3)]))[: x.shape[0]]


def toy(kind, **options):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        model = kind(**options).to(memory_format=torch.channels_last)
    groups = LayerGroups(
        groups=[
            LayerGroup(name=part, parameters=[n for n, _ in model.named_parameters() if n.startswith(part)])
            for part in ("stem", "body", "head")
        ]
    )
    return model, Columns.of(model, groups)


@pytest.mark.parametrize(
    ("kind", "boundary", "told"),
    [
        (Decides, 1, "control flow"),
        (MixesImages, 1, "depend on the other images"),
        (DrawsAlways, 1, "depend on"),
        (Checkpoints, 1, "gradient checkpointing is on"),
        (AddsImagesAgain, 1, "depend on"),
        (Toy, 0, "no border below column 0"),
        (Toy, 3, "no border below column 3"),
    ],
)
def test_what_cannot_be_cut_says_why_and_raises_nothing(kind, boundary, told):
    model, columns = toy(kind)
    refusal = Cutter(model, columns, 8).refusal(boundary)
    assert told in refusal
    assert bool(told) == bool(refusal)


def test_a_suffix_of_what_cannot_be_cut_is_refused_in_the_same_words():
    model, columns = toy(MixesImages)
    cutter = Cutter(model, columns, 8)
    with pytest.raises(CannotCut, match="depend on the other images"):
        cutter.suffix(model, 1)


@pytest.mark.parametrize(
    "kind",
    [Toy, CountsImages, AddsInPlace, SkipsAcross, DropsOnTheWay, Windows],
    ids=lambda k: k.__name__,
)
def test_ways_of_writing_a_model_keep_their_bits(kind):
    model, columns = toy(kind)
    cutter = Cutter(model, columns, 8, chunk=4)
    for boundary in (1, 2):
        for trains in (from_column(columns, boundary), [False] * 3):
            set_modes(model, columns, trains)
            assert cutter.refusal(boundary, model) == ""
            assert compare(cutter, model, boundary, images(7, 8)) == []


def test_skips_across_the_border_make_several_tensors():
    model, columns = toy(SkipsAcross)
    assert Cutter(model, columns, 8).shapes(1) == ((8, 8, 4), (4, 4, 4))


def test_windows_are_stored_by_image():
    model, columns = toy(Windows)
    ((rows, *shape),) = Cutter(model, columns, 8).shapes(1)
    assert rows == 2
    assert sorted(shape) == [4, 4, 8]


def test_one_border_serves_modes_that_need_it_at_different_places():
    model, columns = toy(DropsOnTheWay)
    cutter = Cutter(model, columns, 8)
    assert cutter.refusal(1) == ""
    assert len(cutter.shapes(1)) == 2


def test_below_the_head_lie_pooled_features():
    model, columns, _ = build("test_efficientnet")
    assert cutter_of("test_efficientnet").shapes(len(columns.groups) - 1) == ((model.num_features,),)


def test_class_tokens_and_positions_are_not_stored():
    model, _, _ = build("test_vit")
    tokens = model.pos_embed.shape[1]
    assert cutter_of("test_vit").shapes(1) == ((tokens, model.embed_dim),)


def test_features_of_an_image_do_not_depend_on_its_place_or_its_neighbours():
    model, columns, size = build("test_resnet")
    cutter = cutter_of("test_resnet")
    model.eval()
    one, other = images(6, size), images(6, size, seed=1)
    other[4] = one[1]
    for boundary in range(1, len(columns.groups)):
        for a, b in zip(
            features(cutter, model, boundary, one), features(cutter, model, boundary, other), strict=True
        ):
            assert torch.equal(a[1], b[4])


def test_a_suffix_is_of_the_modes_in_which_the_model_is_when_it_is_asked_for():
    model, columns, size = build("swin_tiny_patch4_window7_224")
    cutter = cutter_of("swin_tiny_patch4_window7_224")
    set_modes(model, columns, from_column(columns, 2))
    stored = features(cutter, model, 2, images(4, size))

    def twice(suffix):
        with torch.no_grad():
            return torch.equal(suffix(*stored), suffix(*stored))

    assert not twice(cutter.suffix(model, 2))
    model.eval()
    assert twice(cutter.suffix(model, 2))


def test_a_frozen_column_above_the_border_keeps_its_bits():
    model, columns, size = build("test_resnet")
    cutter = Cutter(model, columns, size)
    trains = from_column(columns, 2)
    trains[3] = False
    set_modes(model, columns, trains)
    assert cutter.refusal(2, model) == ""
    assert compare(cutter, model, 2, images(5, size)) == []


def test_statistics_alone_can_stand_still():
    model, columns, size = build("test_resnet")
    cutter = cutter_of("test_resnet")
    set_modes(model, columns, from_column(columns, 2))
    for module in model.modules():
        module.training = module.training and not isinstance(module, nn.BatchNorm2d)
    assert compare(cutter, model, 2, images(5, size)) == []


def test_position_biases_that_have_moved_are_not_those_of_the_trace():
    model, columns, size = build("levit_128s")
    cutter = cutter_of("levit_128s")
    set_modes(model, columns, from_column(columns, 1))
    model.eval()
    cutter.suffix(model, 1)
    for name, parameter in model.named_parameters():
        if "attention_biases" in name:
            parameter.data += 1 + torch.arange(parameter.shape[-1])
    model.train()
    model.eval()
    assert compare(cutter, model, 1, images(3, size)) == []


def test_cutting_leaves_the_template_and_the_random_state_as_they_were():
    template, columns, size = build("levit_128s")
    twin = copy.deepcopy(template)
    names = {name: sorted(vars(module)) for name, module in template.named_modules()}
    chance = torch.get_rng_state()
    cutter = Cutter(template, columns, size)
    assert cutter.refusal(2) == ""
    assert torch.equal(chance, torch.get_rng_state())
    assert names == {name: sorted(vars(module)) for name, module in template.named_modules()}
    for (name, one), other in zip(template.state_dict().items(), twin.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    for one, other in zip(template.modules(), twin.modules(), strict=True):
        assert one.training == other.training
    assert all(p.grad is None and p.requires_grad for p in template.parameters())
    assert torch.equal(template.eval()(images(2, size)), twin.eval()(images(2, size)))


def test_what_was_traced_serves_a_model_with_another_head():
    cutter = cutter_of("test_resnet")
    model, columns, size = build("test_resnet", seed=5, classes=7)
    set_modes(model, columns, from_column(columns, 3))
    assert compare(cutter, model, 3, images(5, size)) == []


def test_a_suffix_shares_parameters_and_statistics_with_its_model():
    model, columns, size = build("test_resnet")
    cutter = cutter_of("test_resnet")
    set_modes(model, columns, from_column(columns, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cutter.suffix(model, 3)(*features(cutter, model, 3, images(4, size))).sum().backward()
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert {columns.of_module[name.rpartition(".")[0]] for name in moved} <= {3, 4}
    assert {n for n, p in model.named_parameters() if p.grad is not None} == {
        name for group in columns.groups.groups[3:] for name in group.parameters
    }


def test_a_model_with_another_dropout_is_refused():
    template, columns = toy(Toy)
    model, _, size = build("test_vit", drops=False)
    dropping, of_vit, _ = build("test_vit")
    with pytest.raises(BackboneError, match="not built as the template"):
        Cutter(template, columns, 8).prefix(model, 1)
    with pytest.raises(BackboneError, match="not built as the template"):
        Cutter(dropping, of_vit, size).suffix(model, 1)


def test_the_digest_names_what_the_prefix_does():
    one, columns, size = build("test_vit")
    other, _, _ = build("test_vit", seed=1, drops=False)
    digests = [Cutter(one, columns, size).digest(b) for b in (1, 2)]
    assert digests == [Cutter(other, columns, size).digest(b) for b in (1, 2)]
    assert len(set(digests)) == 2
