"""Features are computed once, come back with the same bits, and are never lost, half there, or in the way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from autofreeze import features
from autofreeze.features import FeatureSpec, FeatureStores, here
from autofreeze.rowlayout import empty_rows, packed, row_strides, unpacked
from autofreeze.shelf import Shelf, is_open

CPU = torch.device("cpu")
N_IMAGES = 60
IDS = np.arange(3, 50)
SHAPES = [(4, 6, 6), (5,)]
CHUNK = 8


def spec(**changes):
    fields = {
        "backbone": "weights", "model": "some_net", "boundary": 2, "below": "names", "decoded": "images",
        "image_size": 12, "mean": (0.5,) * 3, "std": (0.5,) * 3, "view": "plain", "chunk": CHUNK, **here(CPU),
    }  # fmt: skip
    return FeatureSpec(**{**fields, **changes})


class Prefix:
    """A convolution over random images, in chunks of one size, and what it was asked for."""

    def __init__(self, dtype=torch.float32):
        draw = torch.Generator().manual_seed(0)
        self.images = torch.randn(N_IMAGES, 3, 12, 12, generator=draw)
        self.kernel = torch.randn(4, 3, 3, 3, generator=draw)
        self.dtype = dtype
        self.asked = []

    def __call__(self, ids):
        self.asked.append(ids.tolist())
        pixels = torch.zeros(CHUNK, 3, 12, 12).contiguous(memory_format=torch.channels_last)
        pixels[: len(ids)] = self.images[torch.from_numpy(ids)]
        maps = F.conv2d(pixels, self.kernel, stride=2, padding=1).to(self.dtype)
        return maps[: len(ids)], maps.flatten(1)[: len(ids), :5]


def stores(cache, ids=IDS, **options):
    return FeatureStores(cache, ids=ids, n_images=N_IMAGES, device=CPU, **options)


def assert_right(store, ids=(7, 3, 49, 7), dtype=torch.float32):
    ids = np.array(ids)
    for found, expected in zip(store.rows(ids), Prefix(dtype)(ids), strict=True):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


def leftovers(cache):
    known = {".bin", ".json", ".lock"}
    return [path.name for path in Path(cache).rglob("*") if path.is_file() and path.suffix not in known]


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def filled(cache):
    """A filled entry, and nobody that has it open."""
    own = stores(cache)
    return own.get(spec(), SHAPES, Prefix()) and Shelf(cache, "features").data(own.key_of(spec()))


# Bits


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_rows_are_what_was_computed_to_the_bit_in_any_order_and_repeated(cache, dtype):
    kind = getattr(torch, dtype)
    store = stores(cache).get(spec(dtype=dtype), SHAPES, Prefix(kind))
    assert_right(store, dtype=kind)
    assert_right(store, IDS[::-1][:CHUNK], kind)
    assert [tensor.shape for tensor in store.rows(np.array([], np.int64))] == [(0, 4, 6, 6), (0, 5)]


def test_rows_have_the_strides_that_were_computed(cache):
    maps, _ = stores(cache).get(spec(), SHAPES, Prefix()).rows(IDS[:3])
    assert maps.stride() == Prefix()(IDS[:3])[0].stride() == (144, 1, 24, 4)


@pytest.mark.parametrize("folder", ["cache", None], ids=["file", "memory"])
def test_rows_belong_to_the_caller(cache, folder):
    own = stores(folder and cache)
    store = own.get(spec(), SHAPES, Prefix())
    for tensor in store.rows(IDS):
        tensor.zero_()
    assert_right(store)
    assert_right(stores(folder and cache).get(spec(), SHAPES, Prefix()))


def test_images_are_computed_once_in_chunks_of_one_size_in_order_and_told(cache):
    prefix, told = Prefix(), []
    own = stores(cache, progress=lambda *done: told.append(done))
    store = own.get(spec(), SHAPES, prefix)
    assert prefix.asked == [IDS[start : start + CHUNK].tolist() for start in range(0, len(IDS), CHUNK)]
    assert told == [(min(start + CHUNK, 47), 47) for start in range(0, 47, CHUNK)]
    assert own.get(spec(), SHAPES, prefix) is store
    again = stores(cache).get(spec(), SHAPES, prefix)
    assert (store.filled, again.filled) == (True, False)
    assert len(prefix.asked) == 6
    assert_right(again)
    assert own.notes == ()
    assert leftovers(cache) == []


def test_images_that_are_not_stored_are_refused(cache):
    store = stores(cache).get(spec(), SHAPES, Prefix())
    for stranger in (0, 55):
        with pytest.raises(KeyError, match=f"of image {stranger}"):
            store.rows(np.array([5, stranger]))


OTHER = {
    "backbone": "x", "model": "x", "boundary": 3, "below": "x", "decoded": "x", "image_size": 13,
    "mean": (0.4,) * 3, "std": (0.4,) * 3, "view": "flipped", "erase": 0.5, "dtype": "float64", "chunk": 9,
    "device": "x", "threads": 99, "capability": "x", "torch": "x", "timm": "x",
}  # fmt: skip


def test_the_key_follows_from_everything_that_the_bits_follow_from(cache):
    assert set(OTHER) == set(FeatureSpec.model_fields)
    keys = [stores(cache).key_of(spec(**{name: value})) for name, value in OTHER.items()]
    keys += [stores(cache).key_of(spec()), stores(cache, ids=IDS[1:]).key_of(spec())]
    assert len(set(keys)) == len(keys)
    assert stores(cache).key_of(spec(**here(CPU))) == stores(cache).key_of(spec())


def test_the_machines_part_of_the_key_follows_the_threads_and_the_instruction_set():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        assert here(CPU)["threads"] == before + 1
    finally:
        torch.set_num_threads(before)
    assert here(CPU)["capability"] == torch.backends.cpu.get_cpu_capability()
    assert here(CPU)["torch"] == torch.__version__


LAYOUTS = {
    "channels last": torch.randn(6, 4, 3, 2).contiguous(memory_format=torch.channels_last),
    "contiguous": torch.randn(6, 4, 3),
    "one pixel": torch.randn(6, 4, 1, 1).contiguous(memory_format=torch.channels_last),
    "turned": torch.randn(6, 3, 4).transpose(1, 2),
    "gaps": torch.randn(6, 4, 8)[:, :, ::2],
    "expanded": torch.randn(6, 1, 3).expand(6, 4, 3),
    "one number": torch.randn(6),
}


@pytest.mark.parametrize("tensor", LAYOUTS.values(), ids=LAYOUTS)
def test_packing_and_unpacking_gives_the_same_numbers_in_the_same_layout(tensor):
    strides = row_strides(tensor)
    rows = packed(tensor, strides)
    assert rows.is_contiguous()
    back = unpacked(rows, tensor.shape[1:], strides)
    assert torch.equal(back, tensor)
    dense = tensor.stride()[1:] == strides
    assert dense or not tensor.is_contiguous()
    assert back.stride()[1:] == empty_rows(tensor, 2).stride()[1:] == strides
    assert packed(back, strides).data_ptr() == rows.data_ptr()


# Processes

CHILD = """
import resource, sys
from pathlib import Path
import test_features as t

