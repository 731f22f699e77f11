"""An answer as it comes."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ._answer import Answer
from ._native import Work

#: Threads that wait for events of asynchronous streams; they do nothing else.
_waiting = concurrent.futures.ThreadPoolExecutor(max_workers=64, thread_name_prefix="fastvlm")


class Stream:
    """Pieces of text of an answer, for ``for`` and for ``async for``. All of them joined are the answer.

    Leaving the loop early leaves the request as it is; :meth:`close`, the end of a ``with`` block, or dropping the stream
    cancels it.
    """

    #: The finished answer, after the last piece.
    answer: Answer | None

    def __init__(self, work: Work, finished: Callable[[str, bool], None] | None = None) -> None:
        self.answer = None
        self._work = work
        self._text = ""
        self._finished = finished

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> str:
        while True:
            piece = self._piece(self._next())
            if piece:
                return piece

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> str:
        loop = asyncio.get_running_loop()
        try:
            while True:
                # A future cannot carry StopIteration.
                event = await loop.run_in_executor(_waiting, self._next_or_end)
                if event is StopIteration:
                    raise StopAsyncIteration
                piece = self._piece(event)
                if piece:
                    return piece
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self) -> None:
        """Cancels what goes on. A chat keeps what was answered so far."""
        self._work.release()
        self._tell(False)

    def result(self) -> Answer:
        """Waits for the end and gives the answer."""
        for _ in self:
            pass
        if self.answer is None:
            raise RuntimeError("the stream was closed before its end")
        return self.answer

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _next(self) -> dict[str, Any] | None:
        if self._work.is_released:
            raise StopIteration
        return self._work.next()

    def _next_or_end(self) -> Any:
        try:
            return self._next()
        except StopIteration:
            return StopIteration

    def _piece(self, event: dict[str, Any] | None) -> str:
        """The text of an event, perhaps none."""
        if event is None:
            return ""
        if event["event"] == "finished":
            self.answer = Answer.from_json(event["answer"])
            self._tell(True)
            self._work.release()
        if event["event"] != "text":
            return ""
        piece: str = event["text"]
        self._text += piece
        return piece

    def _tell(self, is_complete: bool) -> None:
        if self._finished:
            finished, self._finished = self._finished, None
            finished(self._text, is_complete)
