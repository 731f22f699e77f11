"""Averages the weights of runs, of which one began where another had ended ("model soups", Wortsman et al., 2022).

Two states of one training make other mistakes, and weights between them make fewer of both. It costs nothing at run
time. States that do not come from one another lie too far apart: between them there is nothing.
"""

import json
import math
import pathlib
import shutil

import torch

from recipe.model import initial


def share(text: str) -> tuple[pathlib.Path, float]:
    """A run and its share, from "runs/a=0.3"."""
    run, _, number = text.rpartition("=")
    try:
        found = float(number)
    except ValueError:
        found = math.nan
    if not run or not 0 < found < math.inf:
        raise ValueError(f'"{text}": expected a run and its share, such as runs/a=0.3')
    return pathlib.Path(run), found


def mean(states: list[dict], shares: list[float]) -> dict[str, torch.Tensor]:
    """Weighted means of tensors of the same names and shapes. Whole numbers, such as counters, are the last state's."""
    first, total = states[0], math.fsum(shares)
    for state in states[1:]:
        other = {k for k in first.keys() | state.keys() if k not in first or k not in state}
        other |= {k for k in first.keys() & state.keys() if first[k].shape != state[k].shape}
        if other:
            raise ValueError(f"the runs are not of one model, first {min(other)}")
    found = dict(states[-1])
    for name, last in found.items():
        if last.is_floating_point():
            parts = (part * state[name].double() for part, state in zip(shares, states, strict=True))
            found[name] = (sum(parts) / total).to(last.dtype)
    return found


def write(runs: dict[pathlib.Path, float], out: pathlib.Path) -> None:
    """A run folder with the means of the runs' weights and the last one's configuration."""
    if out.exists():
        raise FileExistsError(f"{out} is there already")
    weights = mean([initial(run) for run in runs], list(runs.values()))
    *_, last = runs
    config = json.loads((last / "config.json").read_text())
    config["averaged"] = {str(run): part for run, part in runs.items()}
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "checkpoint").mkdir(parents=True)
    torch.save(weights, part / "checkpoint" / "weights.pt")
    (part / "config.json").write_text(json.dumps(config, indent=1))
    part.replace(out)
