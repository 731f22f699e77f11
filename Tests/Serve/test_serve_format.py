"""Answers that are held to a format, over both interfaces."""

import json
import re
import typing

import ollama
import openai
import pydantic
import pytest

from serving import image, messages


class Picture(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=20)
    count: int = pydantic.Field(ge=0, le=9)
    colours: list[typing.Annotated[str, pydantic.Field(max_length=10)]] = pydantic.Field(max_length=3)


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server.origin + "/v1", api_key="none", max_retries=0)


def ask(client, **fields):
    fields = {"model": "default", "messages": messages("Describe the picture as JSON."), "temperature": 0} | fields
    return client.chat.completions.create(**fields)


SCHEMA = {
    "type": "object", "additionalProperties": False, "required": ["name", "count"],
    "properties": {"name": {"type": "string", "maxLength": 20}, "count": {"type": "integer", "minimum": 0, "maximum": 9}}}


def form(schema):
    return {"type": "json_schema", "json_schema": {"name": "picture", "strict": True, "schema": schema}}


@pytest.mark.parametrize("temperature", [0, 1.0, 2.0])
def test_json_of_a_schema(client, temperature):
    for seed in range(4):
        answer = ask(client, response_format=form(SCHEMA), temperature=temperature, seed=seed, max_tokens=60)
        value = json.loads(answer.choices[0].message.content)
        assert set(value) == {"name", "count"} and len(value["name"]) <= 20 and 0 <= value["count"] <= 9


def test_parse_of_the_official_client(client):
    answer = client.chat.completions.parse(
        model="default", messages=messages("Describe the picture."), response_format=Picture, max_tokens=120)
    assert isinstance(answer.choices[0].message.parsed, Picture)


def test_json_is_whole_where_it_is_cut(client):
    for limit in (24, 30, 45):
        answer = ask(client, response_format=form(SCHEMA), temperature=2.0, seed=limit, max_tokens=limit)
        json.loads(answer.choices[0].message.content)
        assert answer.usage.completion_tokens <= limit


def test_a_stream_of_json(client):
    parts = [chunk.choices[0].delta.content or "" for chunk in
             ask(client, response_format=form(SCHEMA), stream=True, max_tokens=60) if chunk.choices]
    assert set(json.loads("".join(parts))) == {"name", "count"} and len(parts) > 3


def test_any_json_object(client):
    answer = ask(client, response_format={"type": "json_object"}, max_tokens=40)
    assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_choices_and_regular_expressions(client):
    answer = ask(client, extra_body={"guided_choice": ["yes", "no"]}, max_tokens=10)
    assert answer.choices[0].message.content in ("yes", "no")
    answer = ask(client, extra_body={"guided_regex": "[0-9]{3}-[a-f]{2}"}, max_tokens=20)
    assert re.fullmatch("[0-9]{3}-[a-f]{2}", answer.choices[0].message.content)


def test_bad_schemas_are_named(client):
    for schema in ({"type": "nothing"}, {"type": "object", "oneOf": []}, {"$ref": "#/nowhere"}, {"unknown": 1}):
        with pytest.raises(openai.BadRequestError) as raised:
            ask(client, response_format=form(schema))
        assert raised.value.body["message"]


def test_the_format_of_ollama(server):
    client = ollama.Client(host=server.origin)
    turn = [{"role": "user", "content": "Describe the picture.", "images": [image()]}]
    answer = client.chat("fastvlm-small", turn, format=Picture.model_json_schema(), options={"num_predict": 120})
    Picture.model_validate_json(answer.message.content)
    answer = client.chat("fastvlm-small", turn, format="json", options={"num_predict": 40})
    json.loads(answer.message.content)
