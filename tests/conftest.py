"""Fixtures that several files share: images, models, made-up curves. Nothing here imports torch by itself."""

import functools
import hashlib
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from made_result import MadeResult
from PIL import Image

from autofreeze.job import EpochRecord, Job
from autofreeze.metrics import pack_classes, score
from autofreeze.recipes import gradual
from autofreeze.regime import Regime

CLASSES = ("plain", "rows", "columns")


def pytest_addoption(parser):
    parser.addoption("--renew-page", action="store_true", help="write the tables of docs/exports.md anew")


def pytest_collection_modifyitems(items):
    """The session of the README takes minutes: where files are shared out to processes, it begins first."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(session_cache):
    """No test, and nothing that several tests share, reads or writes the cache of whoever runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOFREEZE_CACHE", str(session_cache))
        yield


@pytest.fixture(autouse=True, scope="module")
def _own_threads():
    """No file of tests leaves another number of torch's threads behind: curves have other bits with it."""
    torch = sys.modules.get("torch")  # loaded when the tests were collected, where any needs it
    before = torch.get_num_threads() if torch else 0
    yield
    if torch:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def local_ray():
    """A Ray of its own, for the tests of one file; nothing of it stays in the user's home."""
    from autofreeze.cluster.asked import read_options
    from autofreeze.cluster.connection import connect

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own
        with connect(read_options("local")) as cluster:
            yield cluster


# Images


def picture(label, seed, size):
    """One image, uint8 (size, size, 3): a colour and a pattern tell the class, noise covers them a little."""
    rng = np.random.default_rng([label, seed])
    image = np.full((size, size, 3), 90.0)
    image[..., label % 3] += 90
    if label % 3 == 1:
        image[::4] -= 60
    if label % 3 == 2:
        image[:, ::4] -= 60
    return np.clip(image + rng.normal(0, 30, image.shape), 0, 255).astype(np.uint8)


def write_class_folders(root, counts, *, size=32, first=0):
    """Write PNG images: one folder per class, a count for each class."""
    for label, count in enumerate(counts):
        folder = Path(root) / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            Image.fromarray(picture(label, number, size)).save(folder / f"{number:03}.png")
    return Path(root)


@pytest.fixture(scope="session")
def write_images():
    return write_class_folders


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory):
    """Three classes of 12 images, one folder per class, 32 px."""
    return write_class_folders(tmp_path_factory.mktemp("photos"), (12, 12, 12))


@pytest.fixture(scope="session")
def split_folders(tmp_path_factory):
    """train/ val/ test/ with 24, 15 and 9 images of three classes, 32 px."""
    root = tmp_path_factory.mktemp("split")
    for part, count, first in (("train", 8, 0), ("val", 5, 100), ("test", 3, 200)):
        write_class_folders(root / part, (count,) * 3, first=first)
    return root


# Models and examples in memory


@functools.cache
def _backbone(name, granularity, image_size):
    from autofreeze.backbone import load_backbone

    return load_backbone(name, from_scratch=True, granularity=granularity, image_size=image_size)


@pytest.fixture(scope="session")
def backbone():
    """``backbone(name)``: a small random model; the same object for the same name."""

    def load(name="test_resnet", granularity="auto", image_size=32):
        return _backbone(name, granularity, image_size)

    return load


