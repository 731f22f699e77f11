"""Builds tokenizer.json: Qwen2's byte-level BPE with a vocabulary of whole words.

The merges are not learnt but written down: every word of the questions and answers is built letter by letter
from its start (" d" + "o", " do" + "g"), so it becomes one token, and anything else falls into a known
beginning plus single bytes. Words that stand behind a space are many, words that begin a text ("What", "Yes",
"Red") few, so a word to be read, which stands alone, is nearly always spelled, one token a letter: that is
what lets the decoder read words it has never seen.
"""

import argparse
import json
import pathlib
import re

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from synth import documents, questions
from synth.pointing import PLACES

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
SYSTEM = "You are a helpful assistant."
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", *PLACES]


def build(texts: list[str] | None = None) -> Tokenizer:
    found = set()
    for text in [
        *(texts or questions.every_text() + documents.every_text()),
        SYSTEM,
        "system",
        "user",
        "assistant",
    ]:
        found.update(re.findall(r" ?[A-Za-z]+", text))
    spaced = sorted({w.replace(" ", "\u0120") for w in found if w.startswith(" ")})
    capital = sorted(w for w in found if w[0].isupper())
    small = sorted(w for w in found if w[0].islower() and w in ("system", "user", "assistant"))
    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    for group in (spaced, capital, small):  # in this order, no word's merges disturb an earlier group's
        for length in range(2, max(map(len, group)) + 1):
            for word in group:
                if len(word) >= length and word[:length] not in vocab:
                    merges.append((word[: length - 1], word[length - 1]))
                    vocab[word[:length]] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFC()
    bytes_only = {"add_prefix_space": False, "use_regex": False}
    split = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(**bytes_only)])
    tokenizer.decoder = decoders.ByteLevel(trim_offsets=False, **bytes_only)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False, **bytes_only)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    for word in spaced + capital + small:
        text = word.replace("\u0120", " ")
        if len(tokenizer.encode(text).ids) != 1:
            raise ValueError(f"{text!r} is not one token: {tokenizer.encode(text).tokens}")
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    path = parser.parse_args().out
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer = build()
    written = json.loads(tokenizer.to_str())
    written["decoder"] |= {"add_prefix_space": False, "trim_offsets": False, "use_regex": False}  # as Qwen2's
    path.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(tokenizer.get_vocab_size(), tokenizer.encode("How many dogs are there? Dogma phobic 42").tokens)


if __name__ == "__main__":
    main()
