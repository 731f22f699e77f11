"""What the training loop promises."""

import copy
import math
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import ENVIRONMENT, ROOT, changed, elsewhere, finish, losses, records, start


def test_killed_in_the_middle_the_loss_curve_continues(answers, tmp_path, write_config, go):
    answers["train"] |= {"steps": 10, "save_every": 3}
    answers["model"]["encoder"]["drop_path"] = 0.2  # random numbers of the network must be resumed as well
    go(answers)
    killed = elsewhere(answers, tmp_path, "killed")
    path = write_config(killed, "killed")
    process = start(path)
    log = tmp_path / "killed" / "log.jsonl"
    until = time.monotonic() + 600
    while process.poll() is None and time.monotonic() < until:
        if log.exists() and len(log.read_text().splitlines()) >= 5:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert losses(killed)[-1][0] < 10
    finish(start(path))
    # Another process may round the last digit otherwise; random numbers that are not resumed change far more.
    for (step, one), (again, other) in zip(losses(answers), losses(killed), strict=True):
        assert step == again and other == pytest.approx(one, rel=1e-5)


def test_two_processes_give_the_loss_curve_of_one(answers, tmp_path, write_config, go):
    go(answers)
    two = elsewhere(answers, tmp_path, "two")
    finish(start(write_config(two, "two"), "--processes", "2", "--port", "29633"))
    for (step, one), (again, other) in zip(losses(answers), losses(two), strict=True):
        assert step == again and other == pytest.approx(one, rel=2e-4)


def test_sharded_over_two_processes_it_is_the_same_curve_and_can_be_resumed(
    answers, tmp_path, write_config, go
):
    go(answers)
    half = elsewhere(answers, tmp_path, "sharded", sharded=True)
    path = write_config(half, "sharded")
    finish(start(path, "--processes", "2", "--port", "29636", "--set", "train.steps=6"))
    for (_, one), (_, other) in zip(losses(answers), losses(half), strict=True):
        assert other == pytest.approx(one, rel=2e-4)
    lines = (tmp_path / "sharded" / "log.jsonl").read_text().splitlines()
    finish(start(path, "--processes", "2", "--port", "29636", "--set", "train.steps=8"))
    assert (tmp_path / "sharded" / "log.jsonl").read_text().splitlines()[: len(lines)] == lines
    assert [step for step, _ in losses(half)] == list(range(1, 9))


def test_muon_can_be_resumed_and_is_the_same_over_two_processes(answers, tmp_path, write_config, go):
    answers["train"] |= {"muon": True, "steps": 6}
    go(answers)
    again = elsewhere(answers, tmp_path, "again", save_every=2)
    process = start(write_config(again, "again"))
    checkpoint, until = tmp_path / "again" / "checkpoint" / "complete", time.monotonic() + 600
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    finish(start(tmp_path / "again.toml"))
    assert losses(again) == losses(answers)
    two = elsewhere(answers, tmp_path, "two")
    finish(start(write_config(two, "two"), "--processes", "2", "--port", "29637"))
    for (_, one), (_, other) in zip(losses(answers), losses(two), strict=True):
        assert other == pytest.approx(one, rel=2e-4)
    adam = elsewhere(answers, tmp_path, "adam", muon=False)
    assert [r["loss"] for r in go(adam)][1:] != [loss for _, loss in losses(answers)][1:]


def test_torchrun_starts_it_as_well(answers, tmp_path, write_config, go):
    go(answers)
    two = elsewhere(answers, tmp_path, "torchrun")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=29634"]
    command = [*launcher, "train.py", str(write_config(two, "torchrun"))]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    for (_, one), (_, other) in zip(losses(answers), losses(two), strict=True):
        assert other == pytest.approx(one, rel=2e-4)


def test_accumulated_parts_are_one_batch(answers, tmp_path, go):
    go(answers)
    parts = elsewhere(answers, tmp_path, "parts", accumulate=2)
    go(parts)
    for (_, one), (_, other) in zip(losses(answers), losses(parts), strict=True):
        assert other == pytest.approx(one, rel=2e-4)


