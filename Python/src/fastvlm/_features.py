"""What the encoder sees in an image, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._native import FEATURES, VISUAL_TOKENS, Work

if TYPE_CHECKING:
    import numpy


class Features:
    """An image's features. The arrays show the engine's own memory, which lives as long as one of them does."""

    #: float32 [tokens, feature channels]: the encoder's output; of an image in tiles that of every tile, one after the other.
    features: numpy.ndarray[Any, numpy.dtype[numpy.float32]]
    #: float32 [tokens, hidden size]: what the decoder reads in place of text.
    visual_tokens: numpy.ndarray[Any, numpy.dtype[numpy.float32]]
    #: What is worth knowing about the image's file.
    remarks: tuple[str, ...]
    #: Seconds of decoding, preprocessing, encoder and projector.
    seconds: dict[str, float]

    def __init__(self, work: Work, event: dict[str, Any]) -> None:
        try:
            import numpy
        except ImportError as error:
            raise ImportError("encode() gives NumPy arrays: pip install numpy") from error
        self.features = numpy.asarray(_Numbers(work, FEATURES))
        self.visual_tokens = numpy.asarray(_Numbers(work, VISUAL_TOKENS))
        self.remarks = tuple(event["remarks"])
        self.seconds = dict(event["seconds"])

    def __repr__(self) -> str:
        return f"Features(features: {list(self.features.shape)}, visual_tokens: {list(self.visual_tokens.shape)})"


class _Numbers:
    """Memory of the engine's for NumPy, which refers to this object from the array and so keeps the memory."""

    def __init__(self, work: Work, which: int) -> None:
        self._work = work
        address, rows, columns = work.features(which)
        self.__array_interface__ = {
            "version": 3, "typestr": "<f4", "shape": (rows, columns), "data": (address, True), "strides": None,
        }
