"""The recorded cells that several benchmarks play, and where their tables lie."""

from pathlib import Path

TABLES = Path(__file__).parent / "replay"

DEPTHS = {"hym_v2": "hym_v2", "hym_birds": "hym_v2", "covid_v2": "covid_v2"}
"""Cell -> whose depth table tells the luck of its seeds."""
