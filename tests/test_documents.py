# ruff: noqa: E501 - tables are read by line
"""Reading and writing YAML and whole files."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autofreeze.documents import MAX_BYTES, MAX_DEPTH, parse_yaml, read_yaml, to_yaml, write_text, write_yaml
from autofreeze.errors import ConfigError

LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)
"""Nine lines that stand for a billion entries."""

keys = st.text("abcdefghij_.-0123456789 ~:#'\"", min_size=1, max_size=8)
plain = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12),
    st.sampled_from(["1e-4", "null", "yes", "2020-01-01", "0x10", "~", "- a", "a: b", "# no", "?a", ":a", ""]),
)  # fmt: skip
documents = st.recursive(
    plain,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=10,
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(keys, documents, min_size=1, max_size=3))
def test_what_is_written_is_read_back_the_same(data):
    assert parse_yaml(to_yaml(data)).data == data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E-4", 1e-4),
        ("3", 3),
        ("0x10", 16),
        ("yes", "yes"),
        ("true", True),
        ("null", None),
        ("40%", "40%"),
        ("2020-01-01", "2020-01-01"),
        ("'1e-4'", "1e-4"),
    ],
)
def test_scalars_are_read_as_yaml_1_2_has_them(text, value):
    read = parse_yaml(f"a: {text}\n").data["a"]
    assert read == value
    assert type(read) is type(value)


def test_aliases_stand_for_what_they_name():
    assert parse_yaml("a: &x {b: 1}\nc: [*x, *x]\nd: {<<: *x, e: 2}\n").data == {
        "a": {"b": 1}, "c": [{"b": 1}, {"b": 1}], "d": {"b": 1, "e": 2},
    }  # fmt: skip


HARD_TEXT = [
    "\x85",
    "a\x85b",
    "\u2028",
    "\x7f",
    "😀",
    "\udce9",
    "é",
    "\t",
    "\r",
    "a\nb",
    " a ",
    "\\",
    '"',
    "'",
    "\ufeff",
]


@pytest.mark.parametrize("text", HARD_TEXT, ids=ascii)
def test_json_of_any_program_and_our_own_yaml_keep_every_text(text):
    data = {"a": {text: [text, {text: text}]}}
    assert parse_yaml(json.dumps(data)).data == data
    assert parse_yaml(to_yaml(data)).data == data


def test_problems_are_told_with_the_lines_of_what_they_name():
    document = parse_yaml("a:\n  b.c: [1,\n    2]\n")
    problems = ["a.b.c.1: got 2; must be 3", "a.d: missing", "no path at all"]
    assert document.located(problems) == ["line 3: a.b.c.1: got 2; must be 3", *problems[1:]]


def test_every_key_and_item_knows_its_line():
    document = parse_yaml("# comment\na: 1\n\nb:\n  - x\n  - {c: 2,\n     d: 3}\n")
    assert document.line_of("a") == "line 2"
    assert document.line_of("b") == "line 4"
    assert document.line_of("b", 1) == "line 6"
    assert document.line_of("b", 1, "d") == "line 7"
    assert document.line_of("nowhere") == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 'line 3: found duplicate key "a"'),
        ("a: {b: 1, b: 2}\n", 'line 1: found duplicate key "b"'),
        ("a: [1\nb: 2\n", "line 2: not valid YAML: "),
        ("a: 1\n---\nb: 2\n", "line 2: not valid YAML: but found another document"),
        ("a: *b\n", "line 1: not valid YAML: "),
        ("a: !!python/object:os.system 1\nb: !x {}\n", "line 1: the tag tag:yaml.org,2002:python/object"),
        ("a: \x00\n", "not valid YAML: "),
        ("a: &x [*x]\n", "line 1: the alias *x lies in what it names"),
        ("a: 1\nb: &x {c: [*x]}\n", "line 2: the alias *x lies in what it names"),
        (LAUGHS, "line 5: with *a3 aliases repeat over 100,000 entries"),
    ],
    ids=[
        "key twice",
        "inner key twice",
        "unclosed",
        "two documents",
        "no anchor",
        "tags",
        "NUL",
        "loop",
        "inner loop",
        "laughs",
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text, words):
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, where="f.yaml")
    assert caught.value.problems[0].startswith(words)
    assert caught.value.where == "f.yaml"


def test_all_tags_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_yaml("a: !x 1\nb: !!set {c}\nc: [!y {}]\n")
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["line 1", "line 2", "line 3"]


def test_files_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_yaml(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match="cannot be read: it is not text"):
        read_yaml(tmp_path / "b.yaml")
    (tmp_path / "big.yaml").write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than 1,000,000 bytes"):
        read_yaml(tmp_path / "big.yaml")


def test_a_header_is_written_as_comments(tmp_path):
    write_yaml(tmp_path / "new" / "a.yaml", {"a": [1, 2]}, header="one\n\ntwo")
    assert (tmp_path / "new" / "a.yaml").read_text() == "# one\n#\n# two\na: [1, 2]\n"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]  # noqa: PTH208 - hidden files too, by name


@pytest.mark.parametrize(
    "text", ["a:\n  b: " + "[" * 100_000, "a:\n  " + "- " * 100_000, "a:\n  " + "{a: " * 100_000]
)
def test_what_is_nested_too_deeply_is_refused_before_it_takes_minutes(text):
    with pytest.raises(
        ConfigError, match=f"deep.yaml: line 2: mappings and lists are nested over {MAX_DEPTH} deep"
    ):
        parse_yaml(text, where="deep.yaml")


def test_what_is_nested_as_deeply_as_allowed_is_read():
    assert parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH).data is not None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "space.yaml")
    with pytest.raises(ConfigError, match="is no regular file"):
        read_yaml(tmp_path / "space.yaml")
