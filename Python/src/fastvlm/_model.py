"""Models: loading them, asking them."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Union, overload

from . import _native
from ._answer import Answer, ModelInfo, Score
from ._chat import Chat
from ._errors import FastVLMError, RequestError
from ._features import Features
from ._images import Image, RequestImages
from ._messages import Images, Message, Question, fill, user_message
from ._options import GenerationOptions, LoadOptions, Path, generation_options, load_request
from ._progress import Progress
from ._stream import Stream

if TYPE_CHECKING:
    from typing_extensions import Unpack

_EMBEDDED = "embedded"


class Model:
    """A model that answers questions about images. Safe to use from many threads, which it answers together.

    >>> model = fastvlm.Model()
    >>> print(model.answer("What is this?", "banana.jpg"))
    A banana.
    """

    #: What was loaded.
    info: ModelInfo

    def __init__(self, path: Path = _EMBEDDED, *, progress: bool = False, **options: Unpack[LoadOptions]) -> None:
        """Loads a model.

        :param path: a checkpoint's folder; the name of a model in the hub's cache, such as ``apple/FastVLM-0.5B`` (fetch
            it with ``fastvlm pull``); or ``"embedded"``, the small model in this package, which knows drawn and typeset
            pictures only
        :param progress: whether a line on stderr tells how far loading is
        :raises ModelError: for what cannot be loaded
        """
        self.path = path
        self._options = dict(options)
        folder = _folder(path)
        self._work = _native.load(load_request(folder, self._options))
        line = Progress("loading", progress)
        try:
            for event in self._work.events():
                if event["event"] == "progress":
                    line.fraction(event["fraction"])
                elif event["event"] == "loaded":
                    self.info = ModelInfo.from_json(str(folder), event["information"])
        except BaseException:
            self._work.release()
            raise
        finally:
            line.end()

    def answer(self, question: Question, images: Images = None, **options: Unpack[GenerationOptions]) -> Answer:
        """The answer to a question about images, or to a conversation.

        :param question: a text, or messages as transformers has them
        :param images: what a text is about: one image or several, each a path, bytes of a file, a PIL image or an array
        :raises FastVLMError: with a ``code``
        """
        return self._stream("answer", question, images, options).result()

    def stream(self, question: Question, images: Images = None, **options: Unpack[GenerationOptions]) -> Stream:
        """The same as it comes: pieces of text, for ``for`` and for ``async for``."""
        return self._stream("stream", question, images, options)

    async def answer_async(
        self, question: Question, images: Images = None, **options: Unpack[GenerationOptions],
    ) -> Answer:
        """The same for ``await``. Cancelling the task cancels the request."""
        stream = self._stream("answer_async", question, images, options)
        async for _ in stream:
            pass
        return stream.result()

    @overload
    def answer_batch(
        self, questions: str | Iterable[Question], images: Iterable[Images] | None = None, *,
        on_error: Literal["raise"] = "raise", progress: bool = False, in_flight: int | None = None,
        **options: Unpack[GenerationOptions],
    ) -> list[Answer]: ...

    @overload
    def answer_batch(
        self, questions: str | Iterable[Question], images: Iterable[Images] | None = None, *,
        on_error: Literal["return"], progress: bool = False, in_flight: int | None = None,
        **options: Unpack[GenerationOptions],
    ) -> list[Answer | FastVLMError]: ...

    def answer_batch(
        self, questions: str | Iterable[Question], images: Iterable[Images] | None = None, *,
        on_error: Literal["raise", "return"] = "raise", progress: bool = False, in_flight: int | None = None,
        **options: Unpack[GenerationOptions],
    ) -> list[Answer] | list[Answer | FastVLMError]:
        """Answers to many questions, in their order. Several are worked on at once, and the next images are read
        meanwhile.

        :param questions: one text for all images, or one question for each
        :param images: for each question its image or images
        :param on_error: ``"return"`` puts the error in the place of an answer that fails
        :param progress: whether a line on stderr tells the rate and the time left
        :param in_flight: requests at a time; twice as many as the model works on at once unless you say otherwise
        """
        return list(
            self.iter_answers(
                questions, images, on_error=on_error, progress=progress, in_flight=in_flight, **options))

    def iter_answers(
        self, questions: str | Iterable[Question], images: Iterable[Images] | None = None, *,
        on_error: Literal["raise", "return"] = "raise", progress: bool = False, in_flight: int | None = None,
        **options: Unpack[GenerationOptions],
    ) -> Iterator[Answer | FastVLMError]:
        """As :meth:`answer_batch`, one after the other; ``questions`` and ``images`` are read as they are needed."""
        if on_error not in ("raise", "return"):
            raise ValueError(f'on_error is "raise" or "return", not {on_error!r}')
        if isinstance(questions, str) and images is None:
            raise RequestError("a question for all images needs images; for one without any there is answer()")
        items = ((*item, options) for item in _items(questions, images))
        for result in self._answers(items, _length(questions, images), progress, in_flight):
            if isinstance(result, FastVLMError) and on_error == "raise":
                raise result
            yield result

    def chat(self, *, system: str | None = None, history: Sequence[Message] = ()) -> Chat:
        """A conversation that remembers its turns."""
        return Chat(self, system=system, history=history)

    @overload
    def score(  # type: ignore[overload-overlap]
        self, question: str, continuations: str, images: Images = None, *, system: str | None = None,
    ) -> Score: ...

    @overload
    def score(
        self, question: str, continuations: Sequence[str], images: Images = None, *, system: str | None = None,
    ) -> list[Score]: ...

    def score(
        self, question: str, continuations: str | Sequence[str], images: Images = None, *, system: str | None = None,
    ) -> Score | list[Score]:
        """How likely answers are that are given, with the token that ends them: of one, or of each of several.

        >>> yes, no = model.score("Is there a cat?", ["Yes.", "No."], "photo.jpg")
        >>> yes.logprob > no.logprob
        """
        turns = [user_message(question, images)]
        if system is not None:
            turns.insert(0, {"role": "system", "content": system})
        several = [continuations] if isinstance(continuations, str) else continuations
        scores = [self.score_messages([*turns, {"role": "assistant", "content": text}]) for text in several]
        return scores[0] if isinstance(continuations, str) else scores

    def score_messages(self, messages: Sequence[Message]) -> Score:
        """How likely the last message of a conversation is, the assistant's."""
        request: dict[str, Any] = {"task": "score"}
        with self._submit(request, messages, None) as work:
            return Score.from_json(work.last_event()["score"])

    def score_text(self, text: str) -> Score:
        """How likely a plain text is, without a conversation's template around it."""
        with _native.submit(self._work, {"task": "score", "text": text}, []) as work:
            return Score.from_json(work.last_event()["score"])

    def encode(self, image: Image) -> Features:
        """Features and visual tokens of an image as NumPy arrays, which nothing is copied for."""
        given = RequestImages()
        work = _native.submit(self._work, {"task": "encode", "images": [given.part(image)]}, given.native)
        return Features(work, work.last_event())

    def count_tokens(self, question: Question, images: Images = None) -> int:
        """How many positions a question or a conversation takes, images included."""
        with self._submit({"task": "count"}, question, images) as work:
            return int(work.last_event()["tokens"])

    def forget(self) -> None:
        """Drops what is remembered of images and prompts."""
        with _native.submit(self._work, {"task": "forget"}, []) as work:
            work.last_event()

    def close(self) -> None:
        """Gives the model's memory back. Answers that are being made come to their end."""
        self._work.release()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process loads the model anew.
        return _loaded, (self.path, self._options)

    def __repr__(self) -> str:
        info = self.info
        return f"Model({os.fspath(self.path)!r}, {info.layout}, {info.precision}, {info.threads} threads)"

    def _stream(
        self, caller: str, question: Question, images: Images, options: Mapping[str, Any],
    ) -> Stream:
        request = {"options": generation_options(options, caller)}
        return Stream(self._submit(request, question, images))

    def _answers(
        self, items: Iterator[tuple[Question, Images, Mapping[str, Any]]], total: int | None, progress: bool,
        in_flight: int | None = None,
    ) -> Iterator[Answer | FastVLMError]:
        """Answers to questions with images and options, in their order."""
        most = in_flight or 2 * int(self._options.get("maximum_running", 8))  # type: ignore[call-overload]
        line = Progress("answered", progress)
        begun: collections.deque[_Item] = collections.deque()
        done = 0
        try:
            while True:
                while len(begun) < most and (item := next(items, None)) is not None:
                    begun.append(_Item(self, *item))
                if not begun:
                    return
                result = begun[0].result()
                begun.popleft()
                done += 1
                line.count(done, total)
                yield result
        finally:
            for unfinished in begun:
                unfinished.close()
            line.end()

    def _submit(self, request: dict[str, Any], question: Question, images: Images) -> _native.Work:
        # Its memory is copied before it goes.
        given = fill(request, question, images)
        return _native.submit(self._work, request, given.native)


