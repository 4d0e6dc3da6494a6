"""A made-up search: trials drawn from a space, a confirmation, all numbers hanging together."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autofreeze import recipes
from autofreeze.confirmation import Candidate, Confirmation, arm_of
from autofreeze.instabilities import peak_rate
from autofreeze.intervals import Interval
from autofreeze.job import Thaw
from autofreeze.looks import Comparison, decide
from autofreeze.placing import Placing, Restart
from autofreeze.recipes import name_of
from autofreeze.regime import Regime
from autofreeze.results import Ending, MemberResult, StudyResult, TrialResult, rank
from autofreeze.scale import Scale
from autofreeze.schedule import Schedule
from autofreeze.space import Space, SpaceSpec

GROUPS = ("stem", "layer1", "layer2", "layer3", "layer4", "head")
SHARES = (0.08, 0.22, 0.22, 0.24, 0.23, 0.01)
N_TRAIN, N_VAL, FOLDS = 400, 100, 4
CHOICE, SEEDS = 6, 12
SPIKE = "loss spike: 3.1 in epoch 2, 0.5 at the start of its phase"
NAN = "non-finite loss at step 3"
COLLAPSE = "collapse: all images are taken for one class"


@dataclass(frozen=True)
class Made:
    """How a search was: what is not said is as in a usual one."""

    trials: int = 40
    epochs: float = 6.0
    metric: str = "top1"
    kind: str = "images"
    classes: tuple[str, ...] = ("cat", "dog", "horse")
    groups: tuple[str, ...] = GROUPS
    names: tuple[str, ...] = ("photos", "some_net.a1_in1k", "node-a", "node-b", "node-c")
    """Of the data, of the model, and of places."""

    places: int = 1
    confirmed: bool = True
    concluded: bool = True
    """Whether the confirmation came to its first look."""

    lead: float = 0.03
    """Of the best schedule over the baselines, in the unit of the metric's means."""

    blur: float = 0.004
    """Standard error of a difference."""

    endings: tuple[tuple[Ending, float], ...] = (
        (Ending.COMPLETE, 0.62),
        (Ending.UNPROMISING, 0.26),
        (Ending.UNSTABLE, 0.10),
        (Ending.FAILED, 0.02),
    )
    losses: bool = True
    sweeps: bool = False
    cut_short: str = ""
    evidence: bool = True
    script: str = ""

    @property
    def scale(self) -> Scale:
        """Of the metric."""
        if self.kind == "own":
            return Scale(metric=self.metric, unit="plain", direction="minimize")
        return Scale.of(self.metric)


def space_of(made: Made) -> Space:
    """The space that is searched."""
    return SpaceSpec.load("default").resolve(made.groups, made.epochs)


