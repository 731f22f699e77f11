"""Two single-threaded processes that share gradients: on a busy machine that wastes less than two threads."""

import json
import math
import os
import pathlib
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

RUNS = pathlib.Path(__file__).parent / "runs"


def launch(work, args, processes: int = 2) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(args.port))
    mp.spawn(_start, (processes, work, args), nprocs=processes)


def _start(rank: int, processes: int, work, args) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=processes)
    torch.manual_seed(1234)
    work(rank, processes, args)
    dist.destroy_process_group()


def share_gradients(parameters) -> float:
    """Averages gradients over the processes in one message; returns their norm before clipping to 1."""
    parameters = [p for p in parameters if p.requires_grad]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    norm = flat.norm().item()
    if not math.isfinite(norm):
        raise FloatingPointError(
            "a gradient is not finite: lower the learning rate, resume from the checkpoint"
        )
    if norm > 1:
        flat *= 1 / norm
    at = 0
    for p in parameters:
        p.grad = flat[at : at + p.numel()].view_as(p)
        at += p.numel()
    return norm


class Clock:
    """A budget in seconds of wall clock; the learning rate follows it, however many steps fit in."""

    def __init__(self, budget: float, used: float = 0.0, warm: float = 0.02):
        self.budget, self.used, self.warm = budget, used, warm
        self.last = time.monotonic()

    def tick(self) -> float:
        """The share of the budget that is used, the same in every process."""
        now = time.monotonic()
        self.used += now - self.last
        self.last = now
        shared = torch.tensor([self.used])
        dist.broadcast(shared, 0)
        return shared.item() / self.budget

    def rate(self, share: float, peak: float, floor: float = 0.01) -> float:
        if share < self.warm:
            return peak * max(0.02, share / self.warm)
        t = min(1.0, (share - self.warm) / (1 - self.warm))
        return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * t)))


def log(path: pathlib.Path, **record) -> None:
    line = json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in record.items()})
    with open(path, "a") as file:
        file.write(line + "\n")
    print(line, flush=True)


def save(path: pathlib.Path, **state) -> None:
    """Written beside and moved into place, so a killed run leaves the last checkpoint whole."""
    torch.save(state, path.with_suffix(".part"))
    os.replace(path.with_suffix(".part"), path)