def test_unreadable_samples_are_skipped_counted_and_reported(answers, llava, go):
    answers["data"]["path"] = str(llava / "with-broken.json")
    answers["train"] |= {"steps": 4, "batch": 15}  # four epochs
    answers["train"]["save_every"] = 4
    log = go(answers)
    skipped = records(answers, "skipped.jsonl")
    assert len(skipped) >= 12 and log[-1]["skipped"] == len(skipped)
    reasons = " ".join(entry["reason"] for entry in skipped)
    assert "nowhere.png" in reasons and "truncated" in reasons and "alternate" in reasons
    assert all("step" in entry and "index" in entry for entry in skipped)


def test_a_loss_that_is_not_finite_changes_nothing_and_is_reported(answers, go, monkeypatch):
    from recipe import answers as module

    forward = module.Learner.forward
    calls = []

    def poisoned(self, batch):
        found = forward(self, batch)
        calls.append(1)
        if len(calls) == 3:
            found["loss"] = found["loss"] * float("nan")
        return found

    monkeypatch.setattr(module.Learner, "forward", poisoned)
    log = go(answers)
    skipped = records(answers, "skipped.jsonl")
    assert [entry["step"] for entry in skipped] == [3] and log[-1]["broken"] == 1
    weights = torch.load(pathlib.Path(answers["out"]) / "checkpoint" / "weights.pt")
    assert all(torch.isfinite(v).all() for v in weights.values() if v.is_floating_point())


def test_a_step_that_is_not_finite_leaves_the_statistics_as_they_were(answers, go, monkeypatch):
    from recipe import model

    features, calls = model.VisionLanguage.features, []

    def poisoned(self, pixels):
        calls.append(1)
        if len(calls) == 3:
            self.encoder.stem[0].register_forward_hook(lambda *told: told[2] * float("nan"), always_call=True)
        elif len(calls) == 4:
            self.encoder.stem[0]._forward_hooks.clear()
        return features(self, pixels)

    monkeypatch.setattr(model.VisionLanguage, "features", poisoned)
    answers["train"] |= {"statistics": True}
    log = go(answers)
    assert log[-1]["broken"] == 1 and math.isfinite(log[-1]["loss"])
    weights = torch.load(pathlib.Path(answers["out"]) / "checkpoint" / "weights.pt")
    assert any("running_var" in name for name in weights)
    assert all(torch.isfinite(v).all() for v in weights.values() if v.is_floating_point())


def test_conversations_that_are_cut_are_listed_but_not_skipped(answers, go):
    answers["data"]["longest"] = 35
    log = go(answers)
    listed = records(answers, "skipped.jsonl")
    assert log[-1]["skipped"] == 0 and all(entry["kept"] and "cut from" in entry["reason"] for entry in listed)
    assert 0 < len(listed) <= 6 * 4


def test_settings_that_are_changed_at_a_resume_are_used_and_noted(answers, go):
    answers["train"] |= {"steps": 4, "weight_decay": 0.5}
    go(answers)
    answers["train"] |= {"steps": 6, "weight_decay": 0.0}
    log = go(answers)
    noted = [record["changed"] for record in log if "changed" in record]
    assert noted == [{"train.steps": [4, 6], "train.weight_decay": [0.5, 0.0]}]
    assert {group["weight_decay"] for group in go.run.optimiser.param_groups} == {0.0}
    with open(pathlib.Path(answers["out"]) / "log.jsonl", "a") as file:
        file.write('{"step": 6, "lo')  # killed while it wrote
    answers["train"]["steps"] = 7
    assert [r["step"] for r in go(answers) if "loss" in r] == [*range(1, 8)]


def test_memory_is_saved_at_the_same_losses(answers, tmp_path, go):
    log = go(answers)
    again = elsewhere(answers, tmp_path, "again", recompute=True)
    assert [r["loss"] for r in go(again)] == pytest.approx([r["loss"] for r in log], rel=1e-4)
    assert all(layer.gradient_checkpointing for layer in go.objective.module.model.decoder.model.layers)


def test_frozen_parts_stay_as_they_were(answers, go):
    answers["train"]["trains"] = {"projector": 1.0}
    go(answers)
    assert {name.split(".")[1] for name in changed(answers)} == {"projector"}


