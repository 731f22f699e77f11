"""What the training loop promises."""

import copy
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import time
import types

import pytest
import torch
from conftest import ROOT, losses, records

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def start(path: pathlib.Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "train.py", str(path), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, **pipes)


def finish(process: subprocess.Popen) -> None:
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output[-3000:]


def elsewhere(config: dict, tmp_path, name: str, **train) -> dict:
    config = copy.deepcopy(config)
    config["out"] = str(tmp_path / name)
    config["train"] |= train
    return config


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


def changed(config: dict) -> set[str]:
    """The tensors that a run has changed."""
    from recipe import config as configs
    from recipe.objectives import make

    after = torch.load(pathlib.Path(config["out"]) / "checkpoint" / "weights.pt")
    torch.manual_seed(config["seed"])
    before = make({**configs.DEFAULTS, **config, "train": configs.DEFAULTS["train"] | config["train"]})
    return {k for k, v in before.module.state_dict().items() if not torch.equal(v, after[k])}


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


def test_contrastive_with_two_processes_and_stored_teacher_embeddings(
    answers, tmp_path, llava, write_config, go
):
    import io
    import json
    import tarfile

    import numpy as np

    rng = np.random.default_rng(3)
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for i in range(12):
            stored = io.BytesIO()
            np.savez(stored, image=rng.normal(size=8).astype("f4"), text=rng.normal(size=8).astype("f4"))
            picture = (llava / f"{i}.png").read_bytes()
            for kind, data in (("png", picture), ("txt", f"number {i}".encode()), ("npz", stored.getvalue())):
                member = tarfile.TarInfo(f"{i}.{kind}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    answers |= {"objective": "contrastive", "data": {"kind": "webdataset", "path": str(tmp_path), "side": 64}}
    del answers["model"]["decoder"]
    answers["model"] |= {"embedding": 8, "distillation": 0.5, "text": text}
    answers["train"] |= {"trains": {"encoder": 1.0}, "statistics": False}
    log = go(answers)
    assert all("clip" in r and "distilled" in r for r in log)
    two = elsewhere(json.loads(json.dumps(answers)), tmp_path, "two")
    finish(start(write_config(two, "two"), "--processes", "2", "--port", "29635"))
    for (_, one), (_, other) in zip(losses(answers), losses(two), strict=True):
        assert other == pytest.approx(one, rel=2e-4)


def test_a_hidden_matrix_is_orthogonalised_and_an_embedding_is_not():
    from recipe import muon

    torch.manual_seed(1)
    for shape in ((24, 8), (8, 24), (16, 16)):
        values = torch.linalg.svdvals(muon.orthogonal(torch.randn(shape)))
        assert 0.3 < values.min() and values.max() < 1.4, shape
    assert muon.hidden("encoder.stages.1.mlp.fc1.weight", torch.zeros(48, 16, 1, 1))
    assert not muon.hidden("encoder.stages.1.conv.weight", torch.zeros(48, 1, 7, 7))
    assert not muon.hidden("decoder.model.embed_tokens.weight", torch.zeros(40, 16))


def test_things_are_counted_in_the_cells_around_them():
    from recipe.labels import crowd

    want = {"things": torch.tensor([[3, 3, -1]])}
    want["things_at"] = torch.tensor([[[0.375, 0.125], [0.5, 0.5], [0.9, 0.9]]])
    found = crowd(want, torch.Size([1, 4, 4, 5]))
    assert found.sum() == pytest.approx(2) and found[..., 3].sum() == pytest.approx(2)
    assert found[0, 0, 1, 3] == pytest.approx(1) and found[0, 1:3, 1:3, 3].tolist() == [[0.25, 0.25], [0.25, 0.25]]


@pytest.fixture
def painted(tmp_path):
    """Scenes to train on, and others to watch, some of them documents."""
    for split, documents in (("train", "0"), ("watch", "0.3")):
        command = [sys.executable, "-m", "synth.shards", "--split", split, "--shards", "1", "--size", "50"]
        arguments = ["--side", "128", "--documents", documents, "--out", str(tmp_path / "data")]
        subprocess.run([*command, *arguments], cwd=ROOT, check=True, env=ENVIRONMENT, capture_output=True)
    shared = {"kind": "painted", "path": str(tmp_path / "data"), "shards": 1, "size": 50, "side": 128}
    return shared | {"split": "train", "watch": shared | {"split": "watch"}}


def test_answers_and_names_are_learnt_at_two_resolutions_by_a_part_of_the_encoder(answers, painted, go):
    answers |= {"naming": 1.0, "data": painted | {"sides": {"64": 0.5, "128": 0.5}}}
    answers["model"]["encoder"]["branches"] = "folded"
    answers["train"]["trains"] = {"encoder.stages.4": 1.0, "projector": 1.0, "decoder": 1.0}
    go(answers)
    names = changed(answers)
    assert "naming.centres.weight" in names
    trained = [name for name in names if name.startswith("model.encoder.")]
    assert trained and all(name.startswith("model.encoder.stages.4.") for name in trained)
    watched = go.objective.watch(go.objective.module, 50)
    assert {"exists at 64", "exists at 128"} <= set(watched)
    assert any(k.startswith(("receipt", "form", "bars", "pie", "label", "table", "sign", "curve")) for k in watched)


def test_where_nothing_is_asked_the_names_alone_train_encoder_and_projector(answers, painted, go):
    del painted["watch"]
    answers |= {"naming": 1.0, "data": painted | {"questions": 0}}
    answers["train"] |= {"steps": 12, "batch": 10, "trains": {"encoder": 1.0, "projector": 1.0}, "workers": 1}
    log = go(answers)
    assert {"things", "signs", "spell", "centres", "sums"} <= set(log[0]) and "answer" not in log[0]
    assert log[-1]["loss"] < 0.9 * log[0]["loss"]
    assert not any(name.startswith("model.decoder.") for name in changed(answers))


def test_without_questions_and_names_there_is_nothing_to_learn(answers, painted, go):
    del painted["watch"]
    answers["data"] = painted | {"questions": 0}
    with pytest.raises(ValueError, match="nothing to learn.*questions.*naming"):
        go(answers)


def test_what_the_cells_say_adds_up_to_the_counts(tokenizer_file):
    from recipe.naming import Naming
    from tokenizers import Tokenizer

    naming = Naming(Tokenizer.from_file(tokenizer_file), 2)
    kinds = naming.tables["things"]
    table = torch.zeros(kinds.max() + 1, 2)
    table[kinds[7], 1] = 60.0
    told = torch.tensor([[[0.5413, 1.0], [0.5413, 1.0], [-30.0, 0.0], [-30.0, 0.0]]])  # softplus(0.5413) is 1
    want = {"things": torch.tensor([[7, 7]]), "things_at": torch.tensor([[[0.25, 0.25], [0.75, 0.25]]])}
    want["count"] = torch.zeros(1, len(kinds))
    with torch.no_grad():
        naming.centres.weight.copy_(torch.tensor([[1.0, 0.0]]))
        naming.centres.bias.zero_()
        for number, wrong in ((2, 0.0), (5, 2 * 3**2 / (1 + 5) ** 0.5)):
            want["count"][0, 7] = number
            found = naming.crowded(told, table, want)
            assert found["sums"].item() == pytest.approx(wrong, abs=1e-3)
            assert found["centres"].item() == pytest.approx(1, abs=1e-3)  # 1 - log 1 for either


def test_the_guided_head_learns_to_look_at_the_next_thing(answers, painted, tokenizer_file, tmp_path, go):
    del painted["watch"]
    answers |= {"guide": 1.0, "data": painted}
    answers["train"] |= {"steps": 20, "batch": 8, "rate": 5e-3}
    log = [record["guide"] for record in go(answers)]
    assert log[0] > 0.5 and sum(log[-4:]) / 4 < 0.7 * log[0], log
    asked = go.objective.module.guide.where.weight.detach().clone()
    answers |= {"out": str(tmp_path / "next"), "start": {"checkpoint": answers["out"]}}
    answers["train"] |= {"steps": 1, "rate": 0.0, "muon": False}
    go(answers)
    assert torch.equal(go.objective.module.guide.where.weight, asked)  # a throw-away head goes on as well
    answers["out"] = str(tmp_path / "unpointed")
    written = json.loads(pathlib.Path(tokenizer_file).read_text())
    written["added_tokens"] = [token for token in written["added_tokens"] if "row" not in token["content"]]
    answers["model"]["tokenizer"] = str(tmp_path / "without-places.json")
    (tmp_path / "without-places.json").write_text(json.dumps(written))
    with pytest.raises(ValueError, match="guide.*tokenizer with places"):
        go(answers)


def test_the_guide_is_content_with_a_head_that_looks_as_it_should():
    from recipe.guide import Guide

    width, tokens = 32, 1 + 16
    places = [(0.375, 0.125), (0.5, 0.75), (-1.0, -1.0)]  # the centre of cell 1, a corner of four, nothing left
    cells = [{2: 1.0}, {10: 0.25, 11: 0.25, 14: 0.25, 15: 0.25}, {0: 1.0}]  # after the first token
    batch = {"pointing": torch.tensor([[row, tokens, x, y] for row, (x, y) in enumerate(places)])}
    batch["ids"] = torch.tensor([[1] + [5] * 16 + [2]] * 3)
    batch["mask"] = torch.zeros(3, 1, tokens + 1, tokens + 1)
    batch["mask"][..., -1] = -1e9  # the question itself is not looked at here
    hidden = torch.zeros(3, tokens + 1, width)
    hidden[:, :-1, 0] = -20.0
    for row, shares in enumerate(cells):
        for cell, share in shares.items():
            hidden[row, cell, 0] = math.log(share)
    hidden[:, -1, 1] = 1.0
    attention, layer = torch.nn.Module(), torch.nn.Module()
    attention.head_dim, attention.scaling = width, 1.0
    attention.q_proj, attention.k_proj = torch.nn.Linear(width, width), torch.nn.Linear(width, width)
    for part, at in ((attention.q_proj, 1), (attention.k_proj, 0)):
        torch.nn.init.zeros_(part.weight), torch.nn.init.zeros_(part.bias)
        part.weight.data[0, at] = 1.0
    layer.self_attn = attention
    parts = types.SimpleNamespace(layers=[layer])
    guide = Guide(types.SimpleNamespace(base_model=parts, config=types.SimpleNamespace(hidden_size=width)))
    torch.nn.init.zeros_(guide.where.weight), torch.nn.init.zeros_(guide.where.bias)
    unturned = torch.ones(3, tokens + 1, width), torch.zeros(3, tokens + 1, width)

    def loss():
        guide.seen = [(hidden, unturned)]
        return guide(batch, 5).item()

    assert loss() == pytest.approx(math.log(8 / 2), abs=1e-4)  # any of 8 places where a cell covers 2
    for cell in range(16):  # now every token says its row and its column
        hidden[:, 1 + cell, [2 + cell // 4, 6 + cell % 4]] = 1.0
    for way in range(2):
        for place in range(8):
            guide.where.weight.data[8 * way + place, 2 + 4 * way + place // 2] = 50.0
    assert loss() == pytest.approx(0, abs=1e-4) and guide.seen == []
    hidden[0, 1, 0] = 1.0  # another cell is looked at as well
    assert 0.1 < loss() < 10


def test_a_larger_vocabulary_keeps_the_tokens_that_were_trained(tokenizer_file):
    from recipe.start import own_rows

    small = {"decoder.model.embed_tokens.weight": torch.rand(4, 3), "decoder.model.norm.weight": torch.rand(3)}
    large = {"decoder.model.embed_tokens.weight": torch.rand(6, 3), "decoder.model.norm.weight": torch.rand(3)}
    found = own_rows(small, large)
    assert torch.equal(found["decoder.model.embed_tokens.weight"][:4], small["decoder.model.embed_tokens.weight"])
    assert torch.equal(found["decoder.model.embed_tokens.weight"][4:], large["decoder.model.embed_tokens.weight"][4:])
    assert torch.equal(found["decoder.model.norm.weight"], small["decoder.model.norm.weight"])


def test_stored_features_of_two_resolutions_train_as_pixels_do(answers, painted, tmp_path, go):
    del painted["watch"]
    answers["model"]["encoder"]["branches"] = "folded"
    answers["train"] |= {"steps": 4, "trains": {"projector": 1.0, "decoder": 1.0}}
    answers["data"] = painted | {"sides": {"64": 0.5, "128": 0.5}}
    seen = [record["answer"] for record in go(answers)]
    command = [sys.executable, "store_features.py", answers["out"], painted["path"], "train", "1", "--size", "50"]
    for at in ("64", "128"):
        subprocess.run([*command, "--side", "128", "--at", at], cwd=ROOT, check=True, env=ENVIRONMENT)
    answers["out"] = str(tmp_path / "again")
    answers["data"]["features"] = {at: f"{painted['path']}/features-train-{at}.bin" for at in ("64", "128")}
    assert [record["answer"] for record in go(answers)] == pytest.approx(seen, rel=0.02)
    del answers["data"]["features"]["64"]
    with pytest.raises(ValueError, match=r"data.sides has \[64\], but data.features has files of \[128\] only"):
        go(answers)


def test_shared_key_and_value_heads_are_repeated_where_the_model_has_more(tokenizer_file):
    from conftest import DECODER, ENCODER
    from recipe.start import own_heads
    from recipe.model import VisionLanguage
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(tokenizer_file)
    encoder = ENCODER | {"branches": "folded"}
    few, many = (
        VisionLanguage({"encoder": encoder, "decoder": DECODER | heads}, tokenizer).decoder.eval()
        for heads in (
            {"num_attention_heads": 4, "num_key_value_heads": 2},
            {"num_attention_heads": 4, "num_key_value_heads": 4},
        )
    )
    many.load_state_dict(own_heads(few.state_dict(), many.state_dict(), 8))
    ids = torch.randint(0, 500, (1, 12))
    assert torch.allclose(few(ids).logits, many(ids).logits, atol=1e-5)


def test_layers_are_added_to_a_decoder_without_changing_what_it_says(answers, tmp_path, go):
    from conftest import DECODER

    answers["train"] |= {"steps": 2, "rate": 1e-2}
    go(answers)
    ids, few = torch.randint(0, 500, (1, 12)), go.objective.module.model.decoder.eval()
    number = DECODER["num_hidden_layers"]
    deeper = DECODER | {"num_hidden_layers": number + number // 2 + 1}
    answers |= {"out": str(tmp_path / "deeper"), "start": {"checkpoint": answers["out"]}}
    answers["model"] |= {"decoder": deeper}
    answers["train"] |= {"steps": 1, "rate": 0.0, "muon": False}
    go(answers)
    many = go.objective.module.model.decoder.eval()
    assert len(many.model.layers) > number
    assert torch.allclose(few(ids).logits, many(ids).logits, atol=1e-5)
    answers |= {"out": str(tmp_path / "learnt")}
    answers["train"] |= {"steps": 2, "rate": 1e-2}
    go(answers)
    added = [layer.mlp.down_proj.weight.abs().sum() for layer in go.objective.module.model.decoder.model.layers]
    assert all(total > 0 for total in added)  # they learn all the same


def test_the_mean_of_two_runs_is_a_run(answers, tmp_path, go):
    from recipe import average, export

    answers["train"] |= {"steps": 2}
    go(answers)
    first = answers["out"]
    answers |= {"out": str(tmp_path / "second"), "start": {"checkpoint": first}}
    go(answers)
    runs = dict(average.share(text) for text in (f"{first}=0.5", f"{answers['out']}=1.5"))
    average.write(runs, tmp_path / "mean")
    one, two, mean = (export.network_of(pathlib.Path(run))[0].state_dict() for run in (*runs, tmp_path / "mean"))
    moved = 0
    for name in two:
        if two[name].is_floating_point():
            moved += not torch.equal(one[name], two[name])
            assert torch.allclose(mean[name], 0.25 * one[name] + 0.75 * two[name], atol=1e-6), name
        else:
            assert torch.equal(mean[name], two[name]), name
    assert moved > len(two) / 2
    with pytest.raises(FileExistsError):
        average.write(runs, tmp_path / "mean")


def test_runs_of_other_models_have_no_mean_and_shares_are_positive_numbers():
    from recipe import average

    with pytest.raises(ValueError, match="not of one model, first a"):
        average.mean([{"a": torch.zeros(2), "b": torch.zeros(1)}, {"a": torch.zeros(3), "b": torch.zeros(1)}], [1, 1])
    with pytest.raises(ValueError, match="not of one model, first b"):
        average.mean([{"a": torch.zeros(2)}, {"a": torch.zeros(2), "b": torch.zeros(1)}], [1, 1])
    for text in ("run", "=0.5", "run=", "run=0", "run=-1", "run=nan", "run=inf", "run=half"):
        with pytest.raises(ValueError, match="expected a run and its share"):
            average.share(text)


def test_labels_train_an_encoder_on_painted_scenes(tmp_path, painted, go):
    from conftest import ENCODER

    painted |= {"questions": 0, "watch": painted["watch"] | {"questions": 0}}
    config = {
        "objective": "labels",
        "out": str(tmp_path / "see"),
        "model": {"encoder": ENCODER | {"branches": "single", "layer_scale": 0.1}},
        "data": painted,
        "train": {
            "steps": 12,
            "batch": 10,
            "rate": 3e-3,
            "log_every": 1,
            "save_every": 12,
            "watch_every": 0,
            "statistics": True,
            "trains": {"encoder": 1.0, "heads": 1.0},
        },
    }
    log = go(config)
    assert log[-1]["loss"] < 0.8 * log[0]["loss"]
    assert set(go.objective.watch(go.objective.module, 50)) >= {"name", "sign", "count", "word"}


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.toml")), ids=lambda p: p.stem)
def test_every_stage_is_a_readable_configuration(path):
    from recipe import config as configs

    config = configs.load(path, ["train.steps=7", "data.path=elsewhere"])
    assert config["train"]["steps"] == 7 and config["data"]["path"] == "elsewhere"
    assert config["objective"] in ("labels", "contrastive", "answers") and config["train"]["trains"]


def test_a_run_with_batch_norms_is_folded_where_a_folded_one_begins(answers, tmp_path, go):
    answers["model"]["encoder"] |= {"branches": "single"}
    answers["train"] |= {"steps": 2, "statistics": True}
    go(answers)
    first = go.objective.module.model.eval()
    answers |= {"out": str(tmp_path / "folded"), "start": {"checkpoint": answers["out"]}}
    answers["model"] = answers["model"] | {"encoder": answers["model"]["encoder"] | {"branches": "folded"}}
    answers["train"] |= {"steps": 1, "rate": 0.0, "statistics": False}
    go(answers)
    pixels = torch.randint(0, 256, (2, 128, 128, 3), dtype=torch.uint8)
    with torch.no_grad():
        one, two = (network.features(pixels) for network in (first, go.objective.module.model.eval()))
    assert torch.allclose(one, two, atol=1e-4)
    answers |= {"out": str(tmp_path / "other")}
    answers["start"] = {"checkpoint": str(tmp_path / "folded")}
    answers["model"] = answers["model"] | {"encoder": answers["model"]["encoder"] | {"branches": "single"}}
    with pytest.raises(ValueError, match="another form of encoder"):  # what was folded has no batch norms
        go(answers)


def test_a_model_with_fewer_layers_than_its_start_is_an_error(answers, tmp_path, go):
    answers["train"] |= {"steps": 1}
    go(answers)
    answers |= {"out": str(tmp_path / "fewer"), "start": {"checkpoint": answers["out"]}}
    answers["model"] = answers["model"] | {"decoder": answers["model"]["decoder"] | {"num_hidden_layers": 1}}
    with pytest.raises(ValueError, match=r"no place for decoder\.model\.layers\.1"):
        go(answers)


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
