"""The training loop of every stage: Accelerate, exact resume, JSON-line logs, curves.

A run is its folder: log.jsonl, curve.png, skipped.jsonl, checkpoint/, config.json. Started again it goes on
from the checkpoint; every batch is a function of the configuration and the step alone, so the loss curve goes
on as if nothing had happened, and does not depend on the number of processes.
"""

import dataclasses
import json
import math
import os
import pathlib
import shutil
import sys
import time

import torch
from accelerate import Accelerator
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from recipe import config as configs
from recipe import curve, muon
from recipe.shards import ShardError


class Order:
    """The indices of each step: a fresh permutation per epoch, each batch cut into a part per process."""

    def __init__(self, length: int, batch: int, seed: int, window: int | None = None):
        """`window`: shuffle only within windows of that many samples (of sources still being written)."""
        self.length, self.batch, self.seed, self.window = length, batch, seed, window or length

    def epoch(self, number: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + number)
        if number or self.window >= self.length:
            return torch.randperm(self.length, generator=generator)
        parts = range(0, self.length, self.window)
        return torch.cat(
            [a + torch.randperm(min(self.window, self.length - a), generator=generator) for a in parts]
        )

    def steps(self, first: int, last: int, rank: int, world: int):
        """For each step the (epoch, index) pairs of this process."""
        known: dict[int, torch.Tensor] = {}
        share = self.batch // world
        for step in range(first, last):
            out = []
            for at in range(step * self.batch + rank * share, step * self.batch + (rank + 1) * share):
                number, place = divmod(at, self.length)
                if number not in known:
                    known = {n: v for n, v in known.items() if n >= number - 1}
                    known[number] = self.epoch(number)
                out.append((number, int(known[number][place])))
            yield out


class Samples(torch.utils.data.Dataset):
    """Asks a source for samples; one that cannot be read or used is replaced by the next one and reported.

    `check` raises what is wrong with a sample, or returns what should be told of it, or nothing.
    """

    def __init__(self, source, check=None):
        self.source, self.check = source, check or (lambda sample: None)

    def __getitem__(self, key: tuple[int, int]):
        epoch, index = key
        skipped = []
        for further in range(100):
            place = (index + further) % len(self.source)
            try:
                sample = self.source.sample(place, epoch)
                if told := self.check(sample):
                    skipped.append({"index": place, "reason": told, "kept": True})
                return sample | {"skipped": skipped, "index": index, "epoch": epoch}
            except ShardError:  # the next sample would not be there either
                raise
            except Exception as error:  # whatever a file on disk can provoke; reported, never silent
                skipped.append({"index": place, "reason": f"{type(error).__name__}: {error}"[:300]})
        raise ValueError(f"100 unreadable samples in a row; the last: {skipped[-1]}")


def rate_at(step: int, train: dict) -> float:
    """The learning rate of a step as a share of the peak: warm-up, hold, cosine."""
    steps = train["steps"]
    warm = max(1, round(train["warm"] * steps))
    if step < warm:
        return (step + 1) / warm
    hold = warm + train["hold"] * steps
    t = min(1.0, max(0.0, (step - hold) / max(1, steps - hold)))
    return train["floor"] + (1 - train["floor"]) * 0.5 * (1 + math.cos(math.pi * t))


@dataclasses.dataclass
class Progress:
    step: int = 0
    seen: int = 0
    skipped: int = 0
    broken: int = 0
    seconds: float = 0.0


