"""What a visual token should say about its cell of a synthetic scene, whose content the generator knows."""

import torch
import torch.nn.functional as F
from synth import questions, world
from tokenizers import Tokenizer
from torch import nn

from recipe.labels import crowd, entropy, targets


class Naming(nn.Module):
    """A direct way for the projector, and the encoder behind it, to learn: a projected visual token should look like
    the decoder's own word for what lies there. Without it the decoder must discover by chance that looking at the
    image pays, which takes far longer.

    Two throw-away heads ask for what one word cannot say: how many things have their centre in the cell (with the
    kinds that the cells name they are to add up to how many there are of each), and which letter stands where in it.
    """

    def __init__(self, tokenizer: Tokenizer, width: int):
        super().__init__()
        self.centres = nn.Linear(width, 1)
        self.spell = nn.Sequential(nn.Linear(width + 2, 256), nn.GELU(), nn.Linear(256, len(world.SIGNS)))
        nn.init.constant_(self.centres.bias, -3.0)  # most cells have none
        self.targets = targets

        def rows(texts):
            return torch.tensor([tokenizer.encode(t, add_special_tokens=False).ids[0] for t in texts])

        self.tables = {
            "things": rows(" " + questions.noun(i) for i in range(len(world.NAMES))),
            "signs": rows(world.SIGNS),
            "colors": rows(" " + c for c in world.COLOUR_NAMES),
            "ground": rows(c.capitalize() for c in world.COLOUR_NAMES),
        }

    def forward(self, spoken, table, want) -> dict:
        """spoken: [N, T, D] projected tokens of square maps; table: the decoder's embeddings. Returns losses."""
        n, t, width = spoken.shape
        spoken = F.rms_norm(spoken, (width,))
        side = round(t**0.5)
        losses = {}
        for name, at in (("things", "things_at"), ("signs", "signs_at"), ("colors", "things_at")):
            image, slot = (want[name] >= 0).nonzero(as_tuple=True)
            places = want[at][image, slot] * side
            cell = places.long().clamp(0, side - 1)
            told = spoken[image, cell[:, 1] * side + cell[:, 0]]
            aims = want[name][image, slot]
            losses[name] = entropy(told @ table[self.tables[name]].t(), aims)
            if name == "signs":
                losses["spell"] = entropy(self.spell(torch.cat([told, places - cell - 0.5], 1)), aims)
        losses["ground"] = 0.3 * entropy(spoken.mean(1) @ table[self.tables["ground"]].t(), want["ground"])
        return losses | self.crowded(spoken, table, want)

    def crowded(self, spoken, table, want) -> dict:
        """Losses of the centres in every cell, and of their sum over the image for every kind."""
        n, t, _ = spoken.shape
        side = round(t**0.5)
        found = F.softplus(self.centres(spoken)).clamp_min(1e-6)
        alike = want | {"things": want["things"].clamp_max(0)}  # whatever they are
        there = crowd(alike, torch.Size([n, side, side, 1])).view_as(found)
        cells = F.poisson_nll_loss(found, there, log_input=False, reduction="sum")
        kinds = (spoken @ table[self.tables["things"]].t()).softmax(-1)
        sums, shown = (found * kinds).sum(1), want["count"] > 0
        off = ((sums - want["count"]).square() / (1 + want["count"]).sqrt()).sum()
        return {
            "centres": cells / there.sum().clamp_min(n),
            "sums": 2 * off / shown.sum().clamp_min(n),
        }