def wait(word):
    print(word, flush=True)
    sys.stdin.readline()

def limit_files():  # what is written beyond fails, as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, -1))

def get(folder, at_half):
    prefix, own = t.Prefix(), t.stores(Path(sys.argv[1]) / folder)
    def compute(ids):
        if len(prefix.asked) == 3:
            at_half()
        return prefix(ids)
    store = own.get(t.spec(), t.SHAPES, compute)
    return store and store.filled, len(prefix.asked), *own.notes

print(get("shared", lambda: wait("half")))
print(get("fills up", limit_files))
print(get("full", None))
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
get("killed", lambda: wait("half again"))
"""


@pytest.fixture
def child(tmp_path):
    """Another process that fills one entry after the other."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as started:
        yield started
        started.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="limits and signals of POSIX")
def test_of_two_processes_one_waits_and_a_full_disk_or_a_kill_leaves_nothing_half_there(child, tmp_path):
    def hears(text):
        assert child.stdout.readline() == text + "\n"

    # One fills, the other waits for it.
    shared = Shelf(tmp_path / "shared", "features")
    key = stores(tmp_path).key_of(spec())
    prefix, waited = Prefix(), []
    hears("half")
    assert shared.part(key).stat().st_size == 47 * 144 * 4 + 1600 + 47 * 5 * 4  # its space, from the start
    waits = Thread(target=lambda: waited.append(stores(tmp_path / "shared").get(spec(), SHAPES, prefix)))
    waits.start()
    waits.join(0.3)
    assert waits.is_alive()
    child.stdin.write("\n")
    child.stdin.flush()
    waits.join(30)
    hears("(True, 6)")
    assert (waited[0].filled, prefix.asked) == (False, [])
    assert_right(waited[0])

    # The disk fills up half way; then it is full from the start.
    for folder, answer in (("fills up", "(None, 4, "), ("full", "(None, 0, ")):
        told = child.stdout.readline()
        assert told.startswith(answer)
        assert "computed again for each batch" in told
        assert "File too large" in told
        assert [path.suffix for path in (tmp_path / folder / "features").iterdir()] == [".lock"]

    # Killed half way: whoever comes next starts anew.
    hears("half again")
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert leftovers(tmp_path / "killed") == [f"{key}.part"]
    store = stores(tmp_path / "killed").get(spec(), SHAPES, prefix)
    assert (store.filled, len(prefix.asked)) == (True, 6)
    assert_right(store)
    assert leftovers(tmp_path) == []


