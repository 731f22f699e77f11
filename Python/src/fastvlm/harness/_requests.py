"""The harness's requests as the engine's. Nothing here needs lmms-eval."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .._errors import FastVLMError
from .._messages import Message, user_message

#: Where an image goes in a text, as in LLaVA.
PLACEHOLDER = "<image>"

#: What LLaVA's model of the harness takes where a task says nothing, as SEED-Bench and TextVQA do.
MOST_TOKENS = 1024

#: Options of tasks that change nothing here. The checkpoint says how its images are brought to size, and LLaVA's model
#: of the harness does not read `image_aspect_ratio` either where a checkpoint's configuration has it, as FastVLM's has.
_IGNORED = {"image_aspect_ratio", "use_cache", "return_dict_in_generate", "max_length"}

#: Load options that may stand in --model_args; lists are separated by semicolons, because commas separate arguments.
_LOAD_OPTIONS = {
    "precision", "threads", "image_size", "geometry", "template", "context_length", "background", "vision_tower",
    "adapters", "maximum_running", "remembered_images", "remembered_image_bytes", "key_value_bytes",
}

#: Those that change time and memory, and no answer.
WITHOUT_EFFECT = {
    "threads", "maximum_running", "prefers_throughput", "remembered_images", "remembered_image_bytes", "key_value_bytes",
}

#: Where nothing else is said: GQA asks 12,578 questions about 398 images, and nobody watches.
_USUAL = {"prefers_throughput": True, "remembered_images": 512, "remembered_image_bytes": 1 << 30}


class Request(Protocol):
    """A request of the harness (``lmms_eval.api.instance.Instance``)."""

    @property
    def args(self) -> tuple[Any, ...]: ...


@dataclasses.dataclass
class Job:
    """A request, ready for the engine."""

    task: str
    document: int | None
    text: str
    images: list[Any]
    options: dict[str, Any]
    #: Where texts and images take turns.
    messages: list[Message] | None = None
    #: Of an answer that is kept.
    key: str | None = None

    @property
    def question(self) -> tuple[Any, Any, Mapping[str, Any]]:
        if self.messages is not None:
            return self.messages, None, self.options
        text, places = placed(self.text, len(self.images))
        return text, self.images, {**self.options, "place_images": True} if places else self.options

    @property
    def asked(self) -> str:
        """All that is asked but the pixels, as a text."""
        if self.messages is None:
            return placed(self.text, len(self.images))[0]
        return json.dumps(self.messages, default=lambda image: PLACEHOLDER)


def placed(text: str, images: int) -> tuple[str, bool]:
    """A text with its images' places, as LLaVA's model of the harness writes it: before the text, on a line of their own,
    a blank between several; as it is where the text names places itself.

    :return: the text, and whether `<image>` in it is a place
    """
    if images == 0:
        return text, False
    if PLACEHOLDER in text:
        return text, True
    return " ".join([PLACEHOLDER] * images) + "\n" + text, True


def placed_parts(text: str, images: Sequence[Any]) -> Message:
    """The same as a message, for what takes messages only."""
    text, places = placed(text, len(images))
    if not places:
        return user_message(text, None)
    texts = text.split(PLACEHOLDER)
    if len(texts) - 1 != len(images):
        raise FastVLMError(
            f"the text has {len(texts) - 1} times {PLACEHOLDER}, and there are {len(images)} images", "invalidOption")
    parts: list[Message] = [{"type": "text", "text": texts[0]}] if texts[0] else []
    for image, following in zip(images, texts[1:]):
        parts.append({"type": "image", "image": image})
        if following:
            parts.append({"type": "text", "text": following})
    if parts[-1].get("type") == "image":
        # An empty text keeps the order where the last image follows all others.
        parts.append({"type": "text", "text": ""})
    return {"role": "user", "content": parts}


def generation_options(given: Mapping[str, Any] | None, most_tokens: int, system: str | None) -> dict[str, Any]:
    """The engine's options for those of a task.

    :raises ValueError: for an option that would change answers and that the engine does not have
    """
    left = {key: value for key, value in dict(given or {}).items() if key not in _IGNORED}
    options: dict[str, Any] = {"max_tokens": int(left.pop("max_new_tokens", None) or most_tokens)}
    until = left.pop("until", None)
    stop = [until] if isinstance(until, str) else [text for text in until or []]
    if any(not isinstance(text, str) for text in stop):
        raise ValueError(f"until is a text or a list of texts, not {until!r}")
    if stop := [text for text in stop if text]:
        options["stop"] = stop
    # As in transformers: do_sample decides; LLaVA's model samples wherever the temperature is above 0.
    temperature = left.pop("temperature", None)
    samples = left.pop("do_sample", None)
    if samples is None:
        samples = bool(temperature)
    options["temperature"] = float(1 if temperature is None else temperature) if samples else 0.0
    for theirs, ours in (("top_p", "top_p"), ("top_k", "top_k"), ("min_p", "min_p")):
        value = left.pop(theirs, None)
        if samples and value is not None:
            options[ours] = value
    for name in ("repetition_penalty", "frequency_penalty", "presence_penalty"):
        if (value := left.pop(name, None)) is not None:
            options[name] = value
    for name in ("num_beams", "num_return_sequences"):
        if left.pop(name, 1) not in (1, None):
            raise ValueError(f"{name} must be 1: the engine gives one answer, token by token")
    left.pop("seed", None)
    if left := {key: value for key, value in left.items() if value is not None}:
        raise ValueError(f"the task asks for what the engine does not have: {', '.join(sorted(left))}")
    if system is not None:
        options["system"] = system
    return options


def load_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Load options out of --model_args.

    :raises TypeError: for an unknown one
    """
    unknown = sorted(set(arguments) - _LOAD_OPTIONS)
    if unknown:
        raise TypeError(
            f"unknown in --model_args: {', '.join(unknown)}; there are pretrained, system, max_new_tokens, seed, "
            f"allowed_failures, progress, {', '.join(sorted(_LOAD_OPTIONS))}")
    options = {**_USUAL, **{key: value for key, value in arguments.items() if value is not None}}
    if "adapters" in options:
        options["adapters"] = str(options["adapters"]).split(";")
    return options