@pytest.fixture(scope="session")
def examples():
    """``examples(n_train, n_val)``: images in memory, classes in turn."""

    def make(n_train=24, n_val=12, *, n_classes=3, size=32, labels=None):
        from autofreeze.examples import Examples
        from autofreeze.preprocessing import Preprocessing

        labels = np.arange(n_train + n_val) % n_classes if labels is None else np.asarray(labels)
        return Examples(
            images=np.stack([picture(int(label), number, size) for number, label in enumerate(labels)]),
            labels=labels.astype(np.int64),
            n_classes=n_classes,
            train=np.arange(n_train),
            val=np.arange(n_train, n_train + n_val),
            preprocessing=Preprocessing(image_size=size, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        )

    return make


# Made-up curves: what a study sees, without training


class MadeUp:
    """Curves that follow from the job alone, as real ones do."""

    groups = ("stem", "layer1", "layer2", "head")
    n_val = 40

    @staticmethod
    def draw(*words):
        """A number in 0..1 that follows from the words."""
        digest = hashlib.sha256("/".join(map(str, words)).encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32

    def job(self, trial=0, fold=0, *, epochs=3.0, seed=0, regime=None, **recipe):
        recipe = {"head_lr": 1e-3, **recipe}
        schedule = gradual(self.groups, epochs, **recipe)
        return Job(trial=trial, fold=fold, seed=seed, schedule=schedule, regime=regime or Regime())

    def record(self, job, epoch, *, skill=None, labels=None, n_val=None, **fields):
        n_val = self.n_val if n_val is None else n_val
        total = int(-(-job.schedule.epochs // 1))
        done = min(epoch + 1.0, job.schedule.epochs)
        recipe = job.recipe_digest
        skill = self.draw("skill", recipe, job.fold) if skill is None else skill
        order = np.argsort([self.draw("image", recipe, i) for i in range(n_val)])
        correct = np.zeros(n_val, bool)
        correct[order[: round(skill * (1 - 0.5 ** (epoch + 1)) * n_val)]] = True
        labels = np.arange(n_val) % 2 if labels is None else labels
        predicted = np.where(correct, labels, (labels + 1) % max(labels.max(initial=0) + 1, 2))
        value = score("top1", labels, predicted, 0.0)
        timetable = job.schedule.timetable(4)
        step = min(4 * (epoch + 1), timetable.total_steps)
        rates = timetable.rates(step - 1)
        return EpochRecord(
            **{
                "epoch": epoch,
                "epochs_done": done,
                "step": step,
                "train_loss": 1.5 - value,
                "phase_start_loss": 1.6,
                "val_loss": 1.6 - value,
                "value": value,
                "predicted": pack_classes(predicted),
                "n_val": n_val,
                "rates": rates,
                "grad_norms": tuple(None if rate is None else 1.0 for rate in rates),
                "grad_norms_max": tuple(None if rate is None else 2.0 for rate in rates),
                "work": 10.0 * done,
                "seconds": 0.1 * done,
                "epochs_since_unfreeze": (step - timetable.last_unfreeze) / 4,
                "last": epoch == total - 1,
                **fields,
            }
        )

    def curve(self, job, **fields):
        return [self.record(job, epoch, **fields) for epoch in range(int(-(-job.schedule.epochs // 1)))]

    def alone(self, job):
        """The jobs that would train each head of a sweep alone."""
        return [
            job.model_copy(update={"schedule": one.schedule, "regime": one.regime, "members": ()})
            for one in job.members
        ]

    def sweep(self, curves):
        """The records of a sweep from the curves of its heads; one that broke off has a shorter curve."""
        from autofreeze.scoring import joined

        members = [curve[0] for curve in curves]
        for epoch in range(max(map(len, curves))):
            going = [place for place, curve in enumerate(curves) if epoch < len(curve)]
            for place in going:
                members[place] = curves[place][epoch]
            yield joined(members, going, work=20.0 * (epoch + 1), seconds=0.1)

    def run(self, job):
        """Curves of any job."""
        return self.sweep([self.curve(one) for one in self.alone(job)]) if job.members else self.curve(job)

    def diverged(self, job, epoch=0):
        nan = float("nan")
        return self.record(
            job, epoch, value=nan, val_loss=nan, train_loss=nan, predicted="", last=True,
            diverged=f"non-finite loss at step {4 * epoch}",
        )  # fmt: skip


@pytest.fixture(scope="session")
def made_up():
    return MadeUp()


# Made-up results: what a report sees, without a search


@pytest.fixture(scope="session")
def made_result():
    return MadeResult()


# Real data


@pytest.fixture(scope="session")
def real_data():
    folder = os.environ.get("AUTOFREEZE_TEST_DATA")
    if not folder:
        pytest.skip("AUTOFREEZE_TEST_DATA names no folder with real images and weights")
    return Path(folder).resolve()
