"""One budget for all that the cache holds: what was used longest ago goes first, what is open stays."""

import os
import shutil
import time

import pytest

from autofreeze import shelf
from autofreeze.shelf import Hold, NoRoomError, Shelf, default_budget, is_open, shelves_of, write_whole


@pytest.fixture
def cache(tmp_path):
    for kind in shelf.SUFFIXES:
        (tmp_path / kind).mkdir()
    return tmp_path


def put(cache, kind, key, size, *, age=0.0):
    """An entry that was used ``age`` seconds ago."""
    own = Shelf(cache, kind)
    own.data(key).write_bytes(bytes(size))
    own.note(key).write_text("{}")
    then = time.time_ns() - int(age * 1e9)
    os.utime(own.note(key), ns=(then, then))
    return own


def fill(cache, kind, key, size, budget, **options):
    own = Shelf(cache, kind)
    with own.lock(key), own.filling(key, size, budget, **options) as part:
        assert part.stat().st_size == size
        own.keep(key, b"{}")


def held(cache):
    return {(entry.shelf.kind, entry.key) for own in shelves_of(cache) for entry in own.entries()}


def test_one_budget_holds_for_both_kinds_and_the_one_used_longest_ago_goes_first(cache):
    put(cache, "decoded", "a", 1000, age=10)
    put(cache, "features", "b", 1000, age=30)
    put(cache, "decoded", "c", 1000, age=20)
    fill(cache, "features", "d", 1000, 3000)
    assert held(cache) == {("decoded", "a"), ("decoded", "c"), ("features", "d")}
    fill(cache, "decoded", "e", 1500, 3000)
    assert held(cache) == {("features", "d"), ("decoded", "e")}


@pytest.mark.parametrize("beside_open", [False, True])
def test_what_this_process_has_open_is_never_evicted(cache, beside_open):
    images = put(cache, "decoded", "images", 1000)
    put(cache, "features", "other", 1000, age=10)
    hold = Hold(images, "images")
    os.utime(images.note("images"), ns=(0, 0))  # used longest ago, all the same
    fill(cache, "features", "new", 1000, 2000, beside_open=beside_open)
    assert held(cache) == {("decoded", "images"), ("features", "new")}
    del hold
    fill(cache, "features", "newer", 1000, 2000)
    assert ("features", "newer") in held(cache)
    assert len(held(cache)) == 2


def test_features_that_do_not_fit_beside_what_is_open_are_refused_and_nothing_is_evicted(cache):
    hold = Hold(put(cache, "decoded", "images", 1000), "images")
    put(cache, "features", "other", 500, age=10)
    with pytest.raises(NoRoomError, match=r"need 1.2 kB, and beside what is in use .* 1 kB more") as caught:
        fill(cache, "features", "new", 1200, 2000, beside_open=True)
    assert caught.value.enough == 2200
    assert held(cache) == {("decoded", "images"), ("features", "other")}
    fill(cache, "decoded", "needed", 1200, 2000)  # images that a search cannot do without
    assert held(cache) == {("decoded", "images"), ("decoded", "needed")}
    del hold


def test_features_keep_within_the_budget_where_another_process_is_filling_what_should_go(cache):
    own = put(cache, "features", "busy", 1000, age=10)
    with own.lock("busy"), pytest.raises(NoRoomError, match="beside what is in use") as caught:
        fill(cache, "features", "new", 1200, 2000, beside_open=True)
    assert caught.value.enough == 2200
    assert held(cache) == {("features", "busy")}


def test_a_hold_ends_with_the_last_of_its_users(cache):
    own = put(cache, "decoded", "a", 10)
    first, second = Hold(own, "a"), Hold(own, "a")
    assert is_open(own, "a")
    del first
    assert is_open(own, "a")
    del second
    assert not is_open(own, "a")


def test_a_use_is_noted_now_and_then(cache, monkeypatch):
    own = put(cache, "decoded", "a", 10, age=5000)
    put(cache, "decoded", "b", 10, age=50)
    hold = Hold(own, "a")
    assert own.note("a").stat().st_mtime_ns > own.note("b").stat().st_mtime_ns
    os.utime(own.note("a"), ns=(0, 0))
    hold.touch()
    assert own.note("a").stat().st_mtime_ns == 0  # just done
    monkeypatch.setattr(shelf, "TOUCH_SECONDS", 0.0)
    hold.touch()
    assert own.note("a").stat().st_mtime_ns > own.note("b").stat().st_mtime_ns


def test_an_entry_larger_than_the_budget_is_refused_before_anything_is_evicted(cache):
    put(cache, "decoded", "a", 1000)
    with pytest.raises(NoRoomError, match="need 3 kB, and the cache may hold 2 kB"):
        fill(cache, "features", "b", 3000, 2000)
    assert held(cache) == {("decoded", "a")}
    assert not Shelf(cache, "features").part("b").exists()


def test_an_entry_larger_than_the_disk_is_refused_before_it_is_filled(cache):
    more = shutil.disk_usage(cache).total * 2
    with pytest.raises(NoRoomError, match="and the disk has"):
        fill(cache, "features", "b", more, more)
    assert list(Shelf(cache, "features").folder.glob("*.part")) == []


def test_what_is_being_filled_takes_its_space_from_the_start_on_every_shelf(cache):
    put(cache, "decoded", "a", 500, age=10)
    own = Shelf(cache, "decoded")
    with own.lock("b"), own.filling("b", 300_000, 10**6) as part:
        assert part.stat().st_size == 300_000
        if hasattr(os, "posix_fallocate"):
            assert part.stat().st_blocks * 512 >= 300_000
        fill(cache, "features", "c", 700_000, 10**6)
        assert held(cache) == {("features", "c")}
        with pytest.raises(NoRoomError, match="beside what is in use"):
            fill(cache, "features", "d", 700_001, 10**6, beside_open=True)


def test_half_filled_entries_of_killed_processes_are_removed_from_every_shelf(cache):
    for own in shelves_of(cache):
        own.part("dead").write_bytes(bytes(10**6))
    busy = Shelf(cache, "decoded")
    busy.part("alive").write_bytes(bytes(10))
    with busy.lock("alive"):
        fill(cache, "features", "b", 1000, 2000)
        assert [part for own in shelves_of(cache) for part in own.parts()] == ["alive"]


def test_a_block_that_breaks_off_leaves_no_half_entry(cache):
    own = Shelf(cache, "features")
    with pytest.raises(ZeroDivisionError), own.lock("a"), own.filling("a", 1000, 2000):
        raise ZeroDivisionError
    assert [path.suffix for path in own.folder.iterdir()] == [".lock"]


def test_the_default_budget_counts_what_all_shelves_hold_as_free(cache, monkeypatch):
    monkeypatch.setattr(shelf, "LEAST_DEFAULT", 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 0, 1000))
    put(cache, "decoded", "a", 500)
    put(cache, "features", "b", 500)
    assert default_budget(cache) == 400
    assert default_budget(cache / "not" / "there") == 200


def test_a_note_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "note.json").mkdir()
    with pytest.raises(OSError, match="note"):
        write_whole(tmp_path / "note.json", b"{}")
    assert [path.name for path in tmp_path.iterdir()] == ["note.json"]
