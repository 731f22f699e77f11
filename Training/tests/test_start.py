"""What a run that begins with the weights of another one promises, and the mean of runs."""

import pathlib

import pytest
import torch


def test_a_larger_vocabulary_keeps_the_tokens_that_were_trained(tokenizer_file):
    from recipe.start import own_rows

    small = {"decoder.model.embed_tokens.weight": torch.rand(4, 3), "decoder.model.norm.weight": torch.rand(3)}
    large = {"decoder.model.embed_tokens.weight": torch.rand(6, 3), "decoder.model.norm.weight": torch.rand(3)}
    found = own_rows(small, large)
    assert torch.equal(found["decoder.model.embed_tokens.weight"][:4], small["decoder.model.embed_tokens.weight"])
    assert torch.equal(found["decoder.model.embed_tokens.weight"][4:], large["decoder.model.embed_tokens.weight"][4:])
    assert torch.equal(found["decoder.model.norm.weight"], small["decoder.model.norm.weight"])


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
