"""``autofreeze cache``: what is kept, and what is removed and what is not."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from autofreeze.bytesize import format_bytes
from autofreeze.cli import main
from autofreeze.data import open_dataset
from autofreeze.notes import FeatureSpec, StoreNote
from autofreeze.preprocessing import Preprocessing
from autofreeze.shelf import Shelf, shelves_of
from autofreeze.stores import open_decoded_store

DAY = 86_400
ENVIRONMENT = {"device": "cpu", "threads": 1, "capability": "AVX2", "torch": "2.14", "timm": "1.0"}


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """``run(*arguments)``: exit status, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("AUTOFREEZE_CACHE", str(tmp_path / "cache"))

    def call(*arguments):
        status = main(["cache", *map(str, arguments)])
        return status, *capsys.readouterr()

    return call


@pytest.fixture
def kept(tmp_path, class_folders):
    """One entry of decoded images and two of features, last used 1, 3 and 40 days ago: their keys."""
    import torch

    from autofreeze.features import FeatureStores

    cache = tmp_path / "cache"
    dataset = open_dataset(class_folders)
    images = open_decoded_store(
        dataset, Preprocessing(image_size=16, mean=(0.5,) * 3, std=(0.5,) * 3), cache_folder=cache
    )
    stores = FeatureStores(
        cache, ids=dataset.train, n_images=len(dataset), device=torch.device("cpu"), data=dataset.name
    )
    keys = [images.key]
    for view, erase in (("plain", 0.0), ("bank 3", 0.25)):
        spec = FeatureSpec(
            backbone="weights", model="some_net", boundary=2, below="names", decoded=images.key,
            image_size=16, mean=(0.5,) * 3, std=(0.5,) * 3, view=view, erase=erase, chunk=8, **ENVIRONMENT,
        )  # fmt: skip
        stores.get(spec, [(7,)], lambda ids: (torch.ones(len(ids), 7),))
        keys.append(stores.key_of(spec))
    for key, days in zip(keys, (1, 3, 40), strict=True):
        age(cache, key, days)
    return keys


def age(cache, key, days):
    then = time.time_ns() - int(days * DAY * 1e9)
    (note,) = cache.glob(f"*/{key}.json")
    os.utime(note, ns=(then, then))


def sizes(tmp_path):
    return {entry.key: entry.bytes for shelf in shelves_of(tmp_path / "cache") for entry in shelf.entries()}


def left(tmp_path):
    return set(sizes(tmp_path))


def total(tmp_path):
    return sum(sizes(tmp_path).values())


def test_the_list_says_what_of_which_data_and_model_how_large_and_when_used(
    run, kept, tmp_path, class_folders
):
    status, output, errors = run("list")
    assert (status, errors) == (0, "")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    assert [line[:8] for line in lines[2:5]] == [key[:8] for key in reversed(kept)]
    bank, plain, images = lines[2:5]
    dataset = open_dataset(class_folders)
    assert f"decoded images of {dataset.name}: {len(dataset)} images at 16 px" in images
    assert (
        f"of {dataset.name} by some_net: {len(dataset.train)} images at 16 px, below column 2, plain" in plain
    )
    assert "below column 2, bank 3, 25 % erased" in bank
    assert format_bytes(28 * len(dataset.train)) in plain
    assert time.strftime("%Y-%m-%d", time.localtime(time.time() - 3 * DAY)) in plain
    assert lines[5].startswith(
        f"{tmp_path / 'cache'}: 3 entries, {format_bytes(total(tmp_path))}; the cache may "
    )
    assert run()[1] == output


def test_the_list_as_json_holds_the_same(run, kept, class_folders):
    told = json.loads(run("list", "--json")[1])
    assert [entry["key"] for entry in told["entries"]] == kept[::-1]
    assert [entry["kind"] for entry in told["entries"]] == ["features", "features", "decoded"]
    assert told["bytes"] == sum(entry["bytes"] for entry in told["entries"])
    assert told["budget"] >= 2**30
    assert {entry["state"] for entry in told["entries"]} == {"whole"}
    assert {entry["data"] for entry in told["entries"]} == {open_dataset(class_folders).name}


def test_a_folder_that_is_not_there_holds_nothing_and_is_not_made(run, tmp_path):
    status, output, _ = run("list", "--cache", tmp_path / "none")
    assert status == 0
    assert "0 entries, 0 B" in output
    assert run("clear", "--all", "--cache", tmp_path / "none")[0] == 0
    assert not (tmp_path / "none").exists()


CHOICES = {
    ("--all",): [],
    ("--decoded",): [1, 2],
    ("--features",): [0],
    ("--older-than", "2d"): [0],
    ("--older-than", "30d", "--features"): [0, 1],
    ("--older-than", "30d", "--decoded"): [0, 1, 2],
    ("--features", "--decoded"): [],
}


