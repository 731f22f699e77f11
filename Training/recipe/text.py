"""ChatML prompts as token ids, and the packing of several questions about one image into one sequence."""

import torch
from tokenizers import Tokenizer

SYSTEM = "You are a helpful assistant."


class Packer:
    """Samples -> padded sequences with their attention mask, positions, and the places to learn at.

    Only answers, their <|im_end|> included, are learnt. Turns of a *linked* sample form one conversation:
    each sees the earlier ones. Otherwise each turn is a segment of its own that sees the system prompt, the
    image and itself, and its positions go on from the image's, so it is exactly the conversation with that
    one question.
    """

    def __init__(self, tokenizer: Tokenizer, longest: int = 2048):
        self.tokenizer, self.longest = tokenizer, longest
        self.image = tokenizer.token_to_id("<image>")
        self.end = self.ids("<|im_end|>")
        self.known: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def cached(self, text: str) -> list[int]:
        if text not in self.known:
            if len(self.known) > 300_000:
                self.known.clear()
            self.known[text] = self.ids(text)
        return self.known[text]

    def row(self, turns: list[tuple[str, str]], images: int, linked: bool) -> tuple[list, list, list, list]:
        """ids, segment, position, learn of a sample, of at most `longest` tokens.

        `images`: visual tokens of its image, 0 without one.
        """
        ids, segment, position, learn = self.whole(turns, images, linked)
        return ids[: self.longest], segment[: self.longest], position[: self.longest], learn[: self.longest]

    def whole(self, turns: list[tuple[str, str]], images: int, linked: bool) -> tuple[list, list, list, list]:
        """The same, however long."""
        head = self.cached(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n")
        ids = head + [self.image] * images
        segment, position = [0] * len(ids), list(range(len(ids)))
        learn = [False] * len(ids)
        start = len(ids)
        for number, (question, answer) in enumerate(turns, 1):
            first = number == 1 or not linked
            lead = ("\n" if images else "") if first else "\n<|im_start|>user\n"
            asked = self.cached(f"{lead}{question}<|im_end|>\n<|im_start|>assistant\n")
            said = self.cached(answer) + self.end
            at = start if first else len(ids)
            ids = ids + asked + said
            segment += [1 if linked else number] * (len(asked) + len(said))
            position += range(at, at + len(asked) + len(said))
            learn += [False] * len(asked) + [True] * len(said)
        return ids, segment, position, learn

    def pack(self, rows: list[tuple[list, list, list, list]]) -> dict[str, torch.Tensor]:
        n, length = len(rows), max(len(row[0]) for row in rows)
        ids = torch.full((n, length), self.end[0])
        segment = torch.full((n, length), -1)
        position = torch.zeros(n, length, dtype=torch.long)
        learn = torch.zeros(n, length, dtype=torch.bool)
        for i, row in enumerate(rows):
            m = len(row[0])
            ids[i, :m], segment[i, :m] = torch.tensor(row[0]), torch.tensor(row[1])
            position[i, :m], learn[i, :m] = torch.tensor(row[2]), torch.tensor(row[3])
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        same = (segment[:, :, None] == segment[:, None, :]) | (segment[:, None, :] == 0)
        # A position's answer is the next id, so what is learnt at i is whether i + 1 is part of an answer.
        at = torch.zeros_like(learn)
        at[:, :-1] = learn[:, 1:]
        aims = torch.zeros_like(ids)
        aims[:, :-1] = ids[:, 1:]
        mask = torch.zeros(n, 1, length, length).masked_fill_(~(same & causal)[:, None], -1e9)
        return {"ids": ids, "mask": mask, "position": position, "learn": at, "aims": aims, "segment": segment}
