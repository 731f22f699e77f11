"""Conversations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._answer import Answer
from ._messages import Images, Message, user_message
from ._stream import Stream

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._model import Model
    from ._options import GenerationOptions


class Chat:
    """A conversation that remembers its turns; the engine computes only what is new.

    A turn that fails leaves it as it was, and so does one that is closed before its first piece of text. One that is
    closed later stays with what was answered.
    """

    #: What was said so far, as :meth:`Model.answer` takes it. Yours to change between turns.
    messages: list[Message]

    def __init__(self, model: Model, *, system: str | None = None, history: Sequence[Message] = ()) -> None:
        self.messages = [{"role": "system", "content": system}] if system is not None else []
        self.messages += history
        self._model = model

    def answer(self, question: str, images: Images = None, **options: Unpack[GenerationOptions]) -> Answer:
        """The next turn's answer."""
        return self.stream(question, images, **options).result()

    def stream(self, question: str, images: Images = None, **options: Unpack[GenerationOptions]) -> Stream:
        """The same as it comes."""
        turn = user_message(question, images)
        stream = self._model.stream([*self.messages, turn], **options)

        def finished(text: str, is_complete: bool) -> None:
            if text or is_complete:
                self.messages += [turn, {"role": "assistant", "content": text}]

        stream._finished = finished
        return stream

    def __repr__(self) -> str:
        return f"Chat({len(self.messages)} messages)"
