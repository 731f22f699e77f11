"""Greedy answers of transformers' models, token by token."""

from dataclasses import dataclass

import torch
from transformers.cache_utils import DynamicCache


@dataclass
class Answer:
    """Greedy ids, logits [rows] at the prompt's last position, margins between best and second."""

    ids: list[int]
    logits: torch.Tensor
    margins: list[float]
    masked: int


@torch.no_grad()
def greedy(model, prompt: dict, limit: int, steps: int) -> Answer:
    """`prompt`: what the model takes, ids or embeddings and perhaps images. Never ends early; ids >= `limit` (beyond the
    tokenizer) are not chosen; `masked`: where one led."""
    given = dict(prompt, past_key_values=DynamicCache(config=model.config.text_config), use_cache=True, logits_to_keep=1)
    chosen, margins, first, masked = [], [], None, 0
    for _ in range(steps):
        logits = model(**given).logits[0, -1].float()
        first = logits if first is None else first
        masked += int(logits.argmax() >= limit)
        best = logits[:limit].topk(2)
        chosen.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
        given = dict(input_ids=torch.tensor([chosen[-1:]]), past_key_values=given["past_key_values"], use_cache=True)
    return Answer(chosen, first, margins, masked)
