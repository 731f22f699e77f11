"""FastVLM on CPUs: questions about images, answered by a library without PyTorch.

>>> import fastvlm
>>> model = fastvlm.Model("FastVLM-0.5B", precision="int8")
>>> print(model.answer("What is this?", "photo.jpg"))
"""

from ._answer import Alternative, Answer, ModelInfo, Score, Timings, Token, Usage
from ._chat import Chat
from ._errors import FastVLMError, ImageError, MachineError, ModelError, OutputError, RequestError
from ._features import Features
from ._images import Image
from ._messages import Images, Message, Question
from ._model import Model, shared
from ._native import version as engine_version
from ._options import GenerationOptions, LoadOptions
from ._stream import Stream
from ._table import TableSummary, answer_table

__version__ = "0.1.0"

__all__ = [
    "Alternative", "Answer", "Chat", "FastVLMError", "Features", "GenerationOptions", "Image", "ImageError", "Images",
    "LoadOptions", "MachineError", "Message", "Model", "ModelError", "ModelInfo", "OutputError", "Question",
    "RequestError", "Score", "Stream", "TableSummary", "Timings", "Token", "Usage", "answer_table", "engine_version",
    "shared",
]