def test_the_log_has_curves(answers, go):
    log = go(answers)
    assert {"step", "seen", "speed", "minutes_left", "rate", "loss", "norm"} <= set(log[0])
    assert (pathlib.Path(answers["out"]) / "curve.png").stat().st_size > 1000


def test_batches_of_several_resolutions_train_one_set_of_weights(answers, go):
    answers["data"] |= {"sides": {"64": 0.5, "128": 0.5}}
    seen = set()
    from recipe import model

    features = model.VisionLanguage.features

    def noted(self, pixels):
        seen.add(pixels.shape[1])
        return features(self, pixels)

    model.VisionLanguage.features = noted
    try:
        log = go(answers)
    finally:
        model.VisionLanguage.features = features
    assert seen == {64, 128} and all(r["loss"] < 20 for r in log)


def test_bf16_autocast_runs(answers, go):
    answers["train"]["precision"] = "bf16"
    log = go(answers)
    assert all(0 < r["loss"] < 20 for r in log)


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.toml")), ids=lambda p: p.stem)
def test_every_stage_is_a_readable_configuration(path):
    from recipe import config as configs

    config = configs.load(path, ["train.steps=7", "data.path=elsewhere"])
    assert config["train"]["steps"] == 7 and config["data"]["path"] == "elsewhere"
    assert config["objective"] in ("labels", "contrastive", "answers") and config["train"]["trains"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("runs/a", "runs/a"), ("true", True), ('{ "256" = 0.3, "512" = 0.7 }', {"256": 0.3, "512": 0.7}),
        ('{"256": 0.3}', {"256": 0.3}), ("[1, 1, 3]", [1, 1, 3]), ('"a b"', "a b"), ("", ""), ("a = b", "a = b"),
    ],
)  # fmt: skip
def test_a_setting_is_changed_as_it_is_written_in_a_file(text, value, answers, write_config):
    from recipe import config as configs

    assert configs.load(write_config(answers), [f"data.sides={text}"])["data"]["sides"] == value


def test_a_changed_setting_that_lost_its_quotes_is_an_error(answers, write_config):
    from recipe import config as configs

    with pytest.raises(ValueError, match="--set data.sides: {256=0.3 is neither TOML nor JSON"):
        configs.load(write_config(answers), ["data.sides={256=0.3"])


def test_shards_that_nobody_paints_are_an_error_and_so_are_those_of_another_resolution(painted, tmp_path, monkeypatch):
    from recipe.engine import Samples
    from recipe.shards import Scenes, ShardError

    monkeypatch.setattr(Scenes, "patience", (0, 0))
    with pytest.raises(ShardError, match="train-000.jsonl is not there: paint it"):
        Scenes(tmp_path / "nowhere", "train", 1, 50, 128).sample(0)
    with pytest.raises(ShardError, match="train-001.jsonl is not there"):  # at once, though others may be skipped
        Samples(Scenes(painted["path"], "train", 2, 50, 128))[0, 50]
    with pytest.raises(ShardError, match="not 50 images of 64 x 64 pixels"):
        Scenes(painted["path"], "train", 1, 50, 64).sample(0)


def test_what_cannot_be_trained_together_is_an_error(answers, painted, go):
    for settings, told in (
        ({"train": answers["train"] | {"fast_cpu": True, "precision": "bf16"}}, "fast_cpu is for float32"),
        ({"data": painted | {"watch": answers["data"]}}, "data.watch asks about drawn scenes"),
        ({"objective": "contrastive", "model": {}, "train": answers["train"] | {"accumulate": 2}}, "accumulate must be 1"),
    ):
        with pytest.raises(ValueError, match=told):
            go(answers | settings)


def test_a_part_that_does_not_exist_is_an_error(answers, go):
    answers["train"]["trains"] = {"encoder.stages.9": 1.0}
    with pytest.raises(ValueError, match="encoder.stages.9.*encoder, decoder, projector"):
        go(answers)


def test_a_misspelt_setting_is_an_error(answers, write_config):
    from recipe import config as configs

    for part, told in (("train", r"\[train\]: stepps"), ("model", r"\[model\]: stepps"), (None, "settings: stepps")):
        wrong = copy.deepcopy(answers)
        (wrong[part] if part else wrong)["stepps"] = 3
        with pytest.raises(ValueError, match=told):
            configs.load(write_config(wrong))
