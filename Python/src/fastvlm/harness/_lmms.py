"""The two classes that lmms-eval loads, one for each form of its requests."""

from __future__ import annotations

from typing import Any

from lmms_eval.api.instance import GenerationResult
from lmms_eval.api.model import lmms

from ._adapter import Adapter
from ._requests import chat_job, simple_job


class _FastVLM(Adapter, lmms):
    """What both have in common. ``task_dict`` is the harness's: task → split → documents."""

    def loglikelihood(self, requests: list[Any]) -> list[Any]:
        # lmms-eval 0.7.3 makes texts of pairs of numbers and then cannot score them; what this class holds it leaves alone.
        return [GenerationResult(pair) for pair in self.score_all(requests, self.task_dict)]

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        raise NotImplementedError("tasks of several rounds are not answered by this model")


class FastVLMSimple(_FastVLM):
    """A text with images before it: LLaVA's way, and that of the paper's figures (``--force_simple``)."""

    is_simple = True

    def generate_until(self, requests: list[Any]) -> list[str]:
        return self.generate(
            requests, lambda request: simple_job(request, self.task_dict, self.max_new_tokens, self.system))


class FastVLMChat(_FastVLM):
    """Messages in which texts and images take turns."""

    is_simple = False

    def generate_until(self, requests: list[Any]) -> list[str]:
        return self.generate(
            requests, lambda request: chat_job(request, self.task_dict, self.max_new_tokens, self.system))