class _Item:
    """A question of a batch."""

    def __init__(self, model: Model, question: Question, images: Images, options: Mapping[str, Any]) -> None:
        self._again = (model, question, images, options)
        self._stream: Stream | None = None
        self._error: FastVLMError | None = None
        self._begin()

    def result(self) -> Answer | FastVLMError:
        """Waits for the answer."""
        while True:
            if self._stream is None:
                return self._error or FastVLMError("the request was not begun")
            try:
                return self._stream.result()
            except FastVLMError as error:
                if error.code != "overloaded":
                    return error
            # Its neighbours hold the room that it needs; they go on meanwhile.
            time.sleep(0.02)
            self._begin()

    def close(self) -> None:
        if self._stream:
            self._stream.close()

    def _begin(self) -> None:
        model, question, images, options = self._again
        try:
            self._stream = model._stream("answer_batch", question, images, options)
        except FastVLMError as error:
            self._stream, self._error = None, error


_shared: dict[str, Model] = {}
_sharing = threading.Lock()


def shared(path: Path = _EMBEDDED, **options: Unpack[LoadOptions]) -> Model:
    """The model of this process with this path and these options: loaded by the first call, the same in all others. For
    workers that are called again and again, as those of Spark."""
    key = json.dumps([os.getpid(), os.fspath(path), options], sort_keys=True, default=str)
    with _sharing:
        if key not in _shared:
            _shared[key] = Model(path, **options)
        return _shared[key]


