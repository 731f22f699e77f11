"""Answers, streams, chats, formats, scores, features."""

import asyncio
import gc
import math
import threading

import numpy
import pytest

import fastvlm

LONG = {"regex": "[0-9]{1900}", "max_tokens": 1950}


def test_three_lines(model, banana):
    answer = model.answer("What is this?", banana)
    assert "banana" in answer.text
    assert str(answer) == answer.text
    assert answer.finish_reason == "stop"
    assert answer.usage.image_tokens == model.info.tokens_per_image
    assert answer.usage.completion_tokens == len(answer.tokens)
    assert 0 < answer.timings.time_to_first_token <= answer.timings.total
    assert answer.tokens[0].logprob is None


def test_display(model, banana):
    answer = model.answer("What is this?", banana)
    assert repr(answer).startswith(f"Answer({answer.text!r}, {answer.usage.completion_tokens} tokens")
    html = fastvlm.Answer("<b>", "stop", answer.usage, answer.timings, remarks=("a & b",))._repr_html_()
    assert "&lt;b&gt;" in html and "a &amp; b" in html and "<b>" not in html
    assert "embedded" in repr(model) and model.info.precision in repr(model)


def test_several_images(model, samples):
    pair = [samples / "pair-egg.jpg", samples / "pair-taco.png"]
    answer = model.answer("What is this?", pair, max_tokens=4)
    assert answer.usage.image_tokens == 2 * model.info.tokens_per_image
    placed = model.answer("<image>\n<image>\nWhat is this?", pair, max_tokens=4, place_images=True)
    assert placed.text == answer.text
    with pytest.raises(fastvlm.RequestError) as caught:
        model.answer("<image> only", pair, place_images=True)
    assert caught.value.code == "placeholderMismatch"


def test_messages(model, banana):
    part = {"type": "image", "image": banana}
    expected = model.answer("What is this?", banana).text
    for content in (
        [part, {"type": "text", "text": "What is this?"}],
        [{"type": "text", "text": "What is this?"}, {"type": "image", "path": str(banana)}],
        [part, "What ", "is this?"],
    ):
        assert model.answer([{"role": "user", "content": content}]).text == expected
    for messages, says in (
        ([{"role": "user"}], "content"), ([{"role": "user", "content": [{"type": "audio"}]}], "part"),
        ([{"role": "user", "content": "x", "name": "y"}], "name"), ([], "."), ([{"role": "robot", "content": "x"}], "role"),
        ([{"role": "assistant", "content": "x"}], "user"),
    ):
        with pytest.raises(fastvlm.RequestError, match=says):
            model.answer(messages)
    with pytest.raises(fastvlm.RequestError, match="belong"):
        model.answer([{"role": "user", "content": "x"}], banana)


def test_stream(model, banana):
    stream = model.stream("What is this?", banana)
    pieces = list(stream)
    assert len(pieces) > 1 and all(pieces)
    assert stream.answer.text == "".join(pieces) == model.answer("What is this?", banana).text
    assert list(stream) == []
    with model.stream("What is this?", banana) as stream:
        first = next(stream)
    assert pieces[0] == first and stream.answer is None
    assert list(stream) == []
    with pytest.raises(RuntimeError):
        stream.result()


def test_async(model, banana):
    async def pieces():
        return "".join([piece async for piece in model.stream("What is this?", banana)])

    async def several():
        return await asyncio.gather(*(pieces() for _ in range(10)), model.answer_async("What is this?", banana))

    *texts, answer = asyncio.run(several())
    assert set(texts) == {answer.text} and "banana" in answer.text


def test_async_cancellation(model, banana):
    async def late():
        await asyncio.wait_for(model.answer_async("Describe this.", banana, **LONG), 0.05)

    async def failing():
        async for _ in model.stream("x", "/nowhere.jpg"):
            pass

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(late())
    with pytest.raises(fastvlm.ImageError):
        asyncio.run(failing())


