"""Colours by what they mean; light and dark pages have their own for each.

Told apart without colour as well: by symbol, dash or hatch. Sets are those of Okabe and Ito (Color Universal
Design, 2008), darkened or lightened until they stand out from the page at 3 to 1 at least (WCAG 2.2).
"""

INK, MUTED, GRID, PAPER = "token:ink", "token:muted", "token:grid", "token:paper"
BEST, BASELINE, OTHER = "token:best", "token:baseline", "token:other"
GOOD, BAD, WARN, FROZEN = "token:good", "token:bad", "token:warn", "token:frozen"
SERIES = tuple(f"token:series{number}" for number in range(8))
"""For things of equal rank, in this order."""

LIGHT = {
    INK: "#1a1a1a", MUTED: "#5f6368", GRID: "#e3e5e8", PAPER: "#ffffff",
    BEST: "#0b6e4f", BASELINE: "#a8480c", OTHER: "#5b6b7f",
    GOOD: "#0b6e4f", BAD: "#b3261e", WARN: "#8a6100", FROZEN: "#d5d9de",
}  # fmt: skip
DARK = {
    INK: "#eceff3", MUTED: "#a7b0bb", GRID: "#343a43", PAPER: "#14171c",
    BEST: "#35c795", BASELINE: "#f08a4b", OTHER: "#93a4ba",
    GOOD: "#35c795", BAD: "#ff8a80", WARN: "#e6b84a", FROZEN: "#3b424c",
}  # fmt: skip

_LIGHT_SERIES = ("#0068a8", "#a8480c", "#0b6e4f", "#a24d84", "#8a6100", "#2d7fa8", "#5b5bb5", "#5f6368")
_DARK_SERIES = ("#5ab4ee", "#f08a4b", "#35c795", "#e28fc0", "#e6b84a", "#7cc7e8", "#a5a5f0", "#a7b0bb")
LIGHT |= dict(zip(SERIES, _LIGHT_SERIES, strict=True))
DARK |= dict(zip(SERIES, _DARK_SERIES, strict=True))

SEQUENTIAL = "scale:sequential"
"""A scale from little to much, for ``colorscale``."""

SCALES = {
    SEQUENTIAL: {
        "light": ((0.0, "#dbe9f6"), (0.35, "#8ab6dd"), (0.7, "#2f74b5"), (1.0, "#08305c")),
        "dark": ((0.0, "#16304a"), (0.35, "#2c6ba3"), (0.7, "#6fb1e6"), (1.0, "#e6f3ff")),
    }
}

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
HATCHES = ("", "/", "x", ".", "+", "-", "|", "\\")
