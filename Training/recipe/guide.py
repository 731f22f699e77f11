"""Shows two heads of the decoder where to look when it is to point at the next thing (synth/pointing.py).

Which thing comes next is in the visual tokens, but the loss of the answers says only which place was right. The guide
says where it could have been seen: in the cells around the thing's centre, or, when all have been shown, nowhere in the
image (the sequence's first token). And what it looks at must know where it is, of which tokens carry little by
themselves: a throw-away head asks every visual token of the guided layer for its row and column.
"""

import torch
from synth import pointing
from torch import nn
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

from recipe.labels import crowd


def starts(learn: list[bool]) -> list[int]:
    """Where in a row each answer is begun: the last token of the question's prompt."""
    return [i - 1 for i in range(1, len(learn)) if learn[i] and not learn[i - 1]]


def pointing_steps(
    scene: dict, turns: list[tuple[str, str]], learn: list[bool]
) -> list[tuple[int, float, float, bool]]:
    """For every step of every answer that points: its place in the row, where to look, x and y, or -1 for nowhere,
    and whether what is said then is right.

    turns: with answers that do not point yet; learn: the flags of their packed row, which may be cut short. A thing
    is looked at in two steps, for its row and for its column.
    """
    found = []
    for (question, answer), start in zip(turns, starts(learn)):
        kind = pointing.counted(question, answer)
        if kind is not None:
            looks = pointing.shown(scene, kind)
            ways = [*((*look.at, look.right) for look in looks for _ in ("row", "column")), (-1.0, -1.0, True)]
            found += [(start + i, *way) for i, way in enumerate(ways) if start + i < len(learn)]
    return found


def rotated(x, cosine, sine):
    return apply_rotary_pos_emb(x, x, cosine, sine, unsqueeze_dim=0)[0][0]


class Guide(nn.Module):
    """Two heads are guided, the first ones of the middle layer and of the last.

    The layers before the middle one have brought the question along, and the last one can correct what it found.
    """

    def __init__(self, decoder: nn.Module):
        super().__init__()
        layers = decoder.base_model.layers
        guided = sorted({len(layers) // 2, len(layers) - 1})
        self.attentions = [layers[i].self_attn for i in guided]  # in a list, as they are not parts of this module
        self.where = nn.Linear(decoder.config.hidden_size, 2 * pointing.GRID)
        self.seen: list[tuple] = []
        for attention in self.attentions:
            attention.register_forward_pre_hook(self.note, with_kwargs=True)

    def note(self, _, inputs, named) -> None:
        if torch.is_grad_enabled():
            hidden = inputs[0] if inputs else named["hidden_states"]
            self.seen.append((hidden, named["position_embeddings"]))

    def forward(self, batch: dict, image_token: int) -> torch.Tensor:
        """Mean divergence in nats of what the heads look at from what they should, over all steps that point, and of
        where the visual tokens of the middle layer say they are.

        batch["pointing"]: [M, 4], the row, the place in it, x and y of each of these steps.
        """
        seen, self.seen = self.seen[-len(self.attentions) :], []
        hidden = seen[0][0]
        loss = self.placed(hidden[batch["ids"] == image_token].unflatten(0, (len(hidden), -1)))
        if len(batch["pointing"]):
            aims = self.aims(batch, image_token)
            for attention, noted in zip(self.attentions, seen, strict=True):
                looked = self.looked(attention, *noted, batch)
                loss = loss + nn.functional.kl_div(looked, aims.to(looked), reduction="batchmean")
        return loss

    @staticmethod
    def looked(attention: nn.Module, hidden, turns, batch: dict) -> torch.Tensor:
        """Logarithms of what the first head of a layer looks at in each step, [M, L]."""
        row, place = batch["pointing"][:, :2].long().unbind(1)
        width = attention.head_dim
        query, key = (
            nn.functional.linear(x, part.weight[:width], None if part.bias is None else part.bias[:width])
            for x, part in ((hidden[row, place], attention.q_proj), (hidden, attention.k_proj))
        )
        query = rotated(query, *(turn[row, place] for turn in turns))
        scores = torch.einsum("md,mld->ml", query, rotated(key, *turns)[row]) * attention.scaling
        return (scores + batch["mask"][row, 0, place]).log_softmax(1)

    def placed(self, tokens: torch.Tensor) -> torch.Tensor:
        """tokens: [N, T, D] of square maps. A cell that covers several places may say any of them."""
        side = round(tokens.shape[1] ** 0.5)
        told = self.where(tokens).unflatten(2, (2, pointing.GRID)).log_softmax(3)
        middle = (torch.arange(pointing.GRID, device=tokens.device) + 0.5) * side / pointing.GRID
        within = torch.nn.functional.one_hot(middle.long(), side).t().to(told)  # [side, GRID]
        within = within / within.sum(1, keepdim=True).clamp_min(1)
        cell = torch.arange(side * side, device=tokens.device)
        aims = torch.stack([within[cell // side], within[cell % side]], 1)
        return nn.functional.kl_div(told, aims.expand_as(told), reduction="sum") / told[..., 0].numel()

    @staticmethod
    def aims(batch: dict, image_token: int) -> torch.Tensor:
        """What the head should look at in each step, [M, L]."""
        row, at = batch["pointing"][:, 0].long(), batch["pointing"][:, None, 2:]
        image = (batch["ids"] == image_token)[row]
        side = round(int(image[0].sum()) ** 0.5)
        there = at[..., 0] >= 0
        thing = {"things": there.long() - 1, "things_at": at}
        found = at.new_zeros(image.shape)
        found[image] = crowd(thing, torch.Size([len(row), side, side, 1])).flatten()
        found[:, 0] = (~there[:, 0]).to(found)
        return found