def _loaded(path: Path, options: dict[str, Any]) -> Model:
    return Model(path, **options)


def _folder(path: Path) -> pathlib.Path:
    """The folder that a path or a name stands for."""
    name = os.fspath(path)
    if name == _EMBEDDED:
        return pathlib.Path(__file__).with_name("models") / "fastvlm-small"
    folder = pathlib.Path(os.path.expanduser(name))
    if not folder.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        cached = _hub_cache() / ("models--" + name.replace("/", "--"))
        if cached.is_dir():
            return cached
    return folder


def _hub_cache() -> pathlib.Path:
    """Where the hub's client and ``fastvlm pull`` keep models."""
    if cache := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return pathlib.Path(cache)
    home = os.environ.get("HF_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface")
    return pathlib.Path(home) / "hub"


def _items(
    questions: str | Iterable[Question], images: Iterable[Images] | None,
) -> Iterator[tuple[Question, Images]]:
    if isinstance(questions, str):
        return ((questions, image) for image in images or ())
    if images is None:
        return ((question, None) for question in questions)
    return _pairs(iter(questions), iter(images))


def _pairs(questions: Iterator[Question], images: Iterator[Images]) -> Iterator[tuple[Question, Images]]:
    missing = object()
    while True:
        question: Any = next(questions, missing)
        image: Any = next(images, missing)
        if question is missing and image is missing:
            return
        if question is missing or image is missing:
            raise RequestError("there must be as many images as questions; None stands for no image")
        yield question, image


def _length(*lists: Union[str, Iterable[Any], None]) -> int | None:
    for each in lists:
        if isinstance(each, Sequence) and not isinstance(each, str):
            return len(each)
    return None