@pytest.mark.parametrize(("arguments", "stay"), CHOICES.items(), ids=map(" ".join, CHOICES))
def test_what_is_chosen_is_removed_and_nothing_else(run, kept, tmp_path, arguments, stay):
    before = sizes(tmp_path)
    status, output, errors = run("clear", *arguments, "--json")
    assert (status, errors) == (0, "")
    told = json.loads(output)
    assert left(tmp_path) == {kept[number] for number in stay}
    assert {entry["key"] for entry in told["removed"]} == set(kept) - left(tmp_path)
    assert told["bytes"] == sum(size for key, size in before.items() if key not in left(tmp_path))
    assert told["busy"] == []
    notes = {path.stem for path in (tmp_path / "cache").rglob("*.json")}
    assert notes == left(tmp_path)


def test_keys_may_be_given_by_how_they_begin_and_what_was_freed_is_told(run, kept, tmp_path):
    before = total(tmp_path)
    status, output, _ = run("clear", kept[1], kept[2][:8])
    assert status == 0
    freed = format_bytes(before - total(tmp_path))
    assert output == f"{tmp_path / 'cache'}: 2 entries removed, {freed} freed\n"
    assert left(tmp_path) == {kept[0]}


WRONG = {
    (): "nothing is chosen",
    ("--all", "--features"): "--all is everything",
    ("--all", "abc"): "--all is everything",
    ("xyz", "zyx"): "zyx: no entry has this key",
    ("--older-than", "soon"): "--older-than: got 'soon'",
}


@pytest.mark.parametrize(("arguments", "words"), WRONG.items(), ids=map(" ".join, WRONG))
def test_what_chooses_nothing_or_is_unclear_is_refused_and_removes_nothing(
    run, kept, tmp_path, arguments, words
):
    status, output, errors = run("clear", *arguments)
    assert (status, output) == (2, "")
    assert words in errors
    assert len(left(tmp_path)) == 3


def test_a_beginning_of_several_keys_is_refused(run, tmp_path):
    (tmp_path / "cache/decoded").mkdir(parents=True)
    for key in ("abcd", "abce"):
        Shelf(tmp_path / "cache", "decoded").data(key).write_bytes(b"1")
    status, _, errors = run("clear", "abc")
    assert status == 2
    assert "abc: 2 keys begin so" in errors
    assert run("clear", "abcd")[0] == 0
    assert left(tmp_path) == {"abce"}


def test_what_another_process_is_filling_stays_and_what_a_killed_one_left_goes(run, kept, tmp_path):
    features = Shelf(tmp_path / "cache", "features")
    for key in ("alive", "dead"):
        features.part(key).write_bytes(bytes(1000))
    Shelf(tmp_path / "cache", "decoded").data("unnoted").write_bytes(bytes(500))
    with features.lock("alive"), features.lock(kept[1]):
        told = json.loads(run("list", "--json")[1])
        states = {entry["key"]: entry["state"] for entry in told["entries"] if entry["state"] != "whole"}
        assert states == {"alive": "being filled", "dead": "broken off", "unnoted": "broken off"}
        _, output, _ = run("clear", "--all")
        assert features.part("alive").exists()
    assert "4 entries removed" in output
    _, stayed = output.split("; left, since another process is filling it: ")
    assert set(stayed.strip().split(", ")) == {"alive", kept[1][:8]}
    assert left(tmp_path) == {kept[1]}
    assert not features.part("dead").exists()


def test_a_name_that_would_steer_a_terminal_is_shown_as_text(run, tmp_path, kept):
    (note,) = (tmp_path / "cache").glob(f"decoded/{kept[0]}.json")
    said = StoreNote.read(note.read_bytes())
    note.write_bytes(said.model_copy(update={"data": "\x1b[31m[bold]red"}).as_file())
    output = run("list")[1]
    assert r"\x1b[31m[bold]red" in output
    assert "\x1b" not in output


def test_a_search_goes_on_undisturbed_when_its_entries_are_cleared(run, tmp_path, class_folders):
    dataset = open_dataset(class_folders)
    preprocessing = Preprocessing(image_size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    store = open_decoded_store(dataset, preprocessing, cache_folder=tmp_path / "cache")
    before = np.array(store.images)
    assert run("clear", "--all")[0] == 0
    assert left(tmp_path) == set()
    assert np.array_equal(store.images, before)


@pytest.mark.parametrize("words", [["list"], ["clear", "--all"]], ids=["list", "clear"])
def test_the_cache_is_listed_and_cleared_without_torch(kept, tmp_path, words):
    code = (
        "import sys\nfrom autofreeze.cli import main\n"
        f"assert main(['cache', *{words!r}, '--cache', {str(tmp_path / 'cache')!r}]) == 0\n"
        "print('loaded:', *sorted({'torch', 'timm', 'optuna', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "3 entries" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_what_cannot_be_removed_is_told(run, tmp_path):
    (tmp_path / "cache/features/abc.bin").mkdir(parents=True)
    status, _, errors = run("clear", "--all")
    assert status == 2
    assert "cannot be cleared: " in errors
    assert str(tmp_path / "cache") in errors
