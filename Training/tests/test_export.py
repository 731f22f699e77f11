"""What exports promise: transformers and the Swift runtime load them and compute what was trained."""

import json
import os
import pathlib
import subprocess

import numpy as np
import pytest
import torch
from conftest import ROOT
from PIL import Image
from recipe import export


def trained(go, config, tmp_path, form: str, dtype: str = "float32") -> tuple:
    go(config)
    network, _, full = export.network_of(pathlib.Path(config["out"]))
    out = tmp_path / form
    export.write(network, full["model"]["tokenizer"], out, 128, form, dtype)
    network, *_ = export.network_of(pathlib.Path(config["out"]))
    return network.eval(), out


@torch.no_grad()
def logits_of(network, ids, pixels):
    n = ids.shape[1]
    mask = torch.zeros(1, 1, n, n).masked_fill_(~torch.ones(n, n, dtype=torch.bool).tril(), -1e9)
    batch = {"ids": ids, "mask": mask, "position": torch.arange(n)[None], "pixels": pixels}
    return network.logits(network.hidden(batch)[0])


def prompt(network, tokenizer_file: str, question: str) -> torch.Tensor:
    from recipe.text import Packer
    from tokenizers import Tokenizer

    packer = Packer(Tokenizer.from_file(tokenizer_file))
    ids, _, _, learn = packer.row([(question, "")], 4, True)
    return torch.tensor([ids[: learn.index(True)]])


@pytest.mark.parametrize("form", ["trained", "folded"])
@pytest.mark.parametrize("decoder", ["qwen2", "llama"])
def test_transformers_loads_both_forms_and_gives_the_trained_logits(
    answers, go, tmp_path, tokenizer_file, form, decoder
):
    from transformers import FastVlmForConditionalGeneration

    answers["model"]["decoder"] = answers["model"]["decoder"] | {
        "type": decoder,
        "tie_word_embeddings": decoder == "qwen2",
    }
    answers["train"] |= {"steps": 4, "statistics": True}
    network, out = trained(go, answers, tmp_path, form)
    model, report = FastVlmForConditionalGeneration.from_pretrained(
        out, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    pixels = torch.randint(0, 256, (1, 128, 128, 3), dtype=torch.uint8)
    ids = prompt(network, tokenizer_file, "What is this?")
    ours = logits_of(network, ids, pixels)
    with torch.no_grad():
        theirs = model.eval()(input_ids=ids, pixel_values=pixels.permute(0, 3, 1, 2).float() / 255).logits
    assert torch.allclose(ours, theirs, atol=2e-4), (ours - theirs).abs().max()


def test_single_branch_encoders_export_folded_only(answers, go, tmp_path):
    answers["model"]["encoder"] |= {"branches": "single"}
    answers["train"] |= {"steps": 2, "statistics": True}
    network, _ = trained(go, answers, tmp_path, "folded")
    with pytest.raises(ValueError, match="folded"):
        export.tensors(network, "trained", torch.float32)


def test_a_checkpoint_is_fine_tuned_with_adapters_that_are_merged_at_export(
    answers, go, tmp_path, tokenizer_file
):
    network, out = trained(go, answers, tmp_path, "folded")
    tuned = json.loads(json.dumps(answers))
    tuned["out"] = str(tmp_path / "tuned")
    tuned["start"] = {"checkpoint": str(out)}
    tuned["model"] = {"like": str(out), "tokenizer": str(out / "tokenizer.json"), "lora": {"rank": 4}}
    tuned["train"] |= {"trains": {"lora": 1.0}, "rate": 1e-2}
    go(tuned)
    adapted, *_ = export.network_of(tmp_path / "tuned")
    pixels = torch.randint(0, 256, (1, 128, 128, 3), dtype=torch.uint8)
    ids = prompt(network, tokenizer_file, "What is this?")
    before, with_adapters = logits_of(network, ids, pixels), logits_of(adapted.eval(), ids, pixels)
    export.write(adapted, str(out / "tokenizer.json"), tmp_path / "merged", 128, "folded", "float32")
    again = json.loads(json.dumps(tuned))
    again["model"].pop("lora")
    from recipe.answers import Answers
    from recipe.model import VisionLanguage
    from tokenizers import Tokenizer

    merged = VisionLanguage(
        again["model"] | {"like": str(tmp_path / "merged")}, Tokenizer.from_file(tokenizer_file)
    )
    Answers.begin(merged, str(tmp_path / "merged"))
    after = logits_of(merged.eval(), ids, pixels)
    assert torch.allclose(with_adapters, after, atol=1e-4)
    assert not torch.allclose(before, after, atol=1e-2)


def test_a_folded_encoder_can_be_trained_on(tmp_path):
    from conftest import ENCODER
    from recipe import encoder as encoders

    torch.manual_seed(2)
    images = [torch.rand(6, 3, 128, 128) for _ in range(2)]
    net = encoders.make_encoder(**ENCODER, branches="single", layer_scale=0.1)
    for batch in images:
        net.train().forward_features(batch)
    folded = encoders.folded(net)
    again = encoders.make_encoder(**ENCODER, branches="single", layer_scale=0.1)
    encoders.unfold(again, folded.state_dict(), images)
    with torch.no_grad():
        one, two = folded.forward_features(images[0]), again.eval().forward_features(images[0])
    assert torch.allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("form", ["trained", "folded"])
def test_the_swift_runtime_gives_the_trained_probabilities(answers, go, tmp_path, tokenizer_file, form):
    """FASTVLM: the runtime's command; else .build/release/fastvlm."""
    command = os.environ.get("FASTVLM", str(ROOT.parent / ".build/release/fastvlm"))
    if not pathlib.Path(command).exists():
        pytest.skip("build the runtime first: swift build -c release --product fastvlm")
    answers["train"] |= {"steps": 4, "statistics": True}
    network, out = trained(go, answers, tmp_path, form)
    pixels = np.random.default_rng().integers(0, 256, (128, 128, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    question = "How many dogs are there?"
    asked = [command, "describe", str(tmp_path / "image.png"), question, "--model", str(out)]
    options = [
        "--json",
        "--logprobs",
        "5",
        "--max-tokens",
        "1",
        "--temperature",
        "0",
        "--precision",
        "float32",
    ]
    done = subprocess.run([*asked, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    ids = prompt(network, tokenizer_file, question)
    ours = logits_of(network, ids, torch.from_numpy(pixels)[None])[0, -1].log_softmax(-1)
    alternatives = json.loads(done.stdout)["tokens"][0]["alternatives"]
    assert len(alternatives) == 5
    for entry in alternatives:
        assert entry["log_probability"] == pytest.approx(float(ours[entry["id"]]), abs=2e-3)
