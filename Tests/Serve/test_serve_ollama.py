"""Ollama's own client against the server."""

import base64

import ollama
import pytest

from serving import BANANA, LONG, QUESTION, data_uri, image


@pytest.fixture(scope="module")
def client(server):
    return ollama.Client(host=server.origin)


@pytest.fixture(scope="module")
def model(client):
    return client.list().models[0].model


def turn(**fields):
    return [{"role": "user", "content": QUESTION, "images": [image()]} | fields]


def test_list(server, client):
    model = client.list().models[0]
    assert model.size > 0 and model.details.family
    # Open WebUI reads both names.
    raw = server.request("GET", "/api/tags").json["models"][0]
    assert raw["name"] == raw["model"] and raw["digest"]


def test_show(client, model):
    shown = client.show(model)
    assert set(shown.capabilities) >= {"completion", "vision"}
    assert any(name.endswith(".context_length") and value > 0 for name, value in shown.modelinfo.items())
    # The one model that is served is meant by any name.
    assert client.show("another-name").capabilities == shown.capabilities


def test_running(client, model):
    client.chat(model, turn())
    running = client.ps().models
    assert [each.model for each in running] == [model] and running[0].size > 0


def test_version_and_root(server):
    assert server.request("GET", "/api/version").json["version"]
    # What Ollama's command line and Home Assistant look for.
    assert server.request("GET", "/").body.startswith(b"Ollama is running")
    assert server.request("HEAD", "/").status == 200


def test_chat(client, model):
    answer = client.chat(model, turn(), options={"temperature": 0})
    assert answer.message.content == BANANA and answer.message.role == "assistant"
    assert answer.done and answer.done_reason == "stop"
    # Nanoseconds.
    assert 1e6 < answer.total_duration < 60e9
    assert 0 < answer.prompt_eval_duration + answer.eval_duration <= answer.total_duration
    assert answer.prompt_eval_count > 64 and answer.eval_count > 1


def test_chat_stream(client, model):
    parts = list(client.chat(model, turn(), stream=True, options={"temperature": 0}))
    assert "".join(part.message.content for part in parts) == BANANA
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count > 1 and parts[-1].total_duration > 0


def test_generate(client, model):
    answer = client.generate(model, QUESTION, images=[image()], options={"temperature": 0})
    assert answer.response == BANANA and answer.done_reason == "stop"
    parts = list(client.generate(model, QUESTION, images=[image()], stream=True, options={"temperature": 0}))
    assert "".join(part.response for part in parts) == BANANA


def test_streaming_is_the_default(server, model):
    response = server.request("POST", "/api/generate", {
        "model": model, "prompt": QUESTION, "images": [base64.b64encode(image()).decode()]})
    assert response.headers["content-type"].startswith("application/x-ndjson")
    assert len(response.body.splitlines()) > 1


def test_image_forms(server, model):
    for picture in (base64.b64encode(image()).decode(), data_uri(), base64.b64encode(image()).decode().rstrip("=")):
        response = server.request("POST", "/api/chat", {
            "model": model, "stream": False, "options": {"temperature": 0},
            "messages": [{"role": "user", "content": QUESTION, "images": [picture]}]})
        assert response.json["message"]["content"] == BANANA


def test_options(client, model):
    answer = client.chat(model, turn(), options={"temperature": 0, "num_predict": 1})
    assert answer.done_reason == "length" and answer.eval_count == 1
    answer = client.chat(model, turn(), options={"temperature": 0, "stop": ["nan"]})
    assert answer.message.content == "A ba"
    def sampled(seed):
        return client.chat(model, turn(), options={
            "temperature": 2.0, "seed": seed, "num_predict": 60, "repeat_penalty": 0.3}).message.content
    assert sampled(1) == sampled(1)


def test_what_home_assistant_sends(server, model):
    picture = base64.b64encode(image()).decode()
    response = server.request("POST", "/api/chat", {
        "model": model, "stream": False, "prompt": [], "system": "", "images": [picture], "keep_alive": "5m",
        "think": False, "options": {"num_predict": 20, "temperature": 0, "top_p": 0.9, "num_ctx": 4096},
        "messages": [{"role": "user", "content": "Image 1:", "images": [picture]},
                     {"role": "user", "content": QUESTION}]})
    assert response.status == 200 and response.json["message"]["content"]
    # What it repeats beside the messages changes nothing, and that is said.
    assert {"prompt", "system", "images"} <= set(response.headers["x-fastvlm-ignored"].split(", "))


def test_resolution(client, model):
    def count(**options):
        return client.chat(model, turn(), options={"temperature": 0} | options).prompt_eval_count
    assert count(resolution=64) < count() < count(resolution=768)
    with pytest.raises(ollama.ResponseError):
        count(resolution=65)


def test_load_and_unload(client, model):
    # Without a question a model is only loaded, or with keep_alive 0 let go.
    assert client.generate(model).done
    assert client.generate(model, keep_alive=0).done
    assert client.ps().models == []
    assert client.chat(model, turn(), options={"temperature": 0}).message.content == BANANA


def test_errors(server, client, model):
    with pytest.raises(ollama.ResponseError) as raised:
        client.chat("no-such-model", turn(), options={"temperature": -1})
    assert raised.value.status_code in (400, 404) and raised.value.error
    with pytest.raises(ollama.ResponseError) as raised:
        list(client.chat(model, turn(images=[b"no image"]), stream=True))
    assert raised.value.status_code == 400
    assert "error" in server.request("POST", "/api/chat", b"{").json


def test_a_closed_stream_is_cancelled(server, client, model):
    stream = client.chat(model, turn(), stream=True, options={
        "num_predict": LONG["max_tokens"], "repeat_penalty": LONG["repetition_penalty"]})
    next(stream)
    stream.close()
    assert server.is_idle_within(3)
