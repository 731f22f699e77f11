#!/usr/bin/env python3
"""Makes Tests/Fixtures/sentencepiece: small SentencePiece models, and what the `sentencepiece` package makes of texts.

Four models of the byte-pair kind as Llama and Vicuna have them (no normalisation, a dummy prefix, white space kept): with
byte fallback, with symbols of the user's and control symbols, without byte fallback, and with equal scores; and two that
are refused, of the unigram kind and with a normaliser.
"""

import argparse
import io
import json
import random
import shutil
from pathlib import Path

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as protocol

from fastvlm_reference import manifest
from tokenizer_strings import EMOJI, SENTENCES, SPACES, random_string

HERE = Path(__file__).resolve().parent
DEFAULT = HERE.parents[1] / "Tests" / "Fixtures" / "sentencepiece"
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, and "
    "polite answers to the user's questions. USER: \nWhat is this? ASSISTANT: A banana.</s>USER: Which colour? ASSISTANT:"
)
SYMBOLS = ["<image>", "<im_start>", "USER:", "▁▁▁", "🤖"]
WRITTEN = ["<s>", "</s>", "<unk>", "<0x0A>", "a<s>b</s> c", "▁a▁▁b", "<control>x", "USER: a  USER:b   c", "<image><image>", "🤖🤖 🤖",
           "<im_start>USER:<image>", "a<image", "   ", "▁▁▁▁", "USERUSER:"]


def texts() -> list[str]:
    rng = random.Random(20261)
    result = dict.fromkeys(["", " ", "  ", "a", " a", "a ", "\n", " \n ", VICUNA, *WRITTEN, *SPACES, *EMOJI])
    result |= dict.fromkeys(sentence[:60] for sentence in SENTENCES)
    result |= dict.fromkeys(["👨‍👩‍👧 family", "e\u0301 é", "\ufeffx", "\x00a", "\U0010ffff", "한국어 텍스트", "日本語 テスト", "a" * 200, " " * 90 + "x"])
    for _ in range(120):
        result["".join(rng.choice(SPACES + EMOJI + ["a", "the ", "USER:", "é", "你好"]) for _ in range(rng.randrange(2, 9)))] = None
    while len(result) < 420:
        result[random_string(rng)[:50]] = None
    # A lone surrogate is no text, and sentencepiece takes neither.
    return [text for text in result if not any(0xD800 <= ord(c) < 0xE000 for c in text)]


def train(**changes) -> bytes:
    corpus = [sentence for sentence in SENTENCES[:9]] + [VICUNA] * 8 + ["    indented    text    here", "12 345 6789"] * 4
    options = dict(
        sentence_iterator=iter(corpus), vocab_size=560, model_type="bpe", byte_fallback=True, split_digits=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
        character_coverage=0.995, max_sentence_length=100000, num_threads=1, minloglevel=2, hard_vocab_limit=False,
    ) | changes
    output = io.BytesIO()
    spm.SentencePieceTrainer.train(model_writer=output, **options)
    return output.getvalue()


def with_equal_scores(model: bytes) -> bytes:
    """As vocabularies that somebody added pieces to: several of one score, of which the leftmost is joined first."""
    parsed = protocol.ModelProto.FromString(model)
    for index, piece in enumerate(parsed.pieces):
        if piece.type == protocol.ModelProto.SentencePiece.NORMAL:
            piece.score = -float(index // 40)
    return parsed.SerializeToString()


def slimmed(model: bytes) -> bytes:
    """Without what the trainer was given, which has the machine's paths."""
    parsed = protocol.ModelProto.FromString(model)
    for field in ["input", "model_prefix", "self_test_sample_size", "accept_language"]:
        parsed.trainer_spec.ClearField(field)
    # It is refused for having one; 240 kB of it would say no more.
    parsed.normalizer_spec.precompiled_charsmap = parsed.normalizer_spec.precompiled_charsmap[:64]
    return parsed.SerializeToString()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=DEFAULT)
    root = parser.parse_args().output
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    plain = train()
    models = {
        "vicuna": plain,
        "symbols": train(user_defined_symbols=SYMBOLS, control_symbols=["<control>"]),
        "unknown": train(byte_fallback=False, vocab_size=300),
        "equal": with_equal_scores(plain),
        "no-prefix": train(add_dummy_prefix=False, vocab_size=400),
    }
    refused = {
        "unigram": train(model_type="unigram", byte_fallback=False, vocab_size=200),
        "normalizer": train(normalization_rule_name="nmt_nfkc", remove_extra_whitespaces=True, vocab_size=400),
    }
    strings, expected = texts(), {}
    for name, model in models.items():
        model = slimmed(model)
        (root / f"{name}.model").write_bytes(model)
        processor = spm.SentencePieceProcessor(model_proto=model)
        ids = [processor.encode(text) for text in strings]
        expected[name] = {"ids": ids, "texts": [processor.decode(each) for each in ids], "bos": processor.bos_id(),
                          "count": processor.get_piece_size()}
    for name, model in refused.items():
        (root / f"{name}.model").write_bytes(slimmed(model))
    document = {"strings": strings, "models": expected}
    (root / "expected.json").write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    manifest.write(root, "Tools/reference/sentencepiece_fixtures.py", {})
    for path in sorted(root.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