# Harm


def alter(path):
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def alter_last(path):
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([byte ^ 128]))


def swap_rows(path):
    whole = bytearray(path.read_bytes())
    whole[:1152] = whole[576:1152] + whole[:576]
    path.write_bytes(whole)


def change_note(**changes):
    def change(path):
        note = path.with_suffix(".json")
        note.write_text(json.dumps(json.loads(note.read_text()) | changes))

    return change


HARM = {
    "cut short": lambda path: os.truncate(path, path.stat().st_size - 1),
    "longer": lambda path: os.truncate(path, path.stat().st_size + 1),
    "empty": lambda path: path.write_bytes(b""),
    "one bit": alter,
    "one bit of the last number": alter_last,
    "rows in another order": swap_rows,
    "gone": lambda path: path.unlink(),
    "no note": lambda path: path.with_suffix(".json").unlink(),
    "torn note": lambda path: path.with_suffix(".json").write_text('{"key": "'),
    "note of other shapes": change_note(shapes=[[6, 6, 4], [5]]),
    "note of other strides": change_note(strides=[[36, 6, 1], [1]]),
    "note of fewer strides": change_note(strides=[[36, 6, 1]]),
    "note of other features": change_note(spec=spec(view="flipped").model_dump(mode="json")),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_an_entry_that_was_harmed_is_found_out_and_computed_again(cache, filled, harm):
    harm(filled)
    own, prefix = stores(cache), Prefix()
    store = own.get(spec(), SHAPES, prefix)
    assert store.filled
    assert_right(store)
    assert not stores(cache).get(spec(), SHAPES, prefix).filled
    assert leftovers(cache) == []
    told = [note for note in own.notes if "computed again" in note]
    assert len(told) == (harm not in (HARM["gone"], HARM["no note"]))


def test_an_entry_that_is_evicted_and_filled_again_under_a_running_process_harms_nobody(cache):
    own = stores(cache)
    store = own.get(spec(), SHAPES, Prefix())
    assert Shelf(cache, "features").evict(store.key)
    assert_right(store)
    assert own.get(spec(), SHAPES, Prefix()) is store
    again = stores(cache).get(spec(), SHAPES, Prefix())
    assert again.filled
    alter(Shelf(cache, "features").data(store.key))  # a file of its own
    assert_right(store)


def test_what_compute_raises_passes_through_and_leaves_nothing(cache):
    def fails(ids):
        raise RuntimeError("out of memory")

    own = stores(cache)
    with pytest.raises(RuntimeError, match="out of memory"):
        own.get(spec(), SHAPES, fails)
    assert leftovers(cache) == []
    assert own.get(spec(), SHAPES, Prefix()).filled


def test_what_compute_gives_must_be_as_agreed(cache):
    for shapes, changes in (([(4, 6, 6)], {}), ([(4, 6, 6), (6,)], {}), (SHAPES, {"dtype": "float16"})):
        with pytest.raises(ValueError, match=r"features below column 2 \(plain\)"):
            stores(cache).get(spec(**changes), shapes, Prefix())
    assert leftovers(cache) == []


# Where there is no room


def test_a_budget_too_small_for_one_entry_is_told_once_with_the_size_that_would_do(cache):
    own, prefix = stores(cache, budget_bytes=20_000), Prefix()
    for _ in range(2):
        assert own.get(spec(), SHAPES, prefix) is None
    (note,) = own.notes
    assert "need 29.6 kB, and the cache may hold 20 kB; allow more with --cache-size 1MB" in note
    assert prefix.asked == []
    assert stores(cache, budget_bytes=30_000).get(spec(), SHAPES, prefix).filled
    assert leftovers(cache) == []


def test_features_never_evict_what_the_search_reads(cache):
    own = stores(cache, budget_bytes=70_000)
    one = own.get(spec(), SHAPES, Prefix())
    two = own.get(spec(view="flipped"), SHAPES, Prefix())
    assert own.get(spec(boundary=3), SHAPES, Prefix()) is None
    assert "beside what is in use the cache may hold 10.8 kB more" in own.notes[0]
    assert {entry.key for entry in Shelf(cache, "features").entries()} == {one.key, two.key}
    kept = two.key
    del own, one, two
    stores(cache).get(spec(view="flipped"), SHAPES, Prefix())  # used last
    assert not is_open(Shelf(cache, "features"), kept)
    third = stores(cache, budget_bytes=70_000).get(spec(boundary=3), SHAPES, Prefix())
    assert {entry.key for entry in Shelf(cache, "features").entries()} == {kept, third.key}


def test_no_images_are_no_entry(cache):
    own = stores(cache, ids=IDS[:0])
    assert own.get(spec(), SHAPES, Prefix()) is None
    assert "there are no images" in own.notes[0]


@pytest.mark.parametrize("place", ["/proc/none", "a file", "below a file"])
def test_where_nothing_can_be_written_features_are_kept_in_memory_and_that_is_told(tmp_path, place):
    (tmp_path / "file").write_text("in the way")
    folder = {"a file": tmp_path / "file", "below a file": tmp_path / "file/below"}.get(place, Path(place))
    own = stores(folder)
    store = own.get(spec(), SHAPES, Prefix())
    assert (store.tier, store.filled) == ("memory", True)
    assert_right(store)
    (note,) = own.notes
    assert "kept in memory for this run alone: the cache folder cannot be written to" in note
    tight = stores(folder, budget_bytes=20_000)
    assert tight.get(spec(), SHAPES, Prefix()) is None
    assert "of the memory they need 29.6 kB where 20 kB may be used" in tight.notes[0]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB, and a way to make it read-only."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(*options):
        return subprocess.run(["mount", *options, str(disk)], capture_output=True, check=False).returncode

    if sys.platform != "linux" or os.geteuid() != 0 or mount("-t", "tmpfs", "-o", "size=64k", "tmpfs"):
        pytest.skip("needs the right to mount")
    try:
        yield disk, lambda: mount("-o", "remount,ro")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_told_and_nothing_is_left_there(small_disk):
    disk, _ = small_disk
    (disk / "other").write_bytes(bytes(40_000))
    own, prefix = stores(disk), Prefix()
    assert own.get(spec(), SHAPES, prefix) is None
    assert "need 29.6 kB, and the disk has" in own.notes[0]
    assert prefix.asked == []
    assert leftovers(disk) == ["other"]
    (disk / "other").unlink()
    assert stores(disk).get(spec(), SHAPES, prefix).filled


def test_a_cache_that_may_only_be_read_is_read(small_disk):
    disk, make_read_only = small_disk
    assert stores(disk).get(spec(), SHAPES, Prefix()).filled
    assert make_read_only() == 0
    own, prefix = stores(disk), Prefix()
    store = own.get(spec(), SHAPES, prefix)
    assert (store.tier, store.filled, own.notes) == ("file", False, ())
    assert_right(store)
    assert prefix.asked == []
    other = own.get(spec(view="flipped"), SHAPES, prefix)
    assert other.tier == "memory"
    assert "Read-only file system" in own.notes[0]


# What is worth it


def test_what_is_computed_sooner_than_read_is_not_stored(cache):
    own, prefix = stores(cache), Prefix()
    assert own.get(spec(), SHAPES, prefix, seconds_per_image=1e-12) is None
    assert "reading takes" in own.notes[0]
    assert prefix.asked == []
    assert stores(cache).get(spec(), SHAPES, prefix, seconds_per_image=1.0).filled


def test_files_larger_than_the_memory_are_judged_by_the_disk(cache, monkeypatch):
    monkeypatch.setattr(features, "PAGES_SHARE", 0.0)
    monkeypatch.setattr(features, "memory_rate", None)  # is not asked
    assert stores(cache).get(spec(), SHAPES, Prefix(), seconds_per_image=1.0).filled
    assert stores(cache).get(spec(), SHAPES, Prefix(), seconds_per_image=1e-12) is None
    assert leftovers(cache) == []


def test_what_was_opened_is_touched_when_it_is_used(cache, monkeypatch):
    from autofreeze import shelf

    store = stores(cache).get(spec(), SHAPES, Prefix())
    note = Shelf(cache, "features").note(store.key)
    os.utime(note, ns=(0, 0))
    monkeypatch.setattr(shelf, "TOUCH_SECONDS", 0.0)
    store.rows(IDS[:1])
    assert note.stat().st_mtime_ns > 0


# GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("share", [0.5, 0.0], ids=["on the GPU", "pinned copies"])
def test_rows_arrive_on_the_gpu_with_the_same_bits(cache, monkeypatch, share):
    monkeypatch.setattr(features, "GPU_SHARE", share)
    device = torch.device("cuda")
    own = FeatureStores(cache, ids=IDS, n_images=N_IMAGES, device=device)
    store = own.get(spec(), SHAPES, Prefix())
    assert store.tier == ("gpu" if share else "file")
    for _ in range(50):
        ids = np.random.default_rng(0).permutation(IDS)
        gathered = store.rows(ids)
        assert all(tensor.device.type == "cuda" for tensor in gathered)
        expected = [Prefix()(ids[start : start + CHUNK]) for start in range(0, len(ids), CHUNK)]
        for place, tensor in enumerate(gathered):
            assert torch.equal(tensor.cpu(), torch.cat([one[place] for one in expected]))