def simple_job(request: Request, documents: Mapping[str, Any], most_tokens: int, system: str | None) -> Job:
    """A request of the simple form: a text, and images before it."""
    text, given, visual, document, task, split = request.args
    images = image_list(visual(documents[task][split][document])) if visual is not None else []
    return Job(task, document, text, images, generation_options(given, most_tokens, system))


def chat_job(request: Request, documents: Mapping[str, Any], most_tokens: int, system: str | None) -> Job:
    """A request of the chat form: messages of texts and images in turn."""
    _, messages_of, given, document, task, split = request.args
    messages = [_message(message) for message in messages_of(documents[task][split][document])]
    if system is not None and messages and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
    text = "".join(part.get("text", PLACEHOLDER) for part in parts)
    images = [part["image"] for part in parts if part["type"] == "image"]
    return Job(task, document, text, images, generation_options(given, most_tokens, None), messages)


def image_list(visuals: Any) -> list[Any]:
    """The images of a document; anything else is an error, because a question about it would be another question."""
    images = list(visuals or [])
    for image in images:
        if isinstance(image, (str, dict)) or not hasattr(image, "convert"):
            raise ValueError(f"the task shows what is no image ({type(image).__name__}); videos and sound are not read")
    return images


def _message(message: Mapping[str, Any]) -> Message:
    content = message["content"]
    if isinstance(content, str):
        return {"role": message["role"], "content": content}
    parts: list[Message] = []
    for part in content:
        if part["type"] == "text":
            parts.append({"type": "text", "text": part["text"]})
        elif part["type"] == "image":
            image = part["url"] if "url" in part else part["image"]
            parts.append({"type": "image", "image": image_list([image])[0]})
        else:
            raise ValueError(f"the task shows {part['type']}; only texts and images are read")
    return {"role": message["role"], "content": parts}
