"""The model that the harness asks. Nothing here needs lmms-eval."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .._answer import Answer, Score
from .._errors import FastVLMError
from .._messages import Message
from .._model import Model
from .._progress import Progress
from ._journal import Journal
from ._requests import MOST_TOKENS, Job, Request, image_list, load_options, placed, placed_parts


class EvaluationError(RuntimeError):
    """Requests that could not be answered. Their scores would be those of wrong answers, so there are none."""


@dataclasses.dataclass
class Failure:
    """A request without an answer."""

    task: str
    document: int | None
    error: FastVLMError

    def __str__(self) -> str:
        return f"{self.task}, document {self.document}: {self.error} ({self.error.code})"


@dataclasses.dataclass
class Example:
    """What was asked in a task: the first request, as it went to the engine."""

    text: str
    images: int
    options: dict[str, Any]
    #: Positions of the prompt, images and template included.
    positions: int | None = None
    requests: int = 0
    answered: int = 0
    cut_off: int = 0

    def count(self, text: str, is_cut_off: bool, positions: int) -> str:
        """Notes an answer and returns its text."""
        self.answered += 1
        self.cut_off += is_cut_off
        self.positions = self.positions or positions
        return text


class Adapter:
    """The model that the harness asks, whichever of its two forms of requests it uses.

    :param pretrained: a checkpoint's folder, the name of a model in the hub's cache, or ``embedded``
    :param max_new_tokens: where a task says nothing
    :param batch_size: requests that the engine works on at once; 1, the harness's default, leaves the engine's own
    :param allowed_failures: requests that may fail and be scored as wrong answers; beyond that nothing is scored
    """

    def __init__(
        self, pretrained: str = "embedded", *, system: str | None = None, max_new_tokens: int = MOST_TOKENS,
        seed: int = 0, allowed_failures: int = 0, progress: bool = True, batch_size: int | str | None = None,
        max_batch_size: int | None = None, device: str | None = None, **arguments: Any,
    ) -> None:
        super().__init__()
        options = load_options(arguments)
        if batch_size not in (None, "auto") and int(batch_size or 1) > 1:
            options.setdefault("maximum_running", int(batch_size or 1))
        self.engine = Model(str(pretrained), progress=progress, **options)
        self.system = None if system is None else str(system)
        self.max_new_tokens = int(max_new_tokens)
        self.seed = int(seed)
        self.allowed_failures = int(allowed_failures)
        self.progress = progress
        #: Answers that were given in an earlier run.
        self.journal: Journal | None = None
        self.failures: list[Failure] = []
        self.examples: dict[str, Example] = {}
        #: Seconds in which the engine answered.
        self.seconds = 0.0

    def answer_all(self, jobs: Iterable[Job], total: int) -> Iterator[Answer | FastVLMError]:
        """Answers in the order of the jobs, which are read as they are needed."""
        return self.engine._answers((job.question for job in jobs), total, self.progress)

    def generate(self, requests: Sequence[Request], prepare: Callable[[Request], Job]) -> list[str]:
        """The texts of the answers.

        :raises EvaluationError: when requests fail, after all have been tried
        """
        texts = [""] * len(requests)
        begun: list[tuple[int, Job]] = []
        failures: list[Failure] = []

        def prepared() -> Iterator[Job]:
            for number, request in enumerate(requests):
                job = prepare(request)
                if job.options["temperature"] > 0:
                    # Repetitions of a request differ, runs do not.
                    job.options["seed"] = self.seed + number
                example = self._note(job)
                if self.journal is not None and job.options["temperature"] == 0:
                    job.key = self.journal.key(job.asked, job.images, job.options)
                    if (kept := self.journal.get(job.key)) is not None:
                        texts[number] = example.count(**kept)
                        continue
                begun.append((number, job))
                yield job
                # Images may be large, and there are thousands of them.
                job.images, job.messages = [], None

        start = time.monotonic()
        try:
            for place, result in enumerate(self.answer_all(prepared(), len(requests))):
                number, job = begun[place]
                if isinstance(result, FastVLMError):
                    failures.append(Failure(job.task, job.document, result))
                    continue
                answer: dict[str, Any] = {
                    "text": result.text, "is_cut_off": result.finish_reason == "length",
                    "positions": result.usage.prompt_tokens + result.usage.cached_tokens}
                texts[number] = self.examples[job.task].count(**answer)
                if self.journal is not None and job.key is not None:
                    self.journal.keep(job.key, answer)
        finally:
            self.seconds += time.monotonic() - start
        self._count(failures, len(requests))
        return texts

    def score_all(self, requests: Sequence[Request], documents: Mapping[str, Any]) -> list[tuple[float, bool]]:
        """Of each request the loss of its continuation, and whether a greedy answer would be it.

        The harness takes the smallest of these numbers for the likeliest, so each is what LLaVA's model of the harness
        returns: the mean negative logarithm of the probabilities of the tokens, with the one that ends the answer.
        """
        results: list[tuple[float, bool]] = []
        failures: list[Failure] = []
        line = Progress("scored", self.progress)
        start = time.monotonic()
        # The continuations of a question follow one another, and share its images.
        last: tuple[Any, list[Any]] | None = None
        for request in requests:
            text, continuation, *rest = request.args
            images: list[Any] = []
            task, document = "without a document", None
            if rest:
                visual, document, task, split = rest
                place = (task, split, document)
                if last is None or last[0] != place:
                    last = (place, image_list(visual(documents[task][split][document]) if visual else []))
                images = last[1]
                if callable(continuation):
                    continuation = continuation(documents[task][split][document])
            example = self._note(Job(task, document, text, images, {"continuation": str(continuation)}))
            try:
                score = self._score(text, images, str(continuation))
                example.answered += 1
                results.append((-score.logprob / max(len(score.tokens), 1), score.is_greedy))
            except FastVLMError as error:
                failures.append(Failure(task, document, error))
                results.append((float("inf"), False))
            line.count(len(results), len(requests))
        line.end()
        self.seconds += time.monotonic() - start
        self._count(failures, len(requests))
        return results

    def _score(self, text: str, images: list[Any], continuation: str) -> Score:
        turns: list[Message] = [placed_parts(text, images), {"role": "assistant", "content": continuation}]
        if self.system is not None:
            turns.insert(0, {"role": "system", "content": self.system})
        return self.engine.score_messages(turns)

    def _note(self, job: Job) -> Example:
        if job.task not in self.examples:
            text = job.text
            if job.messages is None:
                text, _ = placed(job.text, len(job.images))
            self.examples[job.task] = Example(text, len(job.images), dict(job.options))
        self.examples[job.task].requests += 1
        return self.examples[job.task]

    def _count(self, failures: list[Failure], total: int) -> None:
        self.failures += failures
        if len(self.failures) <= self.allowed_failures:
            return
        shown = "".join(f"\n  {failure}" for failure in failures[:5])
        more = f"\n  and {len(failures) - 5} more" if len(failures) > 5 else ""
        raise EvaluationError(
            f"{len(failures)} of {total} requests failed, so nothing was scored:{shown}{more}\n"
            f"allowed_failures={len(self.failures)} in --model_args scores them as wrong answers.")
