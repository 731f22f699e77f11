"""OpenAI's own client against the server."""

import asyncio
import base64
import io
import math
import time

import openai
import PIL.Image
import pytest

from serving import BANANA, LONG, QUESTION, data_uri, image, messages


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server.origin + "/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def model(client):
    return client.models.list().data[0].id


def ask(client, model, **fields):
    return client.chat.completions.create(model=model, **({"messages": messages(), "temperature": 0} | fields))


def test_models(client, model):
    described = client.models.retrieve(model)
    assert described.id == model and described.object == "model"
    extras = described.model_dump()
    assert "image" in extras["architecture"]["input_modalities"]
    assert extras["max_model_len"] == extras["meta"]["n_ctx"] > 0
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_plain(client, model):
    answer = ask(client, model)
    assert answer.object == "chat.completion" and answer.model == model
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == BANANA
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens > 64 and answer.usage.completion_tokens > 1


def test_timings_of_the_stages(client, model):
    raw = client.chat.completions.with_raw_response.create(model=model, messages=messages(), temperature=0)
    timings = raw.parse().model_dump()["timings"]
    stages = ["decode_image_ms", "preprocess_ms", "encode_ms", "project_ms", "prefill_ms"]
    assert all(timings[stage] >= 0 for stage in stages)
    assert 0 < timings["time_to_first_token_ms"] < 60_000
    assert "ttft;dur=" in raw.headers["server-timing"]
    assert raw.headers["x-request-id"]


