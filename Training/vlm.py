"""Projector and Qwen2 decoder, and the packing of several questions about one image into one sequence."""

import random

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn
from transformers import Qwen2Config, Qwen2Model

import questions
import vocabulary
from make_tokenizer import SYSTEM
from model import FEATURES, GRID

TOKENS = GRID * GRID  # visual tokens per image
DECODER = {
    "hidden_size": 192,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "num_key_value_heads": 1,
    "intermediate_size": 512,
    "rope_theta": 10000.0,
    "max_position_embeddings": 2048,
}


def text_config(tokenizer: Tokenizer) -> Qwen2Config:
    settings = {k: v for k, v in DECODER.items() if k != "rope_theta"}
    return Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(),
        tie_word_embeddings=True,
        hidden_act="silu",
        rms_norm_eps=1e-6,
        use_sliding_window=False,
        rope_parameters={"rope_type": "default", "rope_theta": DECODER["rope_theta"]},
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
        **settings,
    )


class Projector(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.linear_1 = nn.Linear(FEATURES, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x):
        return self.linear_2(F.gelu(self.linear_1(x)))


class Prompts:
    """Token ids of the ChatML prompt; the text on each side of the image is tokenised on its own."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.known: dict[tuple[str, str], tuple[list[int], int]] = {}
        self.head = self.ids(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n")

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def tail(self, question: str, answer: str) -> tuple[list[int], int]:
        """Ids behind the image, and where the answer starts in them."""
        if (question, answer) not in self.known:
            asked = self.ids(f"\n{question}<|im_end|>\n<|im_start|>assistant\n")
            if len(self.known) > 200_000:
                self.known.clear()
            self.known[question, answer] = asked + self.ids(answer + "<|im_end|>"), len(asked)
        return self.known[question, answer]

    def pack(self, asked: list[list[tuple[str, str]]]) -> dict[str, torch.Tensor]:
        """One row per image: head, image, then each question with its answer as a segment of its own.

        A segment sees the head, the image and itself, and its positions go on from the image's, so each is
        exactly the conversation with that one question.
        """
        start = len(self.head) + TOKENS
        rows = [[self.tail(*pair) for pair in pairs] for pairs in asked]
        length = start + max(sum(len(ids) for ids, _ in row) for row in rows)
        n = len(rows)
        ids = torch.zeros(n, length, dtype=torch.long)
        segment = torch.full((n, length), -1)
        position = torch.zeros(n, length, dtype=torch.long)
        learn = torch.zeros(n, length, dtype=torch.bool)  # positions whose next token is part of an answer
        ids[:, : len(self.head)] = torch.tensor(self.head)
        segment[:, :start] = 0
        position[:, :start] = torch.arange(start)
        for i, row in enumerate(rows):
            at = start
            for number, (tokens, answer) in enumerate(row, 1):
                end = at + len(tokens)
                ids[i, at:end] = torch.tensor(tokens)
                segment[i, at:end] = number
                position[i, at:end] = torch.arange(start, start + len(tokens))
                learn[i, at + answer - 1 : end - 1] = True
                at = end
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        same = (segment[:, :, None] == segment[:, None, :]) | (segment[:, None, :] == 0)
        return {
            "ids": ids,
            "position": position,
            "mask": (same & causal)[:, None],
            "learn": learn,
            "segment": segment,
        }


class Language(nn.Module):
    """Projector and decoder; the encoder's features are [N, 16, FEATURES]."""

    def __init__(self, tokenizer: Tokenizer):
        super().__init__()
        config = text_config(tokenizer)
        self.projector = Projector(config.hidden_size)
        self.decoder = Qwen2Model._from_config(config, attn_implementation="sdpa")

    def forward(self, features, packed):
        """Logits of the positions to learn [P, vocabulary] and their targets [P]."""
        head = (packed["segment"][0] == 0).sum().item() - TOKENS
        embedded = self.decoder.embed_tokens(packed["ids"])
        embedded = torch.cat([embedded[:, :head], self.projector(features), embedded[:, head + TOKENS :]], 1)
        bias = torch.zeros(packed["mask"].shape).masked_fill_(~packed["mask"], -1e9)
        hidden = self.decoder(
            inputs_embeds=embedded, attention_mask=bias, position_ids=packed["position"], use_cache=False
        ).last_hidden_state
        logits = hidden[packed["learn"]] @ self.decoder.embed_tokens.weight.t()
        return logits, packed["ids"][:, 1:][packed["learn"][:, :-1]]


class Words:
    """Which embedding rows name what the generator knows: a second, direct way for the projector to learn.

    A projected visual token should look like the decoder's own word for what is there. Without it the decoder
    must discover by chance that looking at the image pays, which takes far longer.
    """

    def __init__(self, tokenizer: Tokenizer):
        def rows(texts):
            return torch.tensor([tokenizer.encode(t).ids[0] for t in texts])

        self.kinds = rows(" " + kind[0] for kind in vocabulary.KINDS)
        self.colours = rows(questions.sentence(c) for c in vocabulary.COLOURS)
        self.letters = rows(vocabulary.LETTERS)

    def loss(self, language: "Language", features, want: dict[str, torch.Tensor]):
        """`want` as pretrain_encoder.targets makes it."""
        spoken = F.rms_norm(language.projector(features), (language.projector.linear_2.out_features,))
        table = language.decoder.embed_tokens.weight
        total = spoken.sum() * 0
        things = want["count"].sum(1) > 0
        if things.any():
            present = (want["count"] > 0).float()[things]
            scores = (spoken[things] @ table[self.kinds].t()).amax(1)
            total = total + F.cross_entropy(scores, present / present.sum(1, keepdim=True))
        if (want["color"] >= 0).any():
            scores = spoken.mean(1) @ table[self.colours].t()
            total = total + 0.3 * F.cross_entropy(scores, want["color"], ignore_index=-1)
        written, slot = (want["spot"] >= 0).nonzero(as_tuple=True)
        if len(written):
            cell = ((want["places"][written, slot] + 1) * (GRID / 2)).long().clamp(0, GRID - 1)
            scores = spoken[written, cell[:, 1] * GRID + cell[:, 0]] @ table[self.letters].t()
            total = total + 0.5 * F.cross_entropy(scores, want["spot"][written, slot])
        return total


@torch.no_grad()
def exact(language: Language, prompts: Prompts, features, asked) -> list[list[bool]]:
    """Whether greedy decoding would give exactly the answer: every next token is the likeliest one."""
    packed = prompts.pack(asked)
    logits, want = language(features, packed)
    right = logits.argmax(-1) == want
    row, column = packed["learn"].nonzero(as_tuple=True)
    part = packed["segment"][row, column]
    return [
        [bool(right[(row == i) & (part == number)].all()) for number in range(1, len(pairs) + 1)]
        for i, pairs in enumerate(asked)
    ]


def by_task(
    language: Language,
    prompts: Prompts,
    features_of,
    scenes: list[dict],
    held: bool,
    seed: int = 5,
    report=None,
) -> dict[str, list[bool]]:
    """One question of every possible task for every scene. `features_of(list of indices)` gives features."""
    language.eval()
    rng = random.Random(seed)
    hits: dict[str, list[bool]] = {task: [] for task in questions.TASKS}
    for start in range(0, len(scenes), 32):
        chosen = list(range(start, min(start + 32, len(scenes))))
        tasks = [questions.possible(scenes[i]) for i in chosen]
        asked = [[questions.ask(scenes[i], t, rng, held) for t in ts] for i, ts in zip(chosen, tasks)]
        found = exact(language, prompts, features_of(chosen), asked)
        for i, ts, pairs, rights in zip(chosen, tasks, asked, found):
            for t, pair, right in zip(ts, pairs, rights):
                hits[t].append(right)
                if report is not None:
                    report.append(
                        {"index": i, "task": t, "question": pair[0], "answer": pair[1], "right": right}
                    )
    language.train()
    return hits
