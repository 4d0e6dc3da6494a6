"""Glyphs: letters rendered from fonts and roughened until they resemble handwriting. No digits.

The demonstration's backbone learns to read these and has to transfer to digits, so neither digits nor the
letters that pass for them are among the glyphs.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from autofreeze.errors import ConfigError

Pixels = NDArray[np.uint8]

GLYPHS = "ACDEFHJKLMNPQRTUVWXY" + "adefhmnrty" + "αγεζηλμξπφχψω" + "ΓΔΛΞΠΣΦΨΩ" + "ДЖИЦШЭЮЯ"
"""Latin, Greek and Cyrillic letters, a class each. Left out: small letters that are the capital over again
(c, k, p …) and letters that pass for digits (O I l Z S B b G g q, β δ θ σ, З Ч Ь …)."""

FACES = (
    *(f"DejaVuSans{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSansMono{style}" for style in ("", "-Bold", "-Oblique", "-BoldOblique")),
    *(f"DejaVuSerif{style}" for style in ("", "-Bold", "-Italic", "-BoldItalic")),
    *(f"STIXGeneral{style}" for style in ("", "Bol", "Italic", "BolIta")),
    "cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10",
)  # fmt: skip
"""Fonts that come with matplotlib."""

SIZE = 32
"""Side of a glyph's image in pixels."""

_CANVAS = 64  # px on which a glyph is bent
_BODY = 44  # px of its longer side there: what it may be bent by still fits
_GRID = 3  # cells of the mesh by which it is bent, each way
_NOWHERE = "\U0010fffd"  # a private character: every font draws its sign for "missing"


def font_files() -> tuple[Path, ...]:
    """Give the files of :data:`FACES`.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        raise ConfigError("the fonts come with matplotlib, which is not here; pip install matplotlib")
    folder = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"
    return tuple(folder / f"{name}.ttf" for name in FACES)


def render(
    per_glyph: int, *, seed: int, glyphs: str = GLYPHS, fonts: Sequence[Path] = ()
) -> tuple[Pixels, NDArray[np.int64]]:
    """Render glyphs, each copy from another font and bent in another way.

    Args:
        per_glyph: Copies of each glyph, >= 1.
        seed: Decides everything.
        glyphs: One character for each class.
        fonts: Font files besides Pillow's own font, which is always used.

    Returns:
        Images uint8 (n, 32, 32), bright strokes on black, and labels int64 (n,), an index into ``glyphs``.
        An image depends on the seed, its glyph, its copy's number and the fonts alone.

    Raises:
        ConfigError: No font has one of the glyphs.
    """
    images = np.empty((len(glyphs) * per_glyph, SIZE, SIZE), np.uint8)
    for label, glyph in enumerate(glyphs):
        templates = list(_templates(glyph, fonts))
        if not templates:
            raise ConfigError(f"no font has the glyph {glyph!r}; give more fonts")
        for copy in range(per_glyph):
            rng = np.random.default_rng([seed, ord(glyph), copy])
            images[label * per_glyph + copy] = _roughened(templates[rng.integers(len(templates))], rng)
    return images, np.repeat(np.arange(len(glyphs), dtype=np.int64), per_glyph)


def _templates(glyph: str, fonts: Sequence[Path]) -> Iterator[Image.Image]:
    """Draw a glyph in every font that has it, white on black, its longer side always the same."""
    for path in (None, *fonts):
        if not _has(path, glyph):
            continue
        mask = _mask(path, glyph)
        scale = _BODY / max(mask.size)
        width, height = (max(1, round(side * scale)) for side in mask.size)
        canvas = Image.new("L", (_CANVAS, _CANVAS))
        small = mask.resize((width, height), Image.Resampling.BILINEAR)
        canvas.paste(small, ((_CANVAS - width) // 2, (_CANVAS - height) // 2))
        yield canvas


def _has(path: Path | None, glyph: str) -> bool:
    return _mask(path, glyph) != _mask(path, _NOWHERE)


def _mask(path: Path | None, glyph: str) -> Image.Image:
    """Draw one character, cut to what it covers."""
    image = Image.new("L", (4 * _CANVAS, 4 * _CANVAS))
    ImageDraw.Draw(image).text((_CANVAS, _CANVAS), glyph, fill=255, font=_font(path))
    return image.crop(image.getbbox())


def _roughened(template: Image.Image, rng: np.random.Generator) -> Pixels:
    """Bend a glyph, give it another stroke width, and see it through few, noisy pixels."""
    bent = template.transform(template.size, Image.Transform.MESH, _mesh(rng), Image.Resampling.BILINEAR)
    soft = bent.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2.0)))
    limit = rng.uniform(60, 150)
    ink = soft.point([255 * (value > limit) for value in range(256)])
    ink = ink.crop((ink if ink.getbbox() else soft).getbbox())  # a hairline may have gone altogether
    side = int(rng.integers(8, 13))
    scale = side / max(ink.size)
    stretch = rng.uniform(0.85, 1.2)
    width = min(side, max(1, round(ink.width * scale * stretch)))
    height = min(side, max(1, round(ink.height * scale / stretch)))
    coarse = Image.new("L", (side, side))
    small = ink.resize((width, height), Image.Resampling.BOX)
    coarse.paste(small, ((side - width) // 2, (side - height) // 2))
    pixels = np.asarray(coarse) * rng.uniform(0.7, 1.0) + rng.normal(0, rng.uniform(0, 12), (side, side))
    noisy = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return np.asarray(noisy.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def _mesh(rng: np.random.Generator) -> list[tuple[tuple[int, int, int, int], tuple[float, ...]]]:
    """Cells of the canvas and the corners they are taken from: turned, slanted, each node moved a little."""
    turn, slant = np.deg2rad(rng.normal(0, 7)), rng.normal(0, 0.2)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [[1, slant], [0, 1]]
    ticks = np.linspace(0, _CANVAS, _GRID + 1)
    nodes = np.stack(np.meshgrid(ticks, ticks), axis=-1)  # (rows, columns, x and y)
    taken = (nodes - _CANVAS / 2) @ matrix.T + _CANVAS / 2 + rng.normal(0, 2.5, nodes.shape)
    cells = []
    for row in range(_GRID):
        for column in range(_GRID):
            box = (*nodes[row, column].astype(int).tolist(), *nodes[row + 1, column + 1].astype(int).tolist())
            around = [(row, column), (row + 1, column), (row + 1, column + 1), (row, column + 1)]
            cells.append((box, tuple(float(value) for corner in around for value in taken[corner])))
    return cells


@cache
def _font(path: Path | None) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(64) if path is None else ImageFont.truetype(path, 64)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font
