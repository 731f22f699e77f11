"""The prompts whose answers are recorded, and golden token ids of the chat templates."""

from dataclasses import dataclass

from . import small_tokenizer
from .small_tokenizer import chat, vicuna


@dataclass
class Case:
    """A prompt with one `<image>` for each index in `images`, in order."""

    name: str
    prompt: str
    images: list[int]

    def chunks(self) -> list[list[int]]:
        return small_tokenizer.chunks(self.prompt)

    def document(self) -> dict:
        return {"name": self.name, "prompt": self.prompt, "images": self.images, "chunks": self.chunks()}


CASES = [
    Case("0", chat([("user", "Who are you?")]), []),
    Case("1", chat([("user", "<image>\nWhat is this?")]), [0]),
    Case("2", chat([("user", "<image>\n<image>\nWhich one is red?")]), [1, 0]),
    Case("3", chat([("user", "<image>\nThis and <image>, but not\n<image>")]), [2, 0, 1]),
]

FIRST = ("user", "<image>\nWhat is this?")
REPLY = ("assistant", "Das ist ein Bär 🐻.")


def golden() -> dict:
    """Prompts as text and ids: -200 where an image goes; sides of an image are encoded separately."""
    texts = {
        "qwen2: no image": chat([("user", "Who are you?")]),
        "qwen2: own system text": chat([("user", "Who are you?")], system="Answer in one word."),
        "qwen2: one image": chat([FIRST]),
        "qwen2: two images, a newline after each": chat([("user", "<image>\n<image>\nCompare them.")]),
        "qwen2: two images, then a newline": chat([("user", "<image><image>\nCompare them.")]),
        "qwen2: three images at their places": chat([("user", "<image>\nThis and <image>, not\n<image>")]),
        "qwen2: newline on both sides of an image": chat([("user", "Look:\n<image>\nWhat is it?")]),
        "qwen2: second turn": chat([FIRST, REPLY, ("user", "Are you sure?")]),
        "qwen2: second image in the second turn": chat([FIRST, REPLY, ("user", "<image>\nAnd this?")]),
        "qwen2: third turn": chat(
            [FIRST, REPLY, ("user", "Are you sure?"), ("assistant", "Yes."), ("user", "  \n\n Why?")]
        ),
        "plain": "<image>a caption\n",
        "vicuna: one image": vicuna([FIRST]),
        "vicuna: second turn": vicuna([FIRST, REPLY, ("user", "Are you sure?")]),
    }
    return {
        "tokenizer": "tiny-hf/tokenizer.json",
        "prompts": [
            {"name": name, "prompt": text, "ids": sentinel_ids(text)} for name, text in texts.items()
        ],
    }


def sentinel_ids(prompt: str) -> list[int]:
    first, *rest = small_tokenizer.chunks(prompt)
    ids = list(first)
    for chunk in rest:
        ids += [-200] + chunk
    return ids