def test_options(model, banana):
    ask = "What is this?"
    assert model.answer(ask, banana, choices=["yes", "no"]).text in ("yes", "no")
    assert model.answer(ask, banana, regex="[0-9]{3}").text.isdigit()
    schema = {"type": "object", "properties": {"kind": {"enum": ["fruit", "tool"]}}, "required": ["kind"]}
    assert '"kind"' in model.answer(ask, banana, json_schema=schema).text
    assert model.answer(ask, banana, json_object=True, max_tokens=30).text.startswith("{")
    cut = model.answer(ask, banana, max_tokens=1)
    assert cut.finish_reason == "length" and len(cut.tokens) == 1
    full = model.answer(ask, banana).text
    stop = full.split()[1]
    assert model.answer(ask, banana, stop=stop).text == full[:full.index(stop)]
    rated = model.answer(ask, banana, logprobs=2).tokens[0]
    assert rated.logprob <= 0 and len(rated.alternatives) == 2
    assert rated.alternatives[0].logprob >= rated.alternatives[1].logprob
    banned = model.answer(ask, banana, logit_bias={rated.id: -100}).tokens[0].id
    assert banned != rated.id
    sampled = [
        model.answer(ask, banana, temperature=2.0, seed=seed, regex="[a-z]{12}").text for seed in (1, 1, 2, 3, 4)]
    assert sampled[0] == sampled[1] and len(set(sampled)) > 1
    with pytest.raises(fastvlm.RequestError) as caught:
        model.answer(ask, banana, time_limit=0)
    assert caught.value.code == "deadlineExceeded"


def test_wrong_options(model, banana):
    with pytest.raises(TypeError, match="temprature"):
        model.answer("x", banana, temprature=1)
    with pytest.raises(TypeError, match="presicion"):
        fastvlm.Model(presicion="int8")
    with pytest.raises(TypeError, match="several"):
        model.answer("x", banana, regex="a", choices=["b"])
    for options, name in (({"temperature": -1}, "temperature"), ({"max_tokens": 0}, "maximumTokens"), ({"top_p": 7}, "topP")):
        with pytest.raises(fastvlm.RequestError) as caught:
            model.answer("x", banana, **options)
        assert (caught.value.code, caught.value.option) == ("invalidOption", name)
    for wrong in ("many", 1.5, True, 2**70):
        with pytest.raises(fastvlm.RequestError, match="max_tokens"):
            model.answer("x", banana, max_tokens=wrong)
    with pytest.raises(fastvlm.RequestError) as caught:
        model.answer("x " * 100_000)
    assert caught.value.code == "contextExceeded" and caught.value.needed > caught.value.limit


def test_chat(model, banana):
    chat = model.chat(system="You answer questions.")
    first = chat.answer("What is this?", banana)
    second = chat.answer("Which colour is it?", max_tokens=8)
    assert second.usage.cached_tokens > first.usage.image_tokens
    assert [message["role"] for message in chat.messages] == ["system", "user", "assistant", "user", "assistant"]
    assert chat.messages[2]["content"] == first.text
    with pytest.raises(fastvlm.ImageError):
        chat.answer("And this?", b"broken")
    assert len(chat.messages) == 5
    with chat.stream("And what more?", **LONG) as stream:
        piece = next(stream)
    assert chat.messages[-1]["content"] == piece
    chat.messages = chat.messages[:3]
    assert chat.answer("Which colour is it?", max_tokens=8).text == second.text
    again = model.chat(history=chat.messages)
    assert "5" in repr(again)


def test_batch(model, samples):
    paths = sorted(samples.glob("*.jpg")) * 2
    alone = [model.answer("What is this?", path).text for path in paths]
    answers = model.answer_batch("What is this?", paths)
    assert [answer.text for answer in answers] == alone
    questions = [f"What is this? {number}" for number in range(3)]
    assert len(model.answer_batch(questions, max_tokens=2)) == 3
    assert len(model.answer_batch(questions, [paths[0], None, paths[:2]], max_tokens=2, in_flight=1)) == 3
    assert model.answer_batch("x", []) == []