def test_stream(client, model):
    chunks = list(ask(client, model, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == BANANA
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_chunk(client, model):
    chunks = list(ask(client, model, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    plain = ask(client, model).usage
    assert chunks[-1].usage.prompt_tokens == plain.prompt_tokens
    assert chunks[-1].usage.completion_tokens == plain.completion_tokens


def test_stream_arrives_as_it_is_made(client, model):
    times = [time.monotonic() for chunk in ask(client, model, stream=True, max_tokens=400,
                                               extra_body={"repetition_penalty": 0.1}) if chunk.choices]
    assert len(times) > 100
    # The first half of the tokens is there well before the last one.
    assert times[len(times) // 2] - times[0] < 0.8 * (times[-1] - times[0])
    assert times[-1] - times[0] > 0.05


@pytest.mark.parametrize("form", [
    "jpeg", "png", "webp", "wrong mime", "no mime", "no padding", "with newlines", "charset", "bare base64"])
def test_image_forms(client, model, form):
    def converted(kind):
        buffer = io.BytesIO()
        PIL.Image.open(io.BytesIO(image())).save(buffer, kind, **({"lossless": True} if kind == "webp" else {}))
        return buffer.getvalue()

    plain = base64.b64encode(image()).decode()
    url = {
        "jpeg": data_uri(), "png": data_uri(converted("png"), "image/png"),
        "webp": data_uri(converted("webp"), "image/webp"), "wrong mime": data_uri(kind="image/png"),
        "no mime": "data:;base64," + plain, "no padding": "data:image/jpeg;base64," + plain.rstrip("="),
        "with newlines": "data:image/jpeg;base64," + "\n".join(plain[i:i + 76] for i in range(0, len(plain), 76)),
        "charset": "data:image/jpeg;charset=utf-8;base64," + plain, "bare base64": plain,
    }[form]
    assert ask(client, model, messages=messages(url=url)).choices[0].message.content == BANANA


@pytest.mark.parametrize("detail", ["low", "high", "auto"])
def test_detail_changes_nothing(client, model, detail):
    assert ask(client, model, messages=messages(detail=detail)).choices[0].message.content == BANANA


def test_messages_as_clients_send_them(client, model):
    part = messages()[0]["content"]
    forms = [
        # LLM Vision: two messages of the user in a row.
        [{"role": "user", "content": [part[0]]}, {"role": "user", "content": QUESTION}],
        # LangChain and Continue: an assistant's turn whose content is null.
        [{"role": "user", "content": part}, {"role": "assistant", "content": BANANA},
         {"role": "user", "content": [{"type": "text", "text": QUESTION}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": data_uri()}, part[1]]}],
    ]
    for form in forms:
        assert ask(client, model, messages=form).choices[0].message.content, form
    # lmms-eval: the system's content as a list gives the answer of the system's content as a text.
    def systems(content):
        return [{"role": "system", "content": content}] + messages()
    as_list = ask(client, model, messages=systems([{"type": "text", "text": "Answer in one word."}]))
    as_text = ask(client, model, messages=systems("Answer in one word."))
    assert as_list.choices[0].message.content == as_text.choices[0].message.content
    assert as_list.usage.prompt_tokens == as_text.usage.prompt_tokens > ask(client, model).usage.prompt_tokens


def test_several_images_keep_their_order(client, model):
    def two(first, second):
        parts = [{"type": "image_url", "image_url": {"url": data_uri(image(name))}} for name in (first, second)]
        answer = ask(client, model, messages=[{"role": "user", "content": parts + [{"type": "text", "text": QUESTION}]}],
                     logprobs=True, top_logprobs=5)
        return answer.usage.prompt_tokens, answer.choices[0].logprobs.content[0].top_logprobs
    one, other = two("single-banana.jpg", "word-codify.jpg"), two("word-codify.jpg", "single-banana.jpg")
    assert one[0] == other[0] == ask(client, model).usage.prompt_tokens + 64
    assert one[1] == two("single-banana.jpg", "word-codify.jpg")[1]
    assert one[1] != other[1]


def test_logprobs(client, model):
    answer = ask(client, model, logprobs=True, top_logprobs=3)
    tokens = answer.choices[0].logprobs.content
    assert "".join(token.token for token in tokens).startswith(BANANA)
    for token in tokens:
        assert token.logprob <= 0 and len(token.top_logprobs) == 3
        # Greedy: what was taken is the most likely.
        assert math.isclose(token.logprob, token.top_logprobs[0].logprob, abs_tol=1e-5)
        assert sorted((each.logprob for each in token.top_logprobs), reverse=True) == [
            each.logprob for each in token.top_logprobs]
    assert ask(client, model).choices[0].logprobs is None


def test_several_choices(client, model):
    answer = ask(client, model, n=3, temperature=1.5, seed=7)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert all(choice.message.content for choice in answer.choices)
    streamed = {}
    for chunk in ask(client, model, n=2, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] = streamed.get(choice.index, "") + (choice.delta.content or "")
    assert streamed == {0: BANANA, 1: BANANA}


def test_timings_of_several_choices_come_with_the_last_one(client, model):
    chunks = [chunk.model_dump() for chunk in ask(client, model, n=3, stream=True)]
    timed = [chunk for chunk in chunks if chunk.get("timings")]
    assert timed == [chunks[-1]] and timed[0]["timings"]["predicted_n"] >= 3
    assert timed[0]["choices"][0]["finish_reason"] == "stop"


def test_usage_counts_images_that_are_remembered(client, model):
    question = messages("How many bananas are there in this picture?")
    first = ask(client, model, messages=question).usage
    again = ask(client, model, messages=question).usage
    assert first.prompt_tokens == again.prompt_tokens
    tokens = client.models.retrieve(model).model_dump()["meta"]["n_image_tokens"]
    for usage in (first, again):
        assert usage.model_dump()["prompt_tokens_details"]["image_tokens"] == tokens
    assert again.prompt_tokens_details.cached_tokens > tokens > 0


def test_resolution(client, model):
    meta = client.models.retrieve(model).model_dump()["meta"]
    step, side, tokens = meta["image_size_step"], meta["image_size"], meta["n_image_tokens"]
    # An image that no other test has shown, so that it has to be encoded.
    buffer = io.BytesIO()
    PIL.Image.open(io.BytesIO(image())).rotate(3, fillcolor="white").save(buffer, "png")
    question = messages(url=data_uri(buffer.getvalue(), "image/png"))

    def asked(pixels):
        answer = ask(client, model, messages=question, extra_body={} if pixels is None else {"resolution": pixels})
        return answer.usage.model_dump()["prompt_tokens_details"], answer.model_dump()["timings"]

    usual = asked(None)[0]["image_tokens"]
    assert usual == tokens == asked(side)[0]["image_tokens"]
    for pixels in (step, side // 2, 2 * side):
        details, timings = asked(pixels)
        assert details["image_tokens"] == tokens * pixels * pixels // (side * side)
        # Nothing of the image at another side is taken for it.
        assert timings["encode_ms"] > 0 and details["cached_tokens"] < tokens
        assert asked(pixels)[1]["encode_ms"] == 0
    for pixels in (step + 1, 0, -64, 1 << 40, meta["largest_image_size"] + step, "512", 1.5):
        with pytest.raises(openai.BadRequestError) as raised:
            asked(pixels)
        assert raised.value.param == "resolution", raised.value


def test_stop(client, model):
    answer = ask(client, model, stop=["nan"])
    assert answer.choices[0].message.content == "A ba" and answer.choices[0].finish_reason == "stop"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in ask(client, model, stop="nan", stream=True))
    assert text == "A ba"


def test_length(client, model):
    for field in ({"max_tokens": 1}, {"max_completion_tokens": 1}, {"max_tokens": 50, "max_completion_tokens": 1}):
        answer = ask(client, model, **field)
        assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 1, field


def test_seed(client, model):
    def sampled(seed):
        return ask(client, model, temperature=2.0, seed=seed, max_tokens=60, frequency_penalty=2.0,
                   extra_body={"repetition_penalty": 0.3}).choices[0].message.content
    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(8)}) > 1


def test_logit_bias(client, model):
    # One token is made the only one.
    answer = ask(client, model, logit_bias={"10": 100}, max_tokens=5, logprobs=True)
    assert answer.choices[0].finish_reason == "length"
    assert len({token.token for token in answer.choices[0].logprobs.content}) == 1
    with pytest.raises(openai.BadRequestError):
        ask(client, model, logit_bias={"10": 1000})


def test_unknown_fields_are_named(client, model):
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=messages(), temperature=0,
        extra_body={"reasoning": {"effort": "low"}, "tools": [], "anything": [1, {"a": None}]})
    assert raw.parse().choices[0].message.content == BANANA
    assert "anything" in raw.headers["x-fastvlm-ignored"]


def test_nothing_of_a_message_is_dropped_in_silence(client, model):
    question = messages(detail="low")
    question.insert(0, {"role": "assistant", "content": None, "function_call": {"name": "a", "arguments": "{}"}})
    question.insert(0, {"role": "user", "content": "Hi", "name": "me"})
    raw = client.chat.completions.with_raw_response.create(model=model, messages=question, temperature=0)
    names = raw.headers["x-fastvlm-ignored"]
    for name in ("messages[0].name", "messages[1].function_call", "messages[2].content[0].image_url.detail"):
        assert name in names, names
    automatic = client.chat.completions.with_raw_response.create(model=model, messages=messages(detail="auto"), user="me")
    assert "x-fastvlm-ignored" not in automatic.headers


def test_stop_token_ids(client, model):
    tokens = ask(client, model, logprobs=True, extra_body={"return_tokens": True}).choices[0].logprobs.content
    assert len(tokens) > 1
    for ids in ([-1], [1 << 40], [3, 1 << 31]):
        with pytest.raises(openai.BadRequestError) as raised:
            ask(client, model, extra_body={"stop_token_ids": ids})
        assert raised.value.param == "stop_token_ids"
    assert ask(client, model, extra_body={"stop_token_ids": [1, 2]}).choices[0].message.content


@pytest.mark.parametrize("fields, error, parameter", [
    ({"temperature": 3}, openai.BadRequestError, "temperature"),
    ({"max_tokens": -1}, openai.BadRequestError, "max_tokens"),
    ({"n": 100}, openai.BadRequestError, "n"),
    ({"top_p": -1}, openai.BadRequestError, "top_p"),
    ({"messages": []}, openai.BadRequestError, "messages"),
    ({"messages": [{"role": "nobody", "content": "a"}]}, openai.BadRequestError, None),
    ({"messages": messages(url="data:image/jpeg;base64,AAAA")}, openai.BadRequestError, None),
    ({"messages": messages(url="https://example.com/a.jpg")}, openai.BadRequestError, None),
])
def test_errors_are_of_the_right_class(client, model, fields, error, parameter):
    with pytest.raises(error) as raised:
        ask(client, model, **fields)
    assert raised.value.body["message"] and raised.value.request_id
    if parameter:
        assert raised.value.param == parameter


def test_an_error_of_a_stream_is_a_status(client, model):
    with pytest.raises(openai.BadRequestError):
        ask(client, model, stream=True, temperature=-1)


def test_an_unknown_model(client, model):
    # With one model served any name will do, as clients have fixed ones.
    assert ask(client, "gpt-4o").choices[0].message.content == BANANA


def test_text_only(client, model):
    answer = ask(client, model, messages=[{"role": "user", "content": "Hi"}])
    assert answer.choices[0].finish_reason in ("stop", "length") and answer.usage.prompt_tokens > 0


def test_completions(client, model):
    answer = client.completions.create(model=model, prompt="Hi", max_tokens=5, temperature=0)
    assert answer.object == "text_completion" and answer.usage.completion_tokens <= 5
    chunks = list(client.completions.create(model=model, prompt="Hi", max_tokens=5, temperature=0, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == answer.choices[0].text


def test_embeddings_of_images(client, model):
    def vector(name, **fields):
        return client.embeddings.create(model=model, input=data_uri(image(name)), **fields).data[0].embedding
    banana = vector("single-banana.jpg")
    assert len(banana) > 100 and any(banana)
    assert banana == vector("single-banana.jpg")
    assert banana != vector("word-codify.jpg")
    plain = vector("single-banana.jpg", encoding_format="float")
    assert max(abs(a - b) for a, b in zip(banana, plain)) < 1e-5


def test_a_timeout_is_cancelled_and_retries_are_too(server, model):
    impatient = openai.OpenAI(base_url=server.origin + "/v1", api_key="none", timeout=0.3, max_retries=2)
    with pytest.raises(openai.APITimeoutError):
        ask(impatient, model, extra_body=LONG)
    # Three answers were begun; none goes on once its client has left.
    assert server.is_idle_within(3)


def test_a_closed_stream_is_cancelled(server, client, model):
    stream = ask(client, model, stream=True, extra_body=LONG)
    next(iter(stream))
    stream.close()
    assert server.is_idle_within(3)


def test_a_cancelled_task_is_cancelled(server, model):
    async def main():
        async with openai.AsyncOpenAI(base_url=server.origin + "/v1", api_key="none", max_retries=0) as client:
            task = asyncio.create_task(client.chat.completions.create(
                model=model, messages=messages(), extra_body=LONG))
            await asyncio.sleep(0.4)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    asyncio.run(main())
    assert server.is_idle_within(3)
