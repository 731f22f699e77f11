"""What answers and scores are made of."""

from __future__ import annotations

import dataclasses
import html
from typing import Any


@dataclasses.dataclass(frozen=True)
class Alternative:
    """A token that was not chosen."""

    id: int
    logprob: float


@dataclasses.dataclass(frozen=True)
class Token:
    """A token of an answer; ``logprob`` and ``alternatives`` when ``logprobs`` was given."""

    id: int
    logprob: float | None = None
    alternatives: tuple[Alternative, ...] = ()
    #: Of a score: whether a greedy answer would go on with it.
    is_most_likely: bool | None = None


@dataclasses.dataclass(frozen=True)
class Usage:
    """How many positions and tokens an answer took."""

    #: Positions of the prompt that were computed, images included.
    prompt_tokens: int
    #: Those of them that are visual tokens.
    image_tokens: int
    #: Positions that were kept from earlier requests with the same beginning.
    cached_tokens: int
    completion_tokens: int


@dataclasses.dataclass(frozen=True)
class Timings:
    """Seconds that each stage took."""

    decode_image: float
    preprocess: float
    encode: float
    project: float
    prefill: float
    #: From image bytes to the choice of the first token.
    time_to_first_token: float
    #: Each further token.
    per_token: tuple[float, ...]
    total: float

    @property
    def tokens_per_second(self) -> float:
        """Speed after the first token; 0 when there was only one."""
        time = sum(self.per_token)
        return len(self.per_token) / time if time > 0 else 0.0


@dataclasses.dataclass(frozen=True)
class Answer:
    """A finished answer. ``str(answer)`` is its text."""

    text: str
    #: ``"stop"``, or ``"length"`` where the limit cut it off.
    finish_reason: str
    usage: Usage
    timings: Timings
    tokens: tuple[Token, ...] = dataclasses.field(repr=False, default=())
    #: What is worth knowing about the images, in sentences.
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Answer({self.text!r}, {self._summary})"

    def _repr_html_(self) -> str:
        remarks = "".join(f"<br>{html.escape(remark)}" for remark in self.remarks)
        return (
            f'<div style="white-space: pre-wrap">{html.escape(self.text)}</div>'
            f'<small style="opacity: 0.6">{html.escape(self._summary)}{remarks}</small>')

    @property
    def _summary(self) -> str:
        return (
            f"{self.usage.completion_tokens} tokens, first after {self.timings.time_to_first_token:.2f} s, "
            f"{self.timings.total:.2f} s in all, finish_reason={self.finish_reason!r}")

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Answer:
        return cls(
            text=fields["text"], finish_reason=fields["finishReason"],
            usage=Usage(**snake_case(fields["usage"], Usage)),
            timings=Timings(**{**snake_case(fields["timings"], Timings), "per_token": tuple(fields["timings"]["perToken"])}),
            tokens=tuple(
                Token(
                    token["id"], _number(token.get("logProbability")),
                    tuple(
                        Alternative(other["id"], float(other["logProbability"]))
                        for other in token.get("alternatives", ())))
                for token in fields["tokens"]),
            remarks=tuple(fields["remarks"]))


@dataclasses.dataclass(frozen=True)
class Score:
    """How likely the model finds a text, token by token."""

    tokens: tuple[Token, ...] = dataclasses.field(repr=False)
    #: Natural logarithm of the probability of all tokens together.
    logprob: float
    perplexity: float

    @property
    def is_greedy(self) -> bool:
        """Whether a greedy answer would be this text."""
        return all(token.is_most_likely for token in self.tokens)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Score:
        return cls(
            tokens=tuple(
                Token(token["id"], float(token["logProbability"]), is_most_likely=token["isMostLikely"])
                for token in fields["tokens"]),
            logprob=float(fields["logProbability"]), perplexity=float(fields["perplexity"]))


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What was loaded."""

    directory: str
    layout: str
    precision: str
    #: Pixels per side that images are brought to.
    image_size: int
    #: Visual tokens of an image that is encoded as a whole.
    tokens_per_image: int
    #: Longest sequence, in positions.
    context_length: int
    template: str
    instruction_set: str
    threads: int
    load_seconds: float
    #: What the checkpoint leaves open in a way that changes answers.
    remarks: tuple[str, ...]

    @classmethod
    def from_json(cls, directory: str, fields: dict[str, Any]) -> ModelInfo:
        values = snake_case(fields, cls)
        return cls(**{**values, "directory": directory, "remarks": tuple(fields["remarks"])})


def snake_case(fields: dict[str, Any], kind: type) -> dict[str, Any]:
    """The fields of a data class out of JSON, whose names are in camel case; further ones are left out."""
    names = {_camel_case(field.name): field.name for field in dataclasses.fields(kind)}
    return {names[key]: value for key, value in fields.items() if key in names}


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
