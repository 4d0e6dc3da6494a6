"""What a view looks like is a function of the image, the seed and the number, to the bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from torchvision.transforms.v2 import functional as F

from autofreeze.pixels import render, to_pixels
from autofreeze.views import cropping, numbers

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 24
BILINEAR = Image.Resampling.BILINEAR
IDS = np.array([3, 8, 0, 41, 2**40, 7, 1, 12, 5])
VIEWS = ("none", "flip", "bank:4", "bank:8", "online")
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
    ),
]


def pictures(n=9, side=SIDE):
    generator = np.random.Generator(np.random.PCG64(1))
    return torch.from_numpy(generator.integers(0, 256, (n, side, side, 3), np.uint8))


def rendered(view, images, ids, which, seed=5, erase=0.0):
    return render(view, images, ids, which, MEAN, STD, seed=seed, erase=erase)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("erase", [0.0, 0.5])
@pytest.mark.parametrize("view", VIEWS[2:])
def test_the_batch_that_an_image_is_in_changes_none_of_its_bits(view, erase, device):
    images = pictures().to(device)
    which = numbers(view, 5, IDS, 3)
    whole = rendered(view, images, IDS, which, erase=erase)
    assert whole.shape == (len(IDS), 3, SIDE, SIDE)
    assert whole.dtype == torch.float32
    assert whole.device.type == device
    assert whole.is_contiguous(memory_format=torch.channels_last)
    for i in range(len(IDS)):
        alone = rendered(view, images[i : i + 1], IDS[i : i + 1], which[i : i + 1], erase=erase)
        assert torch.equal(alone[0], whole[i])
    turned = rendered(view, images.flip(0), IDS[::-1], which[::-1], erase=erase)
    assert torch.equal(turned.flip(0), whole)


@pytest.mark.parametrize("device", DEVICES)
def test_a_crop_is_what_pillow_makes_of_it(device):
    images = pictures()
    which = np.arange(len(IDS)) % 8
    made = rendered("bank:8", images.to(device), IDS, which).cpu()
    drawn = cropping("bank:8", IDS, which, SIDE, SIDE, seed=5)
    for image, rows, columns, got in zip(images, drawn.rows, drawn.columns, made, strict=True):
        assert 0.35 < box_of(rows)[1] * abs(box_of(columns)[1]) / SIDE**2 < 1
        (top, high), (left, wide) = box_of(rows), box_of(columns)
        planes = [Image.fromarray(plane.numpy()).convert("F") for plane in image.unbind(2)]
        box = (left, top, left + wide, top + high)
        cut = [plane.transform((SIDE, SIDE), Image.Transform.EXTENT, box, BILINEAR) for plane in planes]
        expected = F.normalize(torch.from_numpy(np.stack([np.asarray(one) for one in cut])) / 255, MEAN, STD)
        assert torch.allclose(got, expected, atol=1e-4)


def box_of(middles):
    """Start and length in pixels of what these middles share out; the length is negative when mirrored."""
    inner = middles[SIDE // 4 : -SIDE // 4] * SIDE  # those at the ends may be held back
    step = (inner[-1] - inner[0]) / (len(inner) - 1)
    return inner[0] - (SIDE // 4 + 0.5) * step, step * SIDE


def test_the_views_of_a_bank_are_those_of_a_larger_bank_whatever_the_seed():
    images = pictures()
    for number in range(4):
        which = np.full(len(IDS), number)
        made = rendered("bank:4", images, IDS, which)
        assert torch.equal(made, rendered("bank:8", images, IDS, which))
        assert torch.equal(made, rendered("bank:4", images, IDS, which, seed=6))


def test_online_views_hang_on_the_seed_and_never_repeat():
    images = pictures(1).expand(40, -1, -1, -1)
    ids = np.zeros(40, dtype=np.int64)
    made = rendered("online", images, ids, np.arange(40))
    other = rendered("online", images, ids, np.arange(40), seed=6)
    assert len({view.numpy().tobytes() for view in (*made, *other)}) == 80


def test_none_and_flip_are_what_they_always_were():
    images = pictures()
    which = numbers("flip", 5, IDS, 2)
    assert torch.equal(rendered("none", images, IDS, which), to_pixels(images, None, MEAN, STD))
    assert torch.equal(
        rendered("flip", images, IDS, which), to_pixels(images, torch.from_numpy(which == 1), MEAN, STD)
    )


def test_what_is_erased_is_the_mean_and_the_rest_as_without():
    images = pictures()
    which = np.zeros(len(IDS), dtype=np.int64)
    plain, erased = (rendered("online", images, IDS, which, erase=share) for share in (0.0, 1.0))
    boxes = cropping("online", IDS, which, SIDE, SIDE, seed=5, erase=1.0).erased
    for before, after, box in zip(plain, erased, boxes, strict=True):
        top, below, left, right = np.rint(box * SIDE).astype(int)
        assert 0 < (below - top) * (right - left) < SIDE * SIDE
        assert (after[:, top:below, left:right] == 0).all()
        after[:, top:below, left:right] = before[:, top:below, left:right]
        assert torch.equal(before, after)


def test_a_higher_share_erases_in_further_views_and_leaves_the_others():
    ids = np.arange(4000)
    which = np.zeros(len(ids), dtype=np.int64)
    low, high = (
        cropping("online", ids, which, SIDE, SIDE, seed=0, erase=share).erased for share in (0.25, 0.5)
    )
    in_low, in_high = (boxes[:, 0] < boxes[:, 1] for boxes in (low, high))
    assert abs(in_low.mean() - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / 4000)
    assert abs(in_high.mean() - 0.5) < 4.5 * np.sqrt(0.25 / 4000)
    assert not (in_low & ~in_high).any()
    assert np.array_equal(low[in_low], high[in_low])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(1, 60), st.integers(1, 60), st.integers(0, 99))
def test_what_is_cropped_and_erased_lies_inside_and_is_enlarged(seed, height, width, number):
    ids = np.arange(50)
    drawn = cropping("online", ids, np.full(50, number), height, width, seed=seed, erase=1.0)
    for places, size in ((drawn.rows, height), (drawn.columns, width)):
        assert places.shape == (50, size)
        assert places.min() >= 0.5 / size
        assert places.max() <= 1 - 0.5 / size
        assert (np.abs(np.diff(places, axis=1)) <= 1 / size + 1e-9).all()
    assert ((drawn.erased >= 0) & (drawn.erased <= 1 + 1e-9)).all()


def test_areas_shapes_places_and_flips_are_spread_as_they_should_be():
    # Fixed seed, so this never changes its mind.
    n = 20_000
    drawn = cropping("bank:8", np.arange(n), np.arange(n) % 8, 8, 8, seed=0, erase=1.0)
    # Of eight middles the third and the sixth: those at the ends may be held back.
    high, wide = (8 / 3 * np.abs(places[:, 5] - places[:, 2]) for places in (drawn.rows, drawn.columns))
    top, bottom, left, right = drawn.erased.T
    for area, (least, most) in (
        (high * wide, (0.35, 1.0)),
        ((bottom - top) * (right - left), (0.02, 0.33)),
    ):
        assert least - 0.002 < area.min() < least + 0.002
        assert most - 0.002 < area.max() < most + 0.002
        assert abs(area.mean() - (least + most) / 2) < 4.5 * (most - least) / np.sqrt(12 * n)
    for shape, widest in ((np.log(wide / high), 4 / 3), (np.log((right - left) / (bottom - top)), 1 / 0.33)):
        assert abs(shape.mean()) < 4.5 * shape.std() / np.sqrt(n)
        assert np.log(widest) - 0.02 < shape.max() < np.log(3.31 if widest > 2 else widest) + 0.01
    roomy = high < 0.8
    places = (drawn.rows[:, 2] - 2.5 / 8 * high)[roomy] / (1 - high[roomy])
    assert abs(places.mean() - 0.5) < 4.5 / np.sqrt(12 * roomy.sum())
    assert abs((drawn.columns[:, 0] > drawn.columns[:, -1]).mean() - 0.5) < 4.5 / 2 / np.sqrt(n)


def test_views_of_neighbouring_images_numbers_and_seeds_have_nothing_in_common():
    ids = np.arange(5000)

    def tops(seed, shift, number):
        which = np.full(len(ids), number)
        return cropping("online", ids + shift, which, 8, 8, seed=seed).rows[:, 0]

    first = tops(0, 0, 0)
    for other in (tops(0, 1, 0), tops(0, 0, 1), tops(1, 0, 0), tops(0, 1, 1), tops(1, 0, 1)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 4.5 / np.sqrt(len(ids))


# Without crops


@pytest.mark.parametrize("device", DEVICES)
def test_pixels_equal_torchvisions_to_the_bit(device):
    images = pictures(7, 12)
    flipped = torch.tensor([True, False, True, True, False, False, True])
    made = to_pixels(images.to(device), flipped, MEAN, STD)
    assert made.shape == (7, 3, 12, 12)
    assert made.dtype == torch.float32
    assert made.device.type == device
    assert made.is_contiguous(memory_format=torch.channels_last)
    reference = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    for image, mirror, got in zip(images, flipped, made.cpu(), strict=True):
        picture = Image.fromarray(image.numpy())
        if mirror:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        assert (
            torch.equal(got, reference(picture))
            if device == "cpu"
            else torch.allclose(got, reference(picture), atol=1e-6)
        )


def test_pixels_of_an_image_do_not_depend_on_its_batch():
    images, flipped = pictures(7, 12), torch.tensor([True, False] * 3 + [True])
    whole = to_pixels(images, flipped, MEAN, STD)
    for i in range(7):
        assert torch.equal(to_pixels(images[i : i + 1], flipped[i : i + 1], MEAN, STD)[0], whole[i])


def test_the_stored_images_are_left_as_they_are():
    images = pictures(7, 12)
    before = images.clone()
    to_pixels(images, torch.ones(7, dtype=torch.bool), MEAN, STD)
    to_pixels(images, None, MEAN, STD)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    "images",
    [pictures(7, 24)[::2, ::2, ::2], pictures(7, 12).permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)],
    ids=["strided", "planes apart"],
)
def test_images_in_any_memory_layout_are_fine(images):
    made = to_pixels(images, None, MEAN, STD)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(made, to_pixels(images.contiguous(), None, MEAN, STD))