class Run:
    def __init__(self, config: dict, objective):
        """`objective` has module(batch) -> losses, source, collate, groups, freeze, watch, weight."""
        self.config, self.train, self.objective = config, config["train"], objective
        self.accelerator = Accelerator(
            mixed_precision=self.train["precision"], cpu=not torch.cuda.is_available()
        )
        self.rank, self.world = self.accelerator.process_index, self.accelerator.num_processes
        self.sharded = bool(self.train["sharded"]) and self.world > 1
        parts = self.world * self.train["accumulate"]
        if self.train["batch"] % parts:
            raise ValueError(
                f"train.batch {self.train['batch']} is not a multiple of processes x accumulate {parts}"
            )
        if self.train["save_every"] % self.train["log_every"]:
            raise ValueError(
                "train.save_every must be a multiple of train.log_every (means start anew at a resume)"
            )
        if self.train["fast_cpu"] and (self.accelerator.device.type != "cpu" or self.train["precision"] != "no"):
            raise ValueError("train.fast_cpu is for float32 on CPUs: --set train.fast_cpu=false")
        watched = self.train["watch_every"] and config["data"].get("watch")
        if self.sharded and (config.get("guide") or watched):
            raise ValueError("`guide` and data.watch need whole layers: not with train.sharded (watch_every = 0)")
        self.out = pathlib.Path(config["out"])
        self.progress = Progress()
        if self.sharded:
            self.module = _shard(objective.module.to(self.accelerator.device))
        groups = objective.groups(self.train["trains"], self.train["weight_decay"])
        settings = {"lr": self.train["rate"], "betas": tuple(self.train["betas"])}
        if self.train["muon"]:
            if self.sharded:
                raise ValueError("train.muon needs whole matrices: not with train.sharded")
            groups = muon.split(groups, objective.module)
            self.optimiser = muon.Muon(groups, self.rank, self.world, **settings)
        else:
            self.optimiser = torch.optim.AdamW(groups, **settings)
        if not self.sharded:
            self.module = self.accelerator.prepare(objective.module)
        self.parameters = [p for group in groups for p in group["params"]]
        # What a forward pass changes by itself: the statistics of batch norms.
        self.buffers = list(objective.module.buffers()) if self.train["statistics"] else []
        self.sums: dict[str, float] = {}
        self.counted = 0
        self.bar = tqdm(disable=not (self.chief and sys.stderr.isatty()), unit="step")

    @property
    def chief(self) -> bool:
        return self.accelerator.is_main_process

    # Files

    def resume(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        last, old = self.out / "checkpoint", self.out / "checkpoint-old"
        found = next((p for p in (last, old) if (p / "complete").exists()), None)
        if found:
            self.load(found)
        if self.chief:
            for name in ("log.jsonl", "skipped.jsonl"):  # what was written behind the checkpoint comes again
                path = self.out / name
                lines = path.read_text().splitlines() if path.exists() else []
                kept = [line for line in lines if _step(line) <= self.progress.step]
                _replace(path, "".join(line + "\n" for line in kept))
            settings = self.out / "config.json"
            if found and settings.exists():
                changed = configs.differences(json.loads(settings.read_text()), self.config)
                if changed:
                    self.note(step=self.progress.step, changed=changed)
            _replace(settings, json.dumps(self.config, indent=1) + "\n")
        self.accelerator.wait_for_everyone()

    def load(self, folder: pathlib.Path) -> None:
        weights = torch.load(folder / "weights.pt", map_location="cpu")
        state = torch.load(folder / "state.pt", map_location="cpu")
        configured = [{k: v for k, v in group.items() if k != "params"} for group in self.optimiser.param_groups]
        if self.sharded:
            options = StateDictOptions(full_state_dict=True)
            parts = {"model_state_dict": weights, "optim_state_dict": state["optimiser"], "options": options}
            set_state_dict(self.module, self.optimiser, **parts)
        else:
            self.accelerator.unwrap_model(self.module).load_state_dict(weights)
            self.optimiser.load_state_dict(state["optimiser"])
        for group, settings in zip(self.optimiser.param_groups, configured, strict=True):
            group.update(settings)  # those of the configuration, which may have been changed
        vars(self.progress).update(state["progress"])
        dice = folder / f"random-{self.rank}.pt"
        if dice.exists():
            found = torch.load(dice)
            torch.set_rng_state(found["cpu"])
            if "cuda" in found and torch.cuda.is_available():
                torch.cuda.set_rng_state(found["cuda"])

    def save(self) -> None:
        last, old, part = self.out / "checkpoint", self.out / "checkpoint-old", self.out / "checkpoint-part"
        if self.chief:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
        self.accelerator.wait_for_everyone()
        dice = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            dice["cuda"] = torch.cuda.get_rng_state()
        torch.save(dice, part / f"random-{self.rank}.pt")
        if self.sharded:
            options = StateDictOptions(full_state_dict=True, cpu_offload=True)
            weights, optimiser = get_state_dict(self.module, self.optimiser, options=options)
        else:
            weights = self.accelerator.unwrap_model(self.module).state_dict()
            optimiser = self.optimiser.state_dict()
        self.accelerator.wait_for_everyone()
        if self.chief:
            torch.save(weights, part / "weights.pt")
            torch.save({"optimiser": optimiser, "progress": vars(self.progress)}, part / "state.pt")
            (part / "complete").touch()
            shutil.rmtree(old, ignore_errors=True)
            if last.exists():
                os.replace(last, old)
            os.replace(part, last)
            shutil.rmtree(old, ignore_errors=True)
            curve.draw(self.out)
        self.accelerator.wait_for_everyone()

    def note(self, name: str = "log.jsonl", /, **record) -> None:
        if not self.chief:
            return
        line = json.dumps({k: round(v, 6) if isinstance(v, float) else v for k, v in record.items()})
        with open(self.out / name, "a") as file:
            file.write(line + "\n")
        if not self.bar.disable:
            return  # a terminal shows the bar instead
        print(line, flush=True)

    # Steps

    def batches(self):
        """This process's samples of each step that is left, collated in `accumulate` parts."""
        source = self.objective.source
        order = Order(len(source), self.train["batch"], self.config["seed"], getattr(source, "window", None))
        parts = self.train["accumulate"]

        def keys():
            for chosen in order.steps(self.progress.step, self.train["steps"], self.rank, self.world):
                size = len(chosen) // parts
                for part in range(parts):
                    yield chosen[part * size : (part + 1) * size]

        loader = DataLoader(
            Samples(source, getattr(self.objective, "check", None)),
            batch_sampler=_Sampler(keys),
            collate_fn=self.collate,
            num_workers=self.train["workers"],
            multiprocessing_context="fork" if self.train["workers"] else None,  # nothing needs to be pickled
            generator=torch.Generator(),  # else it would draw from the generator that a checkpoint restores
        )
        found = iter(loader)
        for _ in range(self.progress.step, self.train["steps"]):
            yield [next(found) for _ in range(parts)]

    def collate(self, samples: list[dict]) -> dict:
        skipped = [entry for sample in samples for entry in sample.pop("skipped")]
        return self.objective.collate(samples) | {"skipped": skipped}

    def step(self, parts: list[dict]) -> None:
        train, objective = self.train, self.objective
        for group in self.optimiser.param_groups:
            group["lr"] = train["rate"] * group["factor"] * rate_at(self.progress.step, train)
        for part in parts:
            self.report(part.pop("skipped"))
        statistics = [buffer.clone() for buffer in self.buffers]
        weights = torch.tensor([float(objective.weight(part)) for part in parts])
        total = self.accelerator.reduce(weights.sum().to(self.accelerator.device), "sum").item() or 1.0
        losses: dict[str, torch.Tensor] = {}
        for i, part in enumerate(parts):
            part = {k: v.to(self.accelerator.device) if torch.is_tensor(v) else v for k, v in part.items()}
            last = i == len(parts) - 1
            with _nothing() if last else self.accelerator.no_sync(self.module):
                with self.accelerator.autocast():
                    found = self.module(part)
                share = weights[i].item() / total
                # Processes' gradients are averaged, so the share of the batch is scaled by their number.
                self.accelerator.backward(found["loss"] * (share * self.world))
            for name, value in found.items():
                losses[name] = losses.get(name, 0) + value.detach().float() * share
        names = sorted(losses)
        shared = self.accelerator.reduce(torch.stack([losses[n] for n in names]), "sum")
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, train["clip"])
        norm = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        if math.isfinite(norm) and bool(torch.isfinite(shared).all()):
            self.optimiser.step()
            for name, value in zip(names, shared.tolist()):
                self.sums[name] = self.sums.get(name, 0) + value
            self.sums["norm"] = self.sums.get("norm", 0) + norm
            self.counted += 1
        else:
            self.progress.broken += 1
            for buffer, before in zip(self.buffers, statistics, strict=True):
                buffer.copy_(before)
            self.note(
                "skipped.jsonl",
                step=self.progress.step + 1,
                reason="loss or gradient is not finite",
                norm=str(norm),
            )
            if self.progress.broken > 50:
                raise FloatingPointError(
                    "more than 50 steps with a loss or gradient that is not finite: stop"
                )
        self.optimiser.zero_grad()
        self.progress.step += 1
        self.progress.seen += train["batch"]

    def report(self, skipped: list[dict]) -> None:
        gathered = [skipped]
        if self.world > 1:
            gathered = [None] * self.world
            torch.distributed.all_gather_object(gathered, skipped)
        for entry in [e for part in gathered for e in part]:
            self.progress.skipped += not entry.get("kept")
            self.note("skipped.jsonl", step=self.progress.step + 1, **entry)

    def go(self) -> None:
        self.resume()
        train, progress = self.train, self.progress
        mark, marked = time.monotonic(), progress.seen
        self.bar.reset(train["steps"])
        self.bar.update(progress.step)
        self.objective.freeze(train["trains"], train["statistics"])
        for parts in self.batches():
            self.step(parts)
            self.bar.update()
            now = time.monotonic()
            if progress.step % train["log_every"] == 0 or progress.step == train["steps"]:
                speed = (progress.seen - marked) / (now - mark)
                progress.seconds += now - mark
                mark, marked = now, progress.seen
                means = {k: v / max(1, self.counted) for k, v in self.sums.items()}
                left = (train["steps"] - progress.step) * train["batch"] / max(speed, 1e-9) / 60
                rate = self.optimiser.param_groups[0]["lr"]
                self.note(
                    step=progress.step, seen=progress.seen, speed=round(speed, 1),
                    minutes=round(progress.seconds / 60, 1), minutes_left=round(left, 1), rate=rate,
                    skipped=progress.skipped, broken=progress.broken, **means,
                )  # fmt: skip
                self.bar.set_postfix(
                    loss=f"{means['loss']:.3f}" if "loss" in means else "-", skipped=progress.skipped
                )
                self.sums, self.counted = {}, 0
            if train["watch_every"] and progress.step % train["watch_every"] == 0:
                if self.chief:
                    with torch.random.fork_rng():
                        found = self.objective.watch(self.accelerator.unwrap_model(self.module))
                    self.note(step=progress.step, watched=found)
                    self.objective.freeze(train["trains"], train["statistics"])
                self.accelerator.wait_for_everyone()
            if progress.step % train["save_every"] == 0 or progress.step == train["steps"]:
                self.save()


def _step(line: str) -> float:
    """The step that a line of a log is about; one that was cut short when the run was killed is about none."""
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:
        return math.inf


def _replace(path: pathlib.Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    os.replace(part, path)


def _shard(module: torch.nn.Module) -> torch.nn.Module:
    """FSDP: weights, gradients and optimiser state are spread over the processes, layer by layer."""
    for layer in module.modules():
        if type(layer).__name__.endswith("DecoderLayer"):
            fully_shard(layer)
    return fully_shard(module)


class _Sampler:
    def __init__(self, keys):
        self.keys = keys

    def __iter__(self):
        return self.keys()


class _nothing:
    def __enter__(self):
        return None

    def __exit__(self, *_):
        return False
