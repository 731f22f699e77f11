"""FastVLM for lmms-eval, the harness that the community scores such models with. This package answers; the harness asks
and scores.

    pip install lmms-eval==0.7.3 …               # python -m fastvlm.harness install does all of it
    python -m fastvlm.harness run FastVLM-0.5B --tasks paper
    python -m lmms_eval --model fastvlm --model_args pretrained=FastVLM-0.5B,precision=int8 --tasks mmmu_val --batch_size 8

Nothing of lmms-eval is imported before it asks for :func:`manifest`, its entry point.
"""

from __future__ import annotations

import pathlib
from typing import Any

#: The version that everything here was tried with.
HARNESS_VERSION = "0.7.3"

#: Tasks by the names that stand in `tasks/`: those of the paper's protocols that today's harness scores differently.
TASKS_FOLDER = pathlib.Path(__file__).with_name("tasks")


def manifest() -> Any:
    """What lmms-eval registers under the name ``fastvlm``."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="fastvlm", simple_class_path="fastvlm.harness._lmms.FastVLMSimple",
        chat_class_path="fastvlm.harness._lmms.FastVLMChat")