def test_batch_errors(model, banana, capsys):
    images = [banana, b"broken", "/nowhere.jpg", 5, banana]
    answers = model.answer_batch("What is this?", images, on_error="return", progress=True)
    assert [getattr(answer, "code", "") for answer in answers] == [
        "", "unsupportedImage", "unreadableImage", "unsupportedImage", ""]
    assert answers[0].text == answers[4].text
    assert "answered 5 of 5" in capsys.readouterr().err
    with pytest.raises(fastvlm.ImageError):
        model.answer_batch("What is this?", images)
    with pytest.raises(fastvlm.RequestError, match="as many"):
        model.answer_batch(["a", "b"], [banana], max_tokens=1)
    with pytest.raises(fastvlm.RequestError, match="images"):
        model.answer_batch("What is this?")
    with pytest.raises(ValueError):
        model.answer_batch("x", images, on_error="ignore")


def test_batch_is_lazy(model, banana):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield banana

    answers = model.iter_answers("What is this?", endless(), in_flight=3)
    assert "banana" in next(answers).text and "banana" in next(answers).text
    answers.close()
    assert len(taken) <= 6


def test_batch_beyond_the_room_for_images(banana):
    pixels = numpy.zeros((400, 400, 3), numpy.uint8)
    with fastvlm.Model(threads=2, request_bytes=1 << 20, maximum_waiting=2, maximum_running=1) as small:
        answers = small.answer_batch("What is this?", [pixels] * 12, max_tokens=2, in_flight=12)
    assert len({answer.text for answer in answers}) == 1 and len(answers) == 12


def test_score(model, banana):
    right, wrong = model.score("What is this?", ["A banana.", "A helicopter."], banana)
    assert right.logprob > wrong.logprob
    assert right.logprob == pytest.approx(sum(token.logprob for token in right.tokens), abs=1e-4)
    assert right.perplexity == pytest.approx(math.exp(-right.logprob / len(right.tokens)), rel=1e-5)
    alone = model.score("What is this?", "A banana.", banana)
    assert alone == right
    assert model.score("What is this?", "A banana.", banana, system="Other.").logprob != right.logprob
    assert model.score_text("A red circle.").logprob < 0
    answer = model.answer("What is this?", banana, logprobs=0)
    scored = model.score("What is this?", answer.text, banana)
    assert [token.id for token in scored.tokens][:len(answer.tokens)] == [token.id for token in answer.tokens]
    assert scored.is_greedy and not wrong.is_greedy
    assert [token.is_most_likely for token in wrong.tokens].count(False) >= 1


def test_features(model, banana):
    seen = model.encode(banana)
    assert seen.features.dtype == numpy.float32
    assert seen.features.shape[0] == seen.visual_tokens.shape[0] == model.info.tokens_per_image
    assert numpy.isfinite(seen.features).all() and seen.seconds["encode"] > 0
    assert not seen.features.flags.writeable and not seen.features.flags.owndata
    # The same memory twice: nothing was copied.
    work = seen.features.base._work
    assert work.features(0)[0] == seen.features.ctypes.data
    assert work.features(1)[0] == seen.visual_tokens.ctypes.data
    copy, row = seen.features.copy(), seen.features[0]
    del seen, work
    gc.collect()
    for _ in range(5):
        model.encode(numpy.random.default_rng(0).integers(0, 255, (64, 64, 3), numpy.uint8))
    assert numpy.array_equal(row, copy[0])


def test_counting_and_forgetting(model, banana):
    count = model.count_tokens("What is this?", banana)
    model.forget()
    usage = model.answer("What is this?", banana).usage
    assert (usage.prompt_tokens, usage.cached_tokens) == (count, 0)
    usage = model.answer("What is this?", banana).usage
    assert usage.prompt_tokens + usage.cached_tokens == count and usage.cached_tokens > 0


def test_threads(model, samples):
    paths = sorted(samples.glob("*.jpg"))
    expected = [model.answer("What is this?", path).text for path in paths]
    found = {}

    def ask(number):
        found[number] = [model.answer("What is this?", path).text for path in paths]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [expected] * 4
