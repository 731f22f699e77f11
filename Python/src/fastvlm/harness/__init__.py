"""FastVLM for lmms-eval, the harness that the community scores such models with. This package answers; the harness asks
and scores.

    pip install lmms-eval==0.7.3 …               # python -m fastvlm.harness install does all of it
    python -m fastvlm.harness run FastVLM-0.5B --tasks paper
    python -m lmms_eval --model fastvlm --model_args pretrained=FastVLM-0.5B,precision=int8 --tasks mmmu_val --batch_size 8

Nothing of lmms-eval is imported before it asks for :func:`manifest`, its entry point.
"""

from __future__ import annotations

import os
import pathlib
from typing import Any

#: The version that everything here was tried with.
HARNESS_VERSION = "0.7.3"

#: Tasks by the names that stand in `tasks/`: those of the paper's protocols that today's harness scores differently.
TASKS_FOLDER = pathlib.Path(__file__).with_name("tasks")


def use_data(folder: str | os.PathLike[str]) -> None:
    """Makes the harness take its data from a folder with ORGANISATION/NAME folders, and nothing from a network. To be
    called before ``datasets`` is imported.
    """
    # load_dataset takes a folder of a data set's name under the current one before it asks the hub.
    os.chdir(folder)
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    # Its cache goes by that name: another folder's data would come out of the usual one.
    os.environ["HF_DATASETS_CACHE"] = os.path.abspath(".datasets-cache")


def manifest() -> Any:
    """What lmms-eval registers under the name ``fastvlm``."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="fastvlm", simple_class_path="fastvlm.harness._lmms.FastVLMSimple",
        chat_class_path="fastvlm.harness._lmms.FastVLMChat")
