"""Questions and conversations as a request's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union, cast

from ._errors import RequestError
from ._images import Image, RequestImages

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

#: One image, or several.
Images: TypeAlias = Union[Image, Sequence[Image], None]
#: ``{"role": "user", "content": "…"}``, or parts as transformers has them: ``{"type": "text", "text": "…"}`` and
#: ``{"type": "image", "image": …}``.
Message: TypeAlias = Mapping[str, Any]
#: A question, or a conversation that ends with one.
Question: TypeAlias = Union[str, Sequence[Message]]


def fill(request: dict[str, Any], question: Question, images: Images) -> RequestImages:
    """Writes a question into a request.

    :return: the images that the request refers to
    """
    given = RequestImages()
    if isinstance(question, str):
        request["prompt"] = question
        request["images"] = [given.part(image) for image in image_list(images)]
    else:
        if image_list(images):
            raise RequestError("images belong into the messages where there are messages")
        request["messages"] = [_message(message, given) for message in question]
    return given


def image_list(images: Images) -> list[Image]:
    """None, one image or several, as a list."""
    if images is None:
        return []
    if isinstance(images, (list, tuple)):
        return list(images)
    return [cast(Image, images)]


def user_message(question: str, images: Images) -> Message:
    """A question as the models were trained: images first, then a line break and the text."""
    parts: list[Message] = [{"type": "image", "image": image} for image in image_list(images)]
    return {"role": "user", "content": [*parts, {"type": "text", "text": question}] if parts else question}


def _message(message: Message, given: RequestImages) -> dict[str, Any]:
    unknown = sorted(set(message) - {"role", "content"})
    if unknown:
        raise RequestError(f"a message has a role and content, not {', '.join(unknown)}")
    content = message.get("content")
    if isinstance(content, str):
        return {"role": message.get("role"), "content": content}
    if not isinstance(content, Sequence):
        raise RequestError(f"the content of a message is a text or a list of parts, not {type(content).__name__}")
    parts = [_part(part, given) for part in content]
    texts = [index for index, part in enumerate(parts) if "text" in part]
    images = [part for part in parts if "text" not in part]
    # Where the text stands together, images go before it with a line break between, as in training; where they take
    # turns, the order is part of the question.
    if images and texts and texts == list(range(texts[0], texts[0] + len(texts))):
        text = "".join(parts[index]["text"] for index in texts)
        parts = [*images, {"text": text if text.startswith("\n") else "\n" + text}]
    return {"role": message.get("role"), "content": parts}


def _part(part: Any, given: RequestImages) -> dict[str, Any]:
    if isinstance(part, str):
        return {"text": part}
    if isinstance(part, Mapping):
        if isinstance(part.get("text"), str):
            return {"text": part["text"]}
        for key in ("image", "path"):
            if part.get(key) is not None:
                return given.part(part[key])
    raise RequestError(
        'a part of a message is {"type": "text", "text": "…"} or {"type": "image", "image": …}, got '
        f"{repr(part)[:100]}")
