"""What the objectives promise: that each learns what it should, and how."""

import json
import math
import pathlib
import subprocess
import sys
import types

import pytest
import torch
from conftest import ENVIRONMENT, ROOT, changed, elsewhere, finish, losses, start


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
