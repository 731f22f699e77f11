"""Tiny models and data for the tests of the recipe."""

import copy
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

ENCODER = {"layers": [1, 1, 1, 1, 1], "embed_dims": [8, 16, 32, 64, 128], "mlp_ratios": [2, 2, 2, 2, 2]}
DECODER = {
    "type": "qwen2",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 64,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
}


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory):
    from synth.tokenizer import build

    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    build().save(str(path))
    return str(path)


@pytest.fixture(scope="session")
def llava(tmp_path_factory):
    """Twelve good samples, one of them without an image, and three that cannot be read."""
    folder = tmp_path_factory.mktemp("llava")
    rng = np.random.default_rng(os.getpid())
    entries = []
    for i in range(12):
        pixels = rng.integers(0, 256, (rng.integers(40, 90), rng.integers(40, 90), 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        turns = [
            {"from": "human", "value": "<image>\nWhat is this?" if i else "What is this?"},
            {"from": "gpt", "value": f"A {['dog', 'cat', 'fox'][i % 3]}."},
            {"from": "human", "value": "How many are there?"},
            {"from": "gpt", "value": str(i)},
        ]
        entries.append({"id": str(i), "conversations": turns} | ({"image": f"{i}.png"} if i else {}))
    (folder / "all-good.json").write_text(json.dumps(entries))
    (folder / "cut.png").write_bytes((folder / "1.png").read_bytes()[:200])
    broken = [
        {"id": "cut", "image": "cut.png", "conversations": entries[1]["conversations"]},
        {"id": "missing", "image": "nowhere.png", "conversations": entries[1]["conversations"]},
        {"id": "order", "image": "1.png", "conversations": list(reversed(entries[1]["conversations"]))},
    ]
    mixed = entries[:4] + broken[:1] + entries[4:8] + broken[1:2] + entries[8:] + broken[2:]
    (folder / "with-broken.json").write_text(json.dumps(mixed))
    return folder


@pytest.fixture
def answers(tmp_path, llava, tokenizer_file):
    """A configuration of objective "answers" that trains everything on the good samples."""
    return {
        "objective": "answers",
        "out": str(tmp_path / "run"),
        "seed": 5,
        "start": {},
        "model": {
            "tokenizer": tokenizer_file,
            "encoder": ENCODER | {"branches": "multi", "layer_scale": 0.1},
            "decoder": DECODER,
        },
        "data": {"kind": "llava", "path": str(llava / "all-good.json"), "side": 128},
        "train": {
            "steps": 6,
            "batch": 4,
            "rate": 2e-3,
            "log_every": 1,
            "save_every": 2,
            "watch_every": 0,
            "trains": {"encoder": 1.0, "projector": 1.0, "decoder": 1.0},
        },
    }


@pytest.fixture
def write_config(tmp_path):
    """Writes a configuration as the TOML file that train.py reads."""

    def value(v) -> str:
        if isinstance(v, dict):
            return "{ " + ", ".join(f"{k} = {value(x)}" for k, x in v.items()) + " }"
        return json.dumps(v)

    def write(config: dict, name: str = "config") -> pathlib.Path:
        path = tmp_path / f"{name}.toml"
        path.write_text("".join(f"{k} = {value(v)}\n" for k, v in config.items()))
        return path

    return write


@pytest.fixture
def go(write_config):
    """Runs a configuration in this process and returns the records of its log."""

    def run(config: dict, name: str = "config") -> list[dict]:
        from accelerate.state import AcceleratorState, GradientState, PartialState
        from recipe import config as configs
        from recipe.engine import Run
        from recipe.objectives import make

        for state in (AcceleratorState, GradientState, PartialState):
            state._reset_state()
        full = configs.load(write_config(config, name))
        torch.manual_seed(full["seed"])
        run.objective = make(full)
        run.run = Run(full, run.objective)
        run.run.go()
        return records(config)

    return run


def records(config: dict, name: str = "log.jsonl") -> list[dict]:
    path = pathlib.Path(config["out"]) / name
    return [json.loads(line) for line in path.read_text().splitlines()]


def losses(config: dict) -> list[tuple[int, float]]:
    return [(r["step"], r["loss"]) for r in records(config) if "loss" in r]


@pytest.fixture
def painted(tmp_path):
    """Scenes to train on, and others to watch, some of them documents."""
    for split, documents in (("train", "0"), ("watch", "0.3")):
        command = [sys.executable, "-m", "synth.shards", "--split", split, "--shards", "1", "--size", "50"]
        arguments = ["--side", "128", "--documents", documents, "--out", str(tmp_path / "data")]
        subprocess.run([*command, *arguments], cwd=ROOT, check=True, env=ENVIRONMENT, capture_output=True)
    shared = {"kind": "painted", "path": str(tmp_path / "data"), "shards": 1, "size": 50, "side": 128}
    return shared | {"split": "train", "watch": shared | {"split": "watch"}}


def elsewhere(config: dict, tmp_path, name: str, **train) -> dict:
    config = copy.deepcopy(config)
    config["out"] = str(tmp_path / name)
    config["train"] |= train
    return config


def start(path: pathlib.Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "train.py", str(path), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, **pipes)


def finish(process: subprocess.Popen) -> None:
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output[-3000:]


def changed(config: dict) -> set[str]:
    """The tensors that a run has changed."""
    from recipe import config as configs
    from recipe.objectives import make

    after = torch.load(pathlib.Path(config["out"]) / "checkpoint" / "weights.pt")
    torch.manual_seed(config["seed"])
    before = make({**configs.DEFAULTS, **config, "train": configs.DEFAULTS["train"] | config["train"]})
    return {k for k, v in before.module.state_dict().items() if not torch.equal(v, after[k])}
