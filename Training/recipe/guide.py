"""Shows one head of the decoder where to look when it is to count.

Attention is a mean, so to count with it takes something constant to compare with: a head that gives every thing of the
kind the same weight, spread over the cells around its centre, and the sequence's first token `REST` times as much, knows
n / (n + REST). A small decoder does not find that by itself in the time that a CPU allows: on its own it counted 57 % of
groups right where the visual tokens, added up by the heads of recipe/naming.py, did 82 %.
"""

import torch
from synth import questions, world
from torch import nn
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

from recipe.labels import NAMES, crowd

REST, TOGETHER = 4.0, 10.0
PLURALS = {questions.many(name): name for name in range(len(world.NAMES))}


def counted(turns: list[tuple[str, str]]) -> list[int]:
    """For every turn the kind of thing that it asks the number of, or -1."""
    found = []
    for question, answer in turns:
        asked = [plural for plural in PLURALS if f" {plural}" in question] if answer.isdigit() else []
        found.append(PLURALS[max(asked, key=len)] if asked else -1)
    return found


def places(learn: list[bool]) -> list[int]:
    """Where in a row each answer is begun: the last token of the question's prompt."""
    return [i - 1 for i in range(1, len(learn)) if learn[i] and not learn[i - 1]]


def rotated(x, cosine, sine):
    return apply_rotary_pos_emb(x, x, cosine, sine, unsqueeze_dim=0)[0][0]


class Guide:
    """The guided head is the first of the middle layer: the layers before it have brought the question along."""

    def __init__(self, decoder: nn.Module):
        layers = decoder.base_model.layers
        self.attention = layers[len(layers) // 2].self_attn
        self.seen = None
        self.attention.register_forward_pre_hook(self.note, with_kwargs=True)

    def note(self, _, inputs, named) -> None:
        if torch.is_grad_enabled():
            self.seen = inputs[0] if inputs else named["hidden_states"], named["position_embeddings"]

    def loss(self, batch: dict, image_token: int) -> torch.Tensor:
        """Mean divergence in nats of what the head looks at from what it should, over the questions for a number.

        batch["counted"]: [M, 3], the row, the place and the kind of each of these questions.
        """
        (hidden, (cosine, sine)), self.seen = self.seen, None
        if not len(batch["counted"]):
            return hidden.sum() * 0
        row, place, kind = batch["counted"].unbind(1)
        attention, width = self.attention, self.attention.head_dim
        query, key = (
            nn.functional.linear(x, part.weight[:width], None if part.bias is None else part.bias[:width])
            for x, part in ((hidden[row, place], attention.q_proj), (hidden, attention.k_proj))
        )
        query = rotated(query, cosine[row, place], sine[row, place])
        scores = torch.einsum("md,mld->ml", query, rotated(key, cosine, sine)[row]) * attention.scaling
        scores = scores + batch["mask"][row, 0, place]
        image = batch["ids"] == image_token
        side = round(int(image[0].sum()) ** 0.5)
        there = crowd(batch, torch.Size([len(image), side, side, NAMES])).flatten(1, 2)
        aim = torch.zeros_like(scores)
        aim[image[row]] = there[row].gather(2, kind[:, None, None].expand(-1, side * side, 1)).flatten()
        aim[:, 0] = REST
        aim = aim / aim.sum(1, keepdim=True)
        looked = scores.log_softmax(1)
        spread = nn.functional.kl_div(looked, aim, reduction="batchmean")
        # How much weight the things have together is what tells their number, so it counts more than where.
        both = torch.stack([looked.masked_fill(~image[row], -1e9).logsumexp(1), looked[:, 0]], 1)
        parts = torch.stack([1 - aim[:, 0], aim[:, 0]], 1)
        return spread + TOGETHER * nn.functional.kl_div(both, parts, reduction="batchmean")
