# ruff: noqa: E501 - tables are read by line
"""Changes at random: plain data in which values are others, bytes that are cut or flipped."""

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 2**70, 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"), 0.5, "", "x", "1",
    "../../etc/passwd", "\x1b[31mred", "<script>alert(1)</script>", "two\nlines", "\u202eright to left", "\ud800", "\0",
    "'; DROP TABLE", "é" * 2000, [], {}, [1], ["a"], [None], {"a": 1}, {"": None}, [[[[[[[[]]]]]]]],
)  # fmt: skip
"""Values for places where others are meant."""


hostile = st.sampled_from(HOSTILE).map(copy.deepcopy)
"""A new one each time: what was put in can be changed in turn."""


def places(plain: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Give the path of every value in plain data."""
    entries = (
        plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    )
    for key, value in entries:
        yield (*path, key)
        yield from places(value, (*path, key))


@st.composite
def changed(draw: st.DrawFn, original: Any) -> Any:
    """Draw plain data in which one to three values are others, gone, doubled or scaled."""
    plain = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(plain))
        if not found or draw(st.integers(0, 60)) == 0:
            return draw(hostile)
        path = draw(st.sampled_from(found))
        path = path[: draw(st.integers(1, len(path)))] if draw(st.booleans()) else path
        holder = plain
        for key in path[:-1]:
            holder = holder[key]
        _change(draw, holder, path[-1])
    return plain


def _change(draw: st.DrawFn, holder: Any, key: Any) -> None:
    how, value = draw(st.sampled_from(("other", "other", "gone", "doubled", "scaled"))), holder[key]
    if how == "gone":
        del holder[key]
    elif how == "doubled":
        if isinstance(holder, list):
            holder.insert(0, copy.deepcopy(value))
        else:
            holder[f"{key}2"] = copy.deepcopy(value)
    elif how == "scaled" and isinstance(value, (int, float)):
        holder[key] = value * draw(
            st.sampled_from((-1, 7, 0.5, 1e300 if isinstance(value, float) else 10**9))
        )
    elif how == "scaled" and isinstance(value, (str, list)):
        holder[key] = value[: len(value) // 2]
    else:
        holder[key] = draw(hostile)


@st.composite
def bent(draw: st.DrawFn, original: bytes) -> bytes:
    """Draw bytes that are cut, flipped, doubled or have others between them."""
    raw = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        at, length = draw(st.integers(0, len(raw))), draw(st.integers(1, 40))
        how = draw(st.sampled_from(("cut", "gone", "flipped", "doubled", "between")))
        if how == "cut":
            del raw[at:]
        elif how == "gone":
            del raw[at : at + length]
        elif how == "flipped" and at < len(raw):
            raw[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "doubled":
            raw[at:at] = raw[at : at + length]
        else:
            raw[at:at] = draw(st.sampled_from(BETWEEN))
    return bytes(raw)


BETWEEN = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n\n", b"\t", b'"', b"{", b"]", b"!!python/object:os.system x",
    b"&a ", b"*a", b"<<: ", b": ", b"- ", b"%TAG ! x\n", b"---\n", b"? ", b"\xc2\x85", b"1e999", b"-.nan", b"9" * 5000,
    b"[" * 3000, b"{a: " * 2000, "\u2028".encode(),
)  # fmt: skip


def as_text(plain: Any) -> bytes:
    """Write plain data as JSON, which is YAML too; what is no text in UTF-8 is escaped."""
    return json.dumps(plain).encode()


def difference(before: bytes, after: bytes) -> object:
    """Say in short what was changed."""
    try:
        old, new = json.loads(before), json.loads(after)
    except (ValueError, RecursionError):
        at = next(
            (at for at, (was, now) in enumerate(zip(before, after, strict=False)) if was != now), len(after)
        )
        return f"from byte {at} of {len(before)}: {after[at : at + 60]!r}, {len(after)} bytes in all"
    if not isinstance(new, (dict, list)):
        return new
    return [f"{path}: {_short(was)} -> {_short(now)}" for path, was, now in _differences(old, new, ())]


def _short(value: object) -> str:
    return repr(value)[:60]


def _differences(old: Any, new: Any, path: tuple[object, ...]) -> Iterator[tuple[str, object, object]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _differences(old.get(key, "absent"), new.get(key, "absent"), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (was, now) in enumerate(zip(old, new, strict=True)):
            yield from _differences(was, now, (*path, number))
    elif repr(old) != repr(new):
        yield ".".join(map(str, path)), old, new
