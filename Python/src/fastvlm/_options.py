"""Options by their Python names, and what the engine calls them."""

from __future__ import annotations

import json
import operator
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Union

from ._errors import RequestError

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

Precision = Literal["float32", "bfloat16", "int8", "int4", "int8-weights", "int4-weights"]
Path: TypeAlias = Union[str, "os.PathLike[str]"]


class LoadOptions(TypedDict, total=False):
    """How a model is loaded. What is missing is the engine's default (``LoadOptions`` of the Swift library)."""

    #: None takes what the checkpoint stores.
    precision: Precision | None
    #: None takes one per physical core.
    threads: int | None
    #: Pixels per side that images are brought to, a multiple of 64.
    image_size: int | None
    geometry: str | None
    #: Tiles that an image is cut into beside the whole of it, ``"2x2"``, for models that take images whole.
    tiles: str | None
    #: Fewer visual tokens of an image: ``"average:36"``, ``"merge:36"`` or ``"select:36"``.
    token_reduction: str | None
    #: Folders of LoRA adapters (PEFT).
    adapters: Sequence[Path]
    template: str | None
    context_length: int | None
    #: A folder with the CLIP or SigLIP model that a checkpoint of LLaVA's original program leaves out.
    vision_tower: Path | None
    #: ``"white"``, ``"black"``, ``"drop"`` or ``"#rrggbb"``: what shows behind transparent pixels.
    background: str
    #: Formats of image files that are read: ``"jpeg"``, ``"png"``, ``"webp"``, ``"portableAnymap"``, ``"gif"``, ``"bmp"``,
    #: ``"heic"``, ``"avif"``; the first four unless you say otherwise. Open TIFF with Pillow.
    image_formats: Sequence[str]
    applies_orientation: bool
    uses_reference_depth: bool
    allows_truncated_images: bool
    ignores_color_profiles: bool
    maximum_pixels: int
    maximum_side: int
    maximum_file_bytes: int
    maximum_image_bytes: int
    #: How many images the model remembers the visual tokens of.
    remembered_images: int
    remembered_image_bytes: int
    #: Bytes of keys and values, of requests that are worked on and remembered ones.
    key_value_bytes: int
    #: Requests that are worked on at once.
    maximum_running: int
    #: Answers halt for the images of other requests and then go on together: a batch is done earlier.
    prefers_throughput: bool
    maximum_waiting: int
    request_bytes: int


class GenerationOptions(TypedDict, total=False):
    """How an answer is generated. The default is greedy: the same question gives the same answer."""

    max_tokens: int
    #: 0 takes the best token.
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    frequency_penalty: float
    presence_penalty: float
    logit_bias: Mapping[int, float]
    seed: int | None
    #: Pixels per side that the question's images are brought to, where the model allows it.
    image_size: int | None
    #: Texts that end the answer and are not part of it.
    stop: str | Sequence[str]
    stop_ids: Sequence[int]
    #: Seconds from the question to the end of the answer; then an error with the code ``deadlineExceeded``.
    time_limit: float | None
    #: Higher ones go first.
    priority: int
    #: Number of alternatives to report with each token's log-probability.
    logprobs: int | None
    system: str | None
    #: Whether ``<image>`` in the question says where an image goes.
    place_images: bool
    #: What the engine's log calls the request.
    request_id: str | None
    #: At most one of these four: what the answer must look like (docs/structured-output.md).
    json_schema: str | Mapping[str, Any]
    json_object: bool
    choices: Sequence[str]
    regex: str


_LOAD = {
    "precision": "precision", "threads": "threads", "image_size": "imageSize", "geometry": "geometry",
    "tiles": "tiles", "token_reduction": "tokenReduction",
    "adapters": "adapters", "template": "template", "context_length": "contextLength", "background": "background",
    "image_formats": "imageFormats", "applies_orientation": "appliesOrientation",
    "uses_reference_depth": "usesReferenceDepth", "allows_truncated_images": "allowsTruncatedImages",
    "ignores_color_profiles": "ignoresColorProfiles", "maximum_pixels": "maximumPixels", "maximum_side": "maximumSide",
    "maximum_file_bytes": "maximumFileBytes", "maximum_image_bytes": "maximumImageBytes",
    "remembered_images": "rememberedImages", "remembered_image_bytes": "rememberedImageBytes",
    "key_value_bytes": "keyValueBytes", "maximum_running": "maximumRunning",
    "prefers_throughput": "prefersThroughput", "maximum_waiting": "maximumWaiting", "request_bytes": "requestBytes",
}

