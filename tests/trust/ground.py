"""The ground that faults are tried on: a search that nothing disturbs, and what is compared with it."""

import functools
import shutil
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from trust import studies
from trust.check import Effort, Outcome
from trust.commands import Ended, Place
from trust.victims import Act, Fault, Instant, Victims, kill

SEARCH = (
    "--model", "test_resnet", "--from-scratch", "--image-size", 32, "--device", "cpu", "--threads", 1,
    "--space", "quick", "--trials", 3, "--epochs", 2, "--folds", 2, "--confirm", 0, "--sampler", "qmc",
)  # fmt: skip
MODEL = "model.safetensors"


@dataclass(frozen=True)
class Ground:
    """Images, and what commands make of them when nothing disturbs them.

    Attributes:
        victims: Starts commands.
        changes: To files, by the search.
        seconds: That the search took.
    """

    victims: Victims
    changes: int
    seconds: float
    _folder: tempfile.TemporaryDirectory[str] = field(repr=False)  # goes when this does

    @property
    def data(self) -> Path:
        """The images."""
        return self.victims.place.data

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.victims.place.root / "run"

    @property
    def cache(self) -> Path:
        """The cache folder, filled."""
        return self.victims.place.cache

    @property
    def schedule(self) -> Path:
        """The best schedule, as a file."""
        return self.victims.place.root / "best.yaml"

    @property
    def model(self) -> Path:
        """The folder of a model that was trained by it."""
        folder = self.victims.place.root / "model"
        if not folder.exists():
            ended, _ = self.victims.run("train", self.schedule, self.data, "--threads", 1, "--out", folder)
            assert not ended.complaints(), ended.complaints()
        return folder


@functools.cache
def ground() -> Ground:
    """Give the ground of this process."""
    folder = tempfile.TemporaryDirectory(prefix="trust-ground-")
    root = Path(folder.name).resolve()
    # Programs that would be started to show something.
    victims = Victims(Place(root, {"BROWSER": "true"}).fill((8, 8, 8)))
    log = root / "changes.log"
    ended, _ = victims.run("search", victims.place.data, *SEARCH, "--out", root / "run", log=log)
    exported, _ = victims.run("export", root / "run", "-o", root / "best.yaml")
    wrong = [*ended.complaints(), *exported.complaints(), *studies.faults_of(root / "run", root / "aside")]
    assert not wrong, wrong
    return Ground(victims, len(log.read_text(encoding="utf-8").splitlines()), ended.seconds, folder)


class Spot:
    """A run folder, a cache folder and a temporary folder for one try.

    Args:
        root: Where they lie.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.ground = root, ground()
        self.run, self.cache, self.tmp = (root / name for name in ("run", "cache", "tmp"))
        for folder in (self.run, self.cache, self.tmp):
            folder.mkdir(parents=True)

    def search(
        self, *more: object, at: Instant | None = None, act: Act = kill, fault: Fault = nullcontext
    ) -> Ended:
        """Search, or go on with it."""
        resume = ["--resume"] if (self.run / "run.json").exists() else []
        given = ("search", self.ground.data, *SEARCH, *more, "--out", self.run, *resume)
        return self.command(*given, at=at, act=act, fault=fault)

    def command(
        self, *arguments: object, at: Instant | None = None, act: Act = kill, fault: Fault = nullcontext
    ) -> Ended:
        """Run any command."""
        ended, _ = self.ground.victims.run(*arguments, at=at, act=act, fault=fault, cache=self.cache)
        return ended


class Tries:
    """What came of commands under a fault."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self.recovery: list[float] = []
        self.lost: list[str] = []
        self.wrong: list[str] = []
        self.stopped = self._spots = 0

    def spot(self) -> Spot:
        """Give another place to try at."""
        self._spots += 1
        return Spot(self._effort.folder / f"{self._spots}")

    def judge(self, ended: Ended, fault: str, *allowed: int, says: tuple[str, ...] = ()) -> None:
        """Look how a command ended.

        Args:
            ended: How.
            fault: What was done to it.
            allowed: Exit statuses.
            says: Words of which a command that failed must have said one.
        """
        self.wrong += [f"{fault}: {one}" for one in ended.complaints(*allowed)]
        told = (ended.out + ended.err).lower()
        if ended.status > 0 and says and not any(one in told for one in says):
            self.wrong.append(f"{fault}: the message does not say what is wrong: {ended.err[-800:]}")
        self.stopped += ended.status != 0

    def resume(self, spot: Spot, fault: str, *allowed: int) -> None:
        """Go on without the fault, and compare; then the place is no longer needed."""
        ended = spot.search()
        self.wrong += [f"{fault}, then resumed: {one}" for one in ended.complaints(*allowed)]
        if ended.status == 0:
            self._compare(spot, fault)
        self.recovery.append(ended.seconds)
        shutil.rmtree(spot.root)

    def _compare(self, spot: Spot, fault: str) -> None:
        aside = spot.root / "aside"
        self.wrong += [f"{fault}: {one}" for one in studies.faults_of(spot.run, aside)]
        self.lost += [f"{fault}: {one}" for one in studies.differences(spot.run, spot.ground.run)]

    def train(self, spot: Spot, fault: str) -> None:
        """Train again without the fault, and compare the model."""
        out = spot.root / "model"
        force = ["--force"] if (out / MODEL).exists() else []
        ended = spot.command(
            "train", spot.ground.schedule, spot.ground.data, "--threads", 1, "--out", out, *force
        )
        self.wrong += [f"{fault}, then trained: {one}" for one in ended.complaints()]
        if ended.status == 0 and studies.model_in(out) != studies.model_in(spot.ground.model):
            self.lost.append(f"{fault}: another model than the undisturbed")
        self.recovery.append(ended.seconds)

    def outcome(self, tried: int, note: str = "") -> Outcome:
        """Give all of it."""
        note = note or f"{self.stopped} of {tried} ended by it"
        return Outcome(tried=tried, lost=self.lost, wrong=self.wrong, recovery=self.recovery, note=note)
