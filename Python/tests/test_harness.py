"""The model for lmms-eval, without lmms-eval: what it makes of requests, and what becomes of failures. `make
evaluate-check` runs the harness itself."""

import importlib.util
import json
import math
import types

import pytest
from PIL import Image

import fastvlm
from fastvlm.harness import TASKS_FOLDER, _adapter, _requests
from fastvlm.harness._checkpoint import checkpoint_hash, checkpoint_hashes
from fastvlm.harness._journal import Journal


@pytest.fixture
def pictures(samples):
    return [Image.open(samples / name).convert("RGB") for name in ("single-banana.jpg", "count-snowflake.jpg")]


@pytest.fixture
def adapter():
    return _adapter.Adapter(threads=2, progress=False)


class Request:
    """A request of the harness for a document."""

    def __init__(self, *args):
        self.args = args


def simple(text, options, pictures, document=0, task="task"):
    """Its documents are lists of pictures."""
    return Request(text, options, lambda images: images, document, task, "test"), {task: {"test": [pictures] * 9}}


def test_places_are_those_of_llava():
    assert _requests.placed("What?", 0) == ("What?", False)
    assert _requests.placed("What?", 1) == ("<image>\nWhat?", True)
    assert _requests.placed("What?", 2) == ("<image> <image>\nWhat?", True)
    assert _requests.placed("Left <image>, right <image>", 2) == ("Left <image>, right <image>", True)
    assert _requests.placed("What is <image>?", 0) == ("What is <image>?", False)


