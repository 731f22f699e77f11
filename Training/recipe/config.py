"""A stage is a TOML file: what is trained, on what, how. Values can be changed on the command line.

python train.py configs/embedded/1-see.toml --set train.steps=100 --set data.path=/somewhere
"""

import argparse
import json
import pathlib
import tomllib

DEFAULTS = {
    "seed": 1,
    "start": {},  # checkpoint = a run's folder or an exported model to take weights from
    "naming": 0.0,  # weight of what every visual token should say of its cell (recipe/naming.py)
    "guide": 0.0,  # weight of showing two heads where to look when they count (recipe/guide.py)
    "model": {},
    "data": {},
    "train": {
        "batch": 32,  # images per step, over all processes and accumulated parts together
        "accumulate": 1,
        "rate": 1e-3,
        "warm": 0.03,  # share of the steps with a rising rate
        "hold": 0.0,  # share of the steps behind the warm-up before the cosine starts
        "floor": 0.01,  # share of the rate that is left at the end
        "weight_decay": 0.02,
        "betas": [0.9, 0.98],
        "clip": 1.0,
        "muon": False,  # orthogonalised updates of hidden matrices (recipe/muon.py)
        "precision": "no",  # or bf16: autocast
        "trains": {},  # part, or part of a part -> factor on the rate; what is not named is frozen
        "statistics": False,  # whether batch norms go on measuring (only sensible where the encoder starts)
        "sharded": False,  # FSDP instead of DDP
        "workers": 0,
        "log_every": 20,
        "save_every": 200,
        "watch_every": 200,
        "fast_cpu": False,  # depthwise convolutions and GELU of recipe/fast_ops.cpp, built with g++
        "recompute": False,  # the decoder's activations are computed again for the gradient, to save memory
    },
}
MODEL = {  # objective -> settings of [model]
    "labels": {"encoder"},
    "answers": {"tokenizer", "like", "encoder", "decoder", "lora"},
    "contrastive": {"tokenizer", "encoder", "text", "embedding", "distillation", "teacher_scale"},
}


def load(path: str | pathlib.Path, changes: list[str] = ()) -> dict:
    with open(path, "rb") as file:
        read = tomllib.load(file)
    config = json.loads(json.dumps(DEFAULTS))
    for key, value in read.items():
        if isinstance(value, dict) and isinstance(config.get(key), dict):
            config[key].update(value)
        else:
            config[key] = value
    for change in changes:
        name, _, value = change.partition("=")
        *way, last = name.split(".")
        at = config
        for part in way:
            at = at.setdefault(part, {})
        at[last] = value_of(name, value)
    for key in ("objective", "out"):
        if key not in config:
            raise ValueError(f"{path}: `{key}` is missing")
    known = {"": {*DEFAULTS, "objective", "out"}, "start": {"checkpoint"}, "train": {*DEFAULTS["train"], "steps"}}
    known["model"] = MODEL.get(config["objective"], set(config["model"]))
    for part, names in known.items():
        if unknown := set(config[part] if part else config) - names:
            place = f" in [{part}]" if part else ""
            raise ValueError(f"{path}: unknown settings{place}: {', '.join(sorted(unknown))}")
    config["train"]["trains"] = flat(config["train"]["trains"])
    if "steps" not in config["train"]:
        raise ValueError(f"{path}: `train.steps` is missing")
    return config


def value_of(name: str, text: str):
    """A setting's value as TOML has it, or as JSON has it, or, where it is neither, a text without its quotes."""
    for read in (json.loads, lambda value: tomllib.loads(f"value = {value}")["value"]):
        try:
            return read(text)
        except ValueError:
            pass
    if text.startswith(("{", "[", '"')):
        raise ValueError(f"--set {name}: {text} is neither TOML nor JSON (mind the shell's quotes)")
    return text


def flat(parts: dict, prefix: str = "") -> dict[str, float]:
    """{"encoder": {"stages": {"4": 1.0}}}, which is what TOML makes of encoder.stages.4 = 1.0, under one name."""
    found = {}
    for name, value in parts.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def differences(old: dict, new: dict) -> dict[str, list]:
    """Setting -> its old and new value, of those that differ."""
    before, after = flat(old), flat(new)
    return {k: [before.get(k), after.get(k)] for k in sorted(before.keys() | after.keys()) if before.get(k) != after.get(k)}


def arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting")
    parser.add_argument(
        "--processes", type=int, default=1, help="CPU processes to start here (else torchrun)"
    )
    parser.add_argument("--port", type=int, default=29517)
    return parser.parse_args()