_GENERATION = {
    "max_tokens": "maximumTokens", "temperature": "temperature", "top_k": "topK", "top_p": "topP", "min_p": "minP",
    "repetition_penalty": "repetitionPenalty", "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty", "logit_bias": "logitBias", "seed": "seed", "image_size": "imageSize",
    "stop": "stop", "stop_ids": "stopIDs", "time_limit": "timeLimit", "priority": "priority",
    "logprobs": "logProbabilities", "system": "system", "place_images": "placesImages", "request_id": "requestID",
}

#: Options that are whole numbers.
_WHOLE = {
    "threads", "image_size", "context_length", "maximum_pixels", "maximum_side", "maximum_file_bytes",
    "maximum_image_bytes", "remembered_images", "remembered_image_bytes", "key_value_bytes", "maximum_running",
    "maximum_waiting", "request_bytes", "max_tokens", "top_k", "seed", "priority", "logprobs",
}

_FORMATS = {
    "json_schema": "jsonSchema", "json_object": "jsonObject", "choices": "choice", "regex": "regularExpression",
}


def load_request(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """What ``fastvlm_load`` reads."""
    given = dict(options)
    tower = given.pop("vision_tower", None)
    engine = _renamed(given, _LOAD, "Model", [*_LOAD, "vision_tower"])
    if "adapters" in engine:
        engine["adapters"] = [_absolute(adapter).as_uri() for adapter in engine["adapters"]]
    if "imageFormats" in engine:
        engine["imageFormats"] = list(engine["imageFormats"])
    request: dict[str, Any] = {"model": str(_absolute(path)), "options": engine}
    if tower is not None:
        request["visionTower"] = str(_absolute(tower))
    return request


def generation_options(options: Mapping[str, Any], caller: str) -> dict[str, Any]:
    """The keys of the engine's ``GenerationOptions``."""
    given = dict(options)
    formats = {key: given.pop(key) for key in _FORMATS if key in given}
    formats = {key: value for key, value in formats.items() if value is not None and value is not False}
    engine = _renamed(given, _GENERATION, caller, [*_GENERATION, *_FORMATS])
    if len(formats) > 1:
        raise TypeError(f"{caller}() takes one of {', '.join(formats)}, not several")
    for key, value in formats.items():
        if key == "json_schema" and not isinstance(value, str):
            value = json.dumps(value)
        engine["format"] = {_FORMATS[key]: list(value) if key == "choices" else value}
    if isinstance(engine.get("stop"), str):
        engine["stop"] = [engine["stop"]]
    for key in ("stop", "stopIDs"):
        if key in engine:
            engine[key] = list(engine[key])
    if "logitBias" in engine:
        engine["logitBias"] = {str(int(token)): bias for token, bias in engine["logitBias"].items()}
    return engine


def _renamed(given: Mapping[str, Any], names: Mapping[str, str], caller: str, known: Sequence[str]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise TypeError(f"{caller}() got unknown options: {', '.join(unknown)}; there are {', '.join(known)}")
    for key in _WHOLE & set(given):
        value = given[key]
        if value is None:
            continue
        if isinstance(value, bool) or not hasattr(value, "__index__") or not -2**63 <= operator.index(value) < 2**63:
            raise RequestError(f"{key} is a whole number, not {value!r}", "invalidOption", option=key)
    return {
        names[key]: operator.index(value) if key in _WHOLE else value for key, value in given.items() if value is not None
    }


def _absolute(path: Path) -> pathlib.Path:
    return pathlib.Path(os.path.abspath(os.path.expanduser(path)))