def test_options():
    made = _requests.generation_options
    assert made(None, 1024, None) == {"max_tokens": 1024, "temperature": 0.0}
    assert made({"until": ["ASSISTANT:"], "image_aspect_ratio": "original"}, 1024, None) == {
        "max_tokens": 1024, "temperature": 0.0, "stop": ["ASSISTANT:"]}
    assert made({"until": "\n\n", "max_new_tokens": 16, "temperature": 0, "top_p": 1.0, "num_beams": 1, "do_sample": False},
                1024, None) == {"max_tokens": 16, "temperature": 0.0, "stop": ["\n\n"]}
    assert "stop" not in made({"until": ["", ""]}, 1, None) and "stop" not in made({"until": None}, 1, None)
    assert made({"temperature": 0.7, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.1}, 8, "Be short.") == {
        "max_tokens": 8, "temperature": 0.7, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.1, "system": "Be short."}
    assert made({"do_sample": True}, 8, None)["temperature"] == 1.0
    assert made({"do_sample": False, "temperature": 0.7}, 8, None)["temperature"] == 0.0
    for wrong in ({"num_beams": 4}, {"until": [3]}, {"penalty_alpha": 0.6}, {"num_return_sequences": 2}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            made(wrong, 8, None)


def test_model_arguments():
    with pytest.raises(TypeError, match=r"precission.*there are pretrained"):
        _adapter.Adapter(precission="int8")
    adapter = _adapter.Adapter(precision="int8", threads=1, progress=False, batch_size="3", device="cpu", max_batch_size=None)
    assert adapter.engine.info.precision == "int8"
    assert adapter.engine._options["maximum_running"] == 3


def test_answers_are_those_of_the_model(adapter, pictures):
    request, documents = simple("What is this?", {"max_new_tokens": 8}, pictures[:1])
    [text] = adapter.generate([request], lambda each: _requests.simple_job(each, documents, 1024, None))
    assert text == adapter.engine.answer("What is this?", pictures[0], max_tokens=8).text == "A banana."
    example = adapter.examples["task"]
    assert (example.text, example.images, example.requests, example.answered) == ("<image>\nWhat is this?", 1, 1, 1)
    assert example.positions and example.positions > adapter.engine.info.tokens_per_image


def test_simple_and_chat_ask_the_same_about_one_image(adapter, pictures):
    request, documents = simple("What is this?", {}, pictures[:1])
    chat = Request(None, lambda images: [{"role": "user", "content": [
        {"type": "image", "url": images[0]}, {"type": "text", "text": "What is this?"}]}], {}, 0, "task", "test")
    one = _requests.simple_job(request, documents, 8, None)
    other = _requests.chat_job(chat, documents, 8, None)
    assert other.text == "<image>What is this?"
    counted = [adapter.engine.count_tokens(one.text, one.images), adapter.engine.count_tokens(other.messages)]
    assert counted[0] == counted[1]
    texts = adapter.generate([request], lambda each: one) + adapter.generate([chat], lambda each: other)
    assert texts == ["A banana."] * 2


def test_chat_keeps_the_order_and_the_system_prompt(pictures):
    def messages(images):
        return [{"role": "user", "content": [
            {"type": "text", "text": "First:"}, {"type": "image", "url": images[0]}, {"type": "text", "text": "then:"},
            {"type": "image", "url": images[1]}, {"type": "text", "text": "Which?"}]}]

    job = _requests.chat_job(Request("", messages, {}, 0, "t", "test"), {"t": {"test": [pictures]}}, 8, "Be short.")
    assert job.messages[0] == {"role": "system", "content": "Be short."}
    assert [part["type"] for part in job.messages[1]["content"]] == ["text", "image", "text", "image", "text"]
    assert job.text == "First:<image>then:<image>Which?" and job.images == pictures
    with pytest.raises(ValueError, match="video"):
        _requests.chat_job(
            Request("", lambda _: [{"role": "user", "content": [{"type": "video", "url": "a.mp4"}]}], {}, 0, "t", "test"),
            {"t": {"test": [pictures]}}, 8, None)


def test_stop_texts_of_until_end_answers(adapter, pictures):
    request, documents = simple("What is this?", {"until": ["nana"]}, pictures[:1])
    assert adapter.generate([request], lambda each: _requests.simple_job(each, documents, 64, None)) == ["A ba"]


def test_order_of_many_with_different_options(adapter, pictures):
    requests, documents = [], {}
    for number in range(9):
        picture = pictures[number % 2 : number % 2 + 1]
        request, found = simple(f"What is this? {number}", {"max_new_tokens": 1 + number % 4}, picture, number, f"t{number}")
        requests.append(request)
        documents |= found
    texts = adapter.generate(requests, lambda each: _requests.simple_job(each, documents, 64, None))
    alone = [
        adapter.engine.answer(f"What is this? {number}", pictures[number % 2], max_tokens=1 + number % 4).text
        for number in range(9)]
    assert texts == alone and len(set(texts)) > 2
    assert sum(example.cut_off for example in adapter.examples.values()) >= 4


def test_failures_are_not_scored(adapter, pictures):
    right, documents = simple("What is this?", {}, pictures[:1])
    wrong, _ = simple("<image> or <image>?", {}, pictures[:1], document=3)
    wrong.args = (*wrong.args[:3], 3, *wrong.args[4:])

    def prepare(each):
        return _requests.simple_job(each, documents, 8, None)

    with pytest.raises(_adapter.EvaluationError, match=r"1 of 3 requests failed, so nothing was scored:\n  task, document 3"):
        adapter.generate([right, wrong, right], prepare)
    assert adapter.examples["task"].requests - adapter.examples["task"].answered == 1
    adapter.allowed_failures = 2
    assert adapter.generate([right, wrong, right], prepare) == ["A banana.", "", "A banana."]
    with pytest.raises(_adapter.EvaluationError):
        adapter.generate([wrong], prepare)


def test_what_is_no_image_is_an_error():
    for visuals in (["video.mp4"], [{"type": "audio"}], [object()]):
        with pytest.raises(ValueError, match="no image"):
            _requests.image_list(visuals)
    assert _requests.image_list(None) == []


def test_losses(adapter, pictures):
    documents = {"t": {"test": [pictures[:1]]}}
    requests = [
        Request("What is this?", text, lambda images: images, 0, "t", "test")
        for text in ("A helicopter.", "A banana.", lambda images: "A drum.")]
    losses = adapter.score_all(requests, documents)
    assert [likely for _, likely in losses] == [False, True, False]
    assert min(losses)[0] == losses[1][0]
    score = adapter.engine.score("What is this?", "A banana.", pictures[0])
    assert losses[1][0] == pytest.approx(-score.logprob / len(score.tokens), abs=1e-6)
    assert losses[1][0] == pytest.approx(math.log(score.perplexity), abs=1e-6)
    # Tasks of words alone have no document.
    (alone, likely), = adapter.score_all([Request("", " A banana.")], {})
    assert alone > 0 and not likely
    with pytest.raises(_adapter.EvaluationError, match="1 of 1"):
        adapter.score_all([Request("<image> <image>", "A drum.", lambda images: images, 0, "t", "test")], documents)


def test_images_stand_where_the_text_says_when_scored(pictures):
    assert _requests.placed_parts("a", []) == {"role": "user", "content": "a"}
    parts = _requests.placed_parts("one <image> two <image>", pictures)["content"]
    assert [part["type"] for part in parts] == ["text", "image", "text", "image", "text"]
    assert parts[-1]["text"] == ""


def test_sampling_differs_between_repetitions_and_not_between_runs(adapter, pictures):
    request, documents = simple("Describe the image.", {"do_sample": True, "temperature": 2.0, "max_new_tokens": 6}, pictures)
    runs = [
        adapter.generate([request] * 6, lambda each: _requests.simple_job(each, documents, 8, None)) for _ in range(2)]
    assert runs[0] == runs[1] and len(set(runs[0])) > 1


def test_journal_goes_on(adapter, pictures, tmp_path):
    path = tmp_path / "answers.jsonl"
    requests, documents = [], {}
    for number in range(4):
        request, documents = simple(f"What is this? {number}", {"max_new_tokens": 4}, pictures[:1], number)
        requests.append(request)

    def run(journal, some):
        adapter.journal, adapter.examples = journal, {}
        return adapter.generate(some, lambda each: _requests.simple_job(each, documents, 64, None))

    first = run(Journal(path, {"model": 1}), requests[:2])
    # The power went while a line was written.
    path.write_bytes(path.read_bytes() + b'{"key": "ab')
    again = Journal(path, {"model": 1})
    assert len(again) == 2
    asked = []
    answer_all = adapter.answer_all
    adapter.answer_all = lambda jobs, total: answer_all((asked.append(job) or job for job in jobs), total)
    assert run(again, requests)[:2] == first
    assert len(asked) == 2 and adapter.examples["task"].answered == 4
    assert len(Journal(path, {"model": 1})) == 4
    lines = path.read_text().splitlines()
    assert len(lines) == 5 and json.loads(lines[-1])["answer"]["text"]
    # Another model, other pixels, other options: other answers.
    journal = Journal(path, {"model": 1})
    keys = {
        Journal(path, {"model": 2}).key("a", pictures, {}), journal.key("a", pictures, {}), journal.key("b", pictures, {}),
        journal.key("a", pictures[:1], {}), journal.key("a", pictures, {"max_tokens": 1}),
        journal.key("a", [pictures[0].transpose(Image.Transpose.FLIP_TOP_BOTTOM), pictures[1]], {})}
    assert len(keys) == 6


def test_checkpoint_hash(tmp_path):
    snapshot = tmp_path / "snapshots/0123456789"
    snapshot.mkdir(parents=True)
    (tmp_path / "refs").mkdir()
    (tmp_path / "refs/main").write_text("0123456789")
    (snapshot / "model.safetensors").write_bytes(b"weights")
    (snapshot / "config.json").write_text("{}")
    (snapshot / "README.md").write_text("a card")
    hashes = checkpoint_hashes(tmp_path)
    assert list(hashes) == ["config.json", "model.safetensors"]
    assert checkpoint_hash(hashes) == checkpoint_hash(checkpoint_hashes(snapshot))
    (snapshot / "config.json").write_text("{ }")
    assert checkpoint_hash(checkpoint_hashes(tmp_path)) != checkpoint_hash(hashes)


def test_nothing_of_the_harness_is_imported():
    assert "fastvlm.harness._lmms" not in __import__("sys").modules
    if importlib.util.find_spec("lmms_eval") is None:
        with pytest.raises(ImportError):
            __import__("fastvlm.harness._lmms")
    assert {path.stem for path in TASKS_FOLDER.glob("*.yaml")} >= {"pope_llava", "docvqa_val_v0_2_2"}
    entries = [each for each in importlib.metadata.entry_points(group="lmms_eval.models") if each.name == "fastvlm"]
    assert [each.value for each in entries] == ["fastvlm.harness:manifest"]
    assert isinstance(entries[0].load(), types.FunctionType)
    assert fastvlm.__version__