class Draw:
    """Draws from a space as an Optuna trial does, and keeps what was drawn."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.params = rng, {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ):
        if step:
            value = low + step * self.rng.randrange(round((high - low) / step) + 1)
        elif log:
            value = math.exp(self.rng.uniform(math.log(low), math.log(high)))
        else:
            value = self.rng.uniform(low, high)
        return self.params.setdefault(name, value)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False):
        return self.params.setdefault(name, self.rng.randrange(low, high + 1, step))

    def suggest_categorical(self, name: str, choices: Sequence[Any]):
        return self.params.setdefault(name, self.rng.choice(list(choices)))


class MadeSearch:
    """Makes the result of one search."""

    def __init__(self, made: Made, rng: random.Random) -> None:
        self.made, self.rng = made, rng
        self.scale = made.scale
        self.space: Space = space_of(made)

    # Trials

    def _merit(self, schedule: Schedule) -> float:
        """How good a schedule is, in the unit of means: some rates are best, and depth helps."""
        rate = math.log10(peak_rate(schedule)) if schedule.unfreeze_depth else -4.5
        depth = schedule.unfreeze_depth / (len(schedule.groups) - 1)
        share = 0.86 - 0.05 * (rate + 3.6) ** 2 + 0.04 * depth + 0.01 * min(schedule.warmup_epochs, 2)
        share = min(max(share + self.rng.gauss(0, 0.01), 0.2), 0.985)
        if self.scale.unit == "nats":
            return -2 * (1 - share)
        return -20 * (1 - share) if self.scale.unit == "plain" else share

    def _objective(self, merit: float) -> float:
        return math.exp(merit) if self.scale.unit == "nats" else merit

    def _trials(self) -> tuple[TrialResult, ...]:
        n, groups, epochs = self.made.trials, self.made.groups, self.made.epochs
        usual: dict[str, Schedule] = {
            "full": recipes.full(groups, epochs, head_lr=1e-3, backbone_ratio=1.0),
            "linear_probe": recipes.linear_probe(groups, epochs, head_lr=3e-3),
            "lp_ft": recipes.lp_ft(groups, epochs, head_lr=3e-3, warmup_epochs=2, backbone_ratio=0.1),
        }
        trials = []
        for number in range(n):
            name = list(usual)[number] if number < 3 else None
            if name is not None:
                schedule, params, regime = usual[name], {}, Regime()
            else:
                draw = Draw(self.rng)
                schedule, regime = self.space.suggest(draw)
                params = draw.params
            trials.append(self._trial(number, schedule, regime, params, name))
        if n > 20:
            trials[12] = trials[9].model_copy(
                update={"number": 12, "same_as": 9, "work": 0.0, "seconds": 0.0}
            )
        return tuple(trials)

    def _trial(
        self, number: int, schedule: Schedule, regime: Regime, params: dict[str, Any], baseline: str | None
    ) -> TrialResult:
        endings, weights = zip(*self.made.endings, strict=True)
        ending = self.rng.choices(endings, weights)[0]
        if number < 3 and len(endings) > 1:
            ending = Ending.COMPLETE
        reasons = {
            Ending.UNPROMISING: f"behind the best by more than chance gives{self.made.script}",
            Ending.UNSTABLE: self.rng.choice((SPIKE, NAN, COLLAPSE)),
            Ending.FAILED: f"RuntimeError: {self.made.script or 'no memory'}",
        }
        merit = self._merit(schedule)
        done = ending is Ending.COMPLETE
        folds = (
            FOLDS if done else 0 if ending in (Ending.UNSTABLE, Ending.FAILED) else self.rng.randrange(FOLDS)
        )
        value = self._objective(merit)
        part = 1.0 if done else self.rng.uniform(0.05, 0.7)
        own = self.made.kind == "own"
        depth = schedule.unfreeze_depth / len(self.made.groups)
        work = (
            (FOLDS * part)
            * self.made.epochs
            * ((1 + 2 * depth) * (1 if own else N_TRAIN) + (0 if own else N_VAL))
        )
        return TrialResult(
            number=number,
            baseline=baseline,
            recipe=name_of(schedule),
            schedule=schedule,
            regime=regime,
            params=params,
            ending=ending,
            reason=reasons.get(ending, ""),
            value=value if done else None,
            val_loss=self._loss(merit) if done else None,
            fold_values=tuple(value * (1 + 0.01 * (fold - 1.5)) for fold in range(folds)),
            n_val=N_VAL * folds,
            work=work,
            seconds=work / 900,
            thaw=self._thaw(schedule, ending),
            drift=0.4 * depth if done else None,
            **self._sweep(schedule, value, done=done),
        )

    def _loss(self, merit: float) -> float | None:
        if not self.made.losses:
            return None
        return (
            -merit
            if self.scale.unit == "nats"
            else abs(merit) / 9
            if self.scale.unit == "plain"
            else 2 * (1 - merit)
        )

    def _thaw(self, schedule: Schedule, ending: Ending) -> Thaw | None:
        if not schedule.unfreeze_depth or self.made.kind == "own" or ending is Ending.FAILED:
            return None
        step = round(schedule.warmup_epochs * math.ceil(N_TRAIN / 32))
        first = schedule.timetable(math.ceil(N_TRAIN / 32)).rates(min(step, 77))
        calm = 0.5 if step else 1.0
        norms = tuple(None if rate is None else calm * self.rng.uniform(0.5, 2.0) for rate in first)
        if all(norm is None for norm in norms[:-1]):
            return None
        weights = tuple(None if rate is None else 10.0 for rate in first)
        columns = tuple(column for column, norm in enumerate(norms) if norm is not None)
        return Thaw(step=step, columns=columns, loss=1.1 * calm, grad_norms=norms, weight_norms=weights)

    def _sweep(self, schedule: Schedule, value: float, *, done: bool) -> dict[str, Any]:
        if not self.made.sweeps or schedule.unfreeze_depth or not done:
            return {}
        rates = (1e-3, 3e-3, 1e-2, 1e-1)
        members = tuple(
            MemberResult(
                params={"head_lr": rate},
                settings=f"{place:016x}",
                value=None if rate == 1e-1 else value - 0.01 * place,
                val_loss=None if rate == 1e-1 else 0.4,
                reason=NAN if rate == 1e-1 else "",
            )
            for place, rate in enumerate(rates)
        )
        return {"member": 0, "members": members}

    # The confirmation

    def _confirmation(self, trials: Sequence[TrialResult]) -> Confirmation | None:
        complete = sorted((one for one in trials if one.value is not None), key=rank, reverse=True)
        if not self.made.confirmed or not complete:
            return None
        finalists = [one for one in complete if not one.baseline and one.same_as is None][:3]
        others = [one for one in complete if one.baseline]
        top = {"nats": -0.42, "plain": -3.1}.get(self.scale.unit, 0.87)
        means = {one.number: top - place * 0.2 * self.made.lead for place, one in enumerate(finalists)}
        means |= {one.number: top - (1 + 0.5 * turn) * self.made.lead for turn, one in enumerate(others)}
        chosen = finalists[0].number
        comparisons = tuple(
            self._comparison(chosen, n, top - mean) for n, mean in means.items() if n != chosen
        )
        own = self.made.kind == "own"
        found = Confirmation(
            planned=SEEDS,
            seeds=SEEDS,
            choice_seeds=CHOICE,
            estimate_seeds=(CHOICE, SEEDS),
            delta=0.05 if own else 0.01,
            chosen=chosen,
            candidates=tuple(
                self._candidate(one, means[one.number], chosen) for one in (*finalists, *others)
            ),
            comparisons=comparisons,
            n_train=0 if own else N_TRAIN,
            n_val=0 if own else N_VAL,
            test_images=0 if own else 120,
            test_seeds=0 if own else 6,
            test_reads=0 if own else 1,
            work=12 * 5 * 4000.0,
            seconds=250.0,
        )
        return found if self.made.concluded else self._before_its_first_look(found)

    @staticmethod
    def _before_its_first_look(found: Confirmation) -> Confirmation:
        nothing = {"mean": None, "standard_error": None, "low": None, "high": None, "test_value": None}
        candidates = tuple(
            one.model_copy(update={**nothing, "values": one.values[:2]}) for one in found.candidates
        )
        return found.model_copy(
            update={
                "candidates": candidates,
                "comparisons": (),
                "chosen": None,
                "cut_short": "out of time",
                "seeds": 2,
                "choice_seeds": 0,
                "estimate_seeds": (0, 0),
                "test_reads": 0,
                "test_seeds": 0,
            }
        )

    def _comparison(self, chosen: int, against: int, estimate: float) -> Comparison:
        half = 2.25 * self.made.blur
        interval = Interval(
            estimate=estimate,
            low=estimate - half,
            high=estimate + half,
            standard_error=self.made.blur,
            images=400,
            seeds=SEEDS - CHOICE,
        )
        decision = decide(interval, 0.05 if self.made.kind == "own" else 0.01)
        return Comparison(
            trial=chosen, against=against, interval=interval, decision=decision, seeds=(CHOICE, SEEDS)
        )

    def _candidate(self, trial: TrialResult, mean: float, chosen: int) -> Candidate:
        size = 1.5 * self.made.blur
        values = tuple(self._objective(mean + self.rng.gauss(0, size)) for _ in range(SEEDS))
        share = 0.86 + self.rng.uniform(0, 0.02)
        own = self.made.kind == "own"
        classes = (
            () if own else tuple(min(share + 0.1 * math.sin(n), 1.0) for n in range(len(self.made.classes)))
        )
        read = not own and (trial.number == chosen or trial.baseline is not None)
        return Candidate(
            trial=trial.number,
            finalist=not trial.baseline,
            arm=arm_of(trial.schedule),
            views="flip",
            values=values,
            mean=mean,
            standard_error=size,
            low=mean - 2 * size,
            high=mean + 2 * size,
            log_loss=self._loss(mean),
            train_top1=None if own else 0.96,
            top1=None if own else share,
            class_accuracies=classes,
            work=SEEDS * trial.work / FOLDS,
            run_work=trial.work / FOLDS,
            test_value=self._objective(mean - 0.01) if read else None,
        )

    # The result

    def result(self) -> StudyResult:
        trials = self._trials()
        data_name, model, *places = self.made.names
        groups = {name: [f"{name}.weight", f"{name}.bias"] for name in self.made.groups}
        sizes = [{"train": N_TRAIN, "val": N_VAL}] * FOLDS
        n_classes = len(self.made.classes)
        if self.made.kind == "own":
            kind = {
                "kind": "own",
                "direction": "minimize",
                "data": {
                    "name": data_name,
                    "n_folds": FOLDS,
                    "held_out": 0.2,
                    "held_out_given": True,
                    "left_out": [],
                },
                "backbone": {"groups": groups, "work_shares": list(SHARES), "work_measured": True},
            }
        else:
            kind = {
                "data": {
                    "name": data_name,
                    "fingerprint": "f" * 16,
                    "layout": "folders",
                    "classes": list(self.made.classes),
                    "class_images": [500 // n_classes + n for n in range(n_classes)],
                    "images": {"train": 500, "val": 0, "test": 120},
                    "folds": sizes,
                    "findings": [],
                    "effective_images": 400,
                },
                "backbone": {
                    "model": model,
                    "source": f"{model}.safetensors",
                    "digest": "d" * 16,
                    "coverage": "all loaded",
                    "preprocessing": {"image_size": 96, "mean": [0.5] * 3, "std": [0.2] * 3},
                    "preprocessing_from": {"image_size": "given"},
                    "groups": groups,
                    "work_shares": list(SHARES),
                },
            }
        return StudyResult(
            **kind,
            metric=self.made.metric,
            trials=trials,
            confirmation=self._confirmation(trials),
            settings={
                "trials": self.made.trials,
                "epochs": self.made.epochs,
                "seed": 0,
                "confirm": 12,
                "delta": 0.01,
                "sampler": "tpe",
                "space": self.space.spec.model_dump(mode="json"),
                "fold_seeds": [1, 2, 3, 4],
                **({} if self.made.kind == "own" else {"task": {"data": data_name}}),
            },
            seconds=61.0 * max(self.made.trials, 1),
            cut_short=self.made.cut_short,
            placing=self._placing(places) if self.made.places > 1 else None,
            command=f"autofreeze search {data_name} --model {model}",
            versions={"python": "3.11.7", "autofreeze": "0.1.0", "torch": "2.14.1", "optuna": "5.0.0"},
            machine={"device": "cpu", "threads": 1, "cores": 2, "processor": "x86_64", "system": "Linux"},
        )

    def _placing(self, places: Sequence[str]) -> Placing:
        return Placing(
            address="local",
            workers=dict.fromkeys(places, 13),
            cpus_per_trial=1,
            gpus_per_trial=0,
            threads=1,
            states="driver",
            state_bytes=67_108_864,
            too_large=0,
            node_bytes=1_499_192,
            job_bytes=4143.0,
            job_state_bytes=0.0,
            restarts=(Restart(job="3.0", cause="node", where=places[0], epoch=2, resumed=1),),
        )
