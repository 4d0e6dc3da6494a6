"""Findings about the files: unreadable, flat, small, or of a kind that another program may read otherwise."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from autofreeze.bytesize import format_bytes
from autofreeze.checks.words import counted, names_of, percent, verb, within
from autofreeze.data import PARTS, Dataset
from autofreeze.decoding import BYTES_PER_PIXEL
from autofreeze.findings import Finding
from autofreeze.survey import Survey

DARK = 1 / 8
"""Share of a 16-bit image's range below which it is nearly black on 8 bits."""


def unreadable(dataset: Dataset, survey: Survey, most: float) -> Iterator[Finding]:
    """Find images that cannot be decoded.

    Args:
        dataset: With these images still in it.
        survey: What was seen.
        most: Share of the images that may be so, 0..1.
    """
    bad = sorted(survey.unreadable)
    if not bad:
        return
    share = len(bad) / len(dataset)
    sentence = f"{len(bad):,} of {counted(len(dataset), 'image')} ({percent(share)}) cannot be read"
    way_out = "repair these files, or remove them"
    if share > most:
        sentence += f", more than {percent(most)}"
        way_out += f"; or let them be left out: --max-bad-images {np.ceil(share * 1000) / 1000:g}"
    else:
        sentence += f", and {verb(len(bad), 'is', 'are')} left out"
    yield Finding(
        kind="unreadable",
        severity="stops" if share > most else "warning",
        sentence=sentence,
        way_out=way_out,
        images=tuple((f"{dataset.paths[image]}: {survey.unreadable[image]}",) for image in bad),
    )


def flat_images(dataset: Dataset, survey: Survey) -> Iterator[Finding]:
    """Find images of one flat colour."""
    ids = within(dataset, survey.flat)
    if len(ids):
        yield Finding(
            kind="flat",
            severity="warning",
            sentence=f"{counted(len(ids), 'image')} {verb(len(ids), 'is', 'are')} one flat colour, with "
            "nothing in it to learn",
            way_out="look at them; remove what a camera or a converter wrote by mistake",
            images=names_of(dataset, ids),
        )


def dark_images(dataset: Dataset, survey: Survey) -> Iterator[Finding]:
    """Find images of 16 bits that use little of that range."""
    ids = within(dataset, _deep(survey) & (survey.peaks < DARK))
    if len(ids):
        yield Finding(
            kind="dark",
            severity="warning",
            sentence=f"{counted(len(ids), 'image')} of 16 bits {verb(len(ids), 'uses', 'use')} at most "
            f"{percent(float(survey.peaks[ids].max()))} of that range, which is nearly black on 8 bits: "
            "perhaps 12 bits stored in 16",
            way_out="scale the values to the whole range when you convert the files",
            images=names_of(dataset, ids),
        )


def odd_kinds(dataset: Dataset, survey: Survey) -> Iterator[Finding]:
    """Find images whose kind another program may read otherwise."""
    modes = np.asarray(survey.modes)
    kinds = (
        (
            "deep",
            _deep(survey),
            "16 bits per pixel, scaled to 8 by the whole range of 16",
            "do the same where you use the model: plain Pillow cuts at 255, which is white",
        ),
        (
            "transparent",
            np.strings.endswith(modes, "+alpha"),
            "transparency, which is dropped, as timm and torchvision do: what lies under it shows",
            "put the pictures on a background of your choice if that is not what you want",
        ),
        (
            "colour_space",
            np.isin(modes, ["CMYK", "YCbCr", "LAB", "HSV"]),
            "other colours than RGB (for printing, say), converted without a colour profile",
            "convert the files to sRGB if their colours matter",
        ),
    )
    for kind, which, what, way_out in kinds:
        ids = within(dataset, which)
        if len(ids):
            yield Finding(
                kind=kind,
                severity="note",
                sentence=f"{counted(len(ids), 'image')} {verb(len(ids), 'has', 'have')} {what}",
                way_out=way_out,
                images=names_of(dataset, ids),
            )


def small_images(dataset: Dataset, survey: Survey, image_size: int) -> Iterator[Finding]:
    """Find images of less than half the size that they are brought to."""
    short = np.minimum(survey.widths, survey.heights)
    ids = within(dataset, (short > 0) & (short < image_size / 2))
    if not len(ids):
        return
    total = sum(len(dataset.part(part)) for part in PARTS)
    least, most = int(short[ids].min()), int(short[ids].max())
    yield Finding(
        kind="small_images",
        severity="note",
        sentence=f"{len(ids):,} of {counted(total, 'image')} {verb(len(ids), 'has', 'have')} a short side of "
        f"{least if least == most else f'{least} to {most}'} px, less than half of {image_size}: blowing "
        "them up costs time and adds nothing",
        way_out="try a smaller --image-size"
        if len(ids) == total
        else "see whether the small ones are of some classes alone: a model learns that instead",
        images=names_of(dataset, ids),
    )


def large_images(dataset: Dataset, survey: Survey) -> Iterator[Finding]:
    """Find images of more pixels than Pillow takes for sane; of twice as many none is read."""
    most = Image.MAX_IMAGE_PIXELS or np.inf
    pixels = survey.widths.astype(np.int64) * survey.heights
    ids = within(dataset, pixels > most)
    if len(ids):
        largest = int(pixels[ids].max())
        yield Finding(
            kind="large_images",
            severity="note",
            sentence=f"{counted(len(ids), 'image')} {verb(len(ids), 'has', 'have')} more than {most:,} "
            f"pixels, up to {largest:,}: decoding one takes up to {format_bytes(largest * BYTES_PER_PIXEL)} "
            "of memory",
            way_out="bring them to a smaller size before you search",
            images=names_of(dataset, ids),
        )


def _deep(survey: Survey) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    return np.strings.startswith(np.asarray(survey.modes), "I")
