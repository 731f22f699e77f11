"""Makes the fixtures of Tests/TokenizationTests from the real Qwen vocabulary and Hugging Face `tokenizers`.

    pip download --no-deps --dest downloads dashscope      # carries resources/qwen.tiktoken
    python Tools/reference/tokenizer_fixtures.py --wheel downloads/dashscope-*.whl

It writes
  * downloads/qwen2/           tokenizer.json with the real 151,643 tokens and 151,387 merges, 50,000 more cases
  * downloads/qwen2-pairs/     the same with merges written as pairs
  * downloads/qwen2-files/     the same as vocab.json, merges.txt, added_tokens.json, tokenizer_config.json
  * Tests/Fixtures/tokenizer/  the committed fixtures: 5,400 strings with their real ids, and the part of the
                               vocabulary and merges that gives the same ids; smaller tokenizers for the rest

`swift test --filter TokenizationTests` uses downloads/ when it is there (or the folder that the environment
variable FASTVLM_TOKENIZER_DOWNLOADS names).
"""

import argparse
import base64
import hashlib
import json
import random
import re
import zipfile
from collections import Counter
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer
from tokenizer_strings import corpus, random_string, varied_strings

ROOT = Path(__file__).resolve().parents[2]
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"\p{N}| ", r"\p{N}{1,3}| ")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ADDED = [(151643, "<|endoftext|>", True), (151644, "<|im_start|>", True), (151645, "<|im_end|>", True),
         (151646, "<image>", True), (151647, "<tool_call>", False)]
BYTE_TO_CHAR = {}
for _b in range(256):
    _printable = 0x21 <= _b <= 0x7E or 0xA1 <= _b <= 0xAC or _b >= 0xAE
    BYTE_TO_CHAR[_b] = chr(_b) if _printable else None
_next = 0x100
for _b in range(256):
    if BYTE_TO_CHAR[_b] is None:
        BYTE_TO_CHAR[_b] = chr(_next)
        _next += 1
CHAR_TO_BYTE = {c: b for b, c in BYTE_TO_CHAR.items()}


def written(token):
    """Bytes as a byte-level vocabulary writes them."""
    return "".join(BYTE_TO_CHAR[b] for b in token)


def read_tiktoken(wheel):
    """Token bytes by rank."""
    with zipfile.ZipFile(wheel) as archive:
        lines = archive.read("dashscope/resources/qwen.tiktoken").splitlines()
    pairs = (line.split() for line in lines if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}


def derive_merges(ranks):
    """The merge that makes each token: BPE of the token with the ranks below its own stops at two parts."""
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) == 1:
            continue
        parts = [token[i:i + 1] for i in range(len(token))]
        while len(parts) > 2:
            best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], 1 << 30))
            if ranks.get(parts[best] + parts[best + 1], 1 << 30) >= rank:
                raise ValueError(f"no merge makes token {rank}")
            parts[best:best + 2] = [parts[best] + parts[best + 1]]
        merges.append((parts[0], parts[1]))
    return merges


def added_token(id, content, special, **flags):
    token = {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": special}
    return token | flags


def byte_level_json(vocab, merges, added, regex=QWEN2, normalizer={"type": "NFC"}):
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}]},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False,
                           "use_regex": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocab, "merges": merges},
    }


def qwen2_added():
    return [added_token(*entry) for entry in ADDED]


def loaded(document):
    return Tokenizer.from_str(json.dumps(document))


def with_regex(document, regex):
    split, byte_level = document["pre_tokenizer"]["pretokenizers"]
    pre_tokenizer = {"type": "Sequence", "pretokenizers": [split | {"pattern": {"Regex": regex}}, byte_level]}
    return document | {"pre_tokenizer": pre_tokenizer}


def encode_all(tokenizer, strings, as_text=False):
    tokenizer.encode_special_tokens = as_text
    result = [e.ids for e in tokenizer.encode_batch(strings, add_special_tokens=False)]
    tokenizer.encode_special_tokens = False
    return result


# MARK: reduced vocabulary

def add_neighbours(word, merges, pairs):
    """Adds all pairs of symbols that stand next to each other at some time while `word` (bytes) is merged."""
    parts = [word[i:i + 1] for i in range(len(word))]
    pairs.update(zip(parts, parts[1:]))
    while len(parts) > 1:
        rank, i = min((merges.get((parts[i], parts[i + 1]), 1 << 30), i) for i in range(len(parts) - 1))
        if rank == 1 << 30:
            break
        parts[i:i + 2] = [parts[i] + parts[i + 1]]
        pairs.update(zip(parts[max(i - 1, 0):i + 1], parts[max(i - 1, 0) + 1:i + 2]))


def reduced(ranks, merges, words):
    """All merges that are ever looked up for the words, those that lose against a better one too, in their old
    order, and the tokens they need with the ids of the full vocabulary."""
    order = {pair: i for i, pair in enumerate(merges)}
    pairs = set()
    for word in words:
        add_neighbours(word, order, pairs)
    kept = [pair for pair in merges if pair in pairs]
    tokens = {bytes([b]) for b in range(256)}
    for a, b in kept:
        tokens |= {a, b, a + b}
    vocab = {written(t): ranks[t] for t in sorted(tokens, key=ranks.get)}
    return vocab, [f"{written(a)} {written(b)}" for a, b in kept]


def words_of(tokenizer, strings):
    """Pre-tokenised, normalised pieces as bytes, with added tokens cut out and left in."""
    cut = re.compile("|".join(re.escape(content) for _, content, _ in ADDED))
    result = set()
    for string in strings:
        for text in {string, *cut.split(string)}:
            for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text)):
                result.add(bytes(CHAR_TO_BYTE[c] for c in piece))
    return result


# MARK: writing

class Writer:
    def __init__(self, folder):
        self.folder = folder
        self.entries = []

    def write(self, name, value, rows=False):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if rows:  # one case a line
            lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in value)
            data = f"[\n{lines}\n]\n".encode()
        else:
            data = (json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
        path.write_bytes(data)
        self.entries.append({"file": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data),
                             "generator": "Tools/reference/tokenizer_fixtures.py",
                             "tokenizers": tokenizers.__version__})
        print(f"{path}: {len(data):,} bytes")

    def finish(self):
        lines = ",\n".join(json.dumps(entry) for entry in self.entries)
        (self.folder / "MANIFEST.json").write_text(f"[\n{lines}\n]\n")


def write_downloads(folder, vocab, merges, rng, strings):
    document = byte_level_json(vocab, merges, qwen2_added())
    full = folder / "qwen2"
    full.mkdir(parents=True, exist_ok=True)
    (full / "tokenizer.json").write_text(json.dumps(document, ensure_ascii=False, indent=2))
    pairs = folder / "qwen2-pairs"
    pairs.mkdir(exist_ok=True)
    as_pairs = byte_level_json(vocab, [m.split(" ") for m in merges], qwen2_added())
    (pairs / "tokenizer.json").write_text(json.dumps(as_pairs, ensure_ascii=False))
    files = folder / "qwen2-files"
    files.mkdir(exist_ok=True)
    (files / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (files / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    write_apple_added(files)
    tokenizer = loaded(document)
    many = strings + [random_string(rng) for _ in range(50_000)]
    rows = [{"text": s, "ids": i} for s, i in zip(many, encode_all(tokenizer, many))]
    (full / "cases.json").write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
    print(f"{full}: the full vocabulary with {len(rows):,} cases")
    return tokenizer, document


def write_apple_added(folder):
    (folder / "added_tokens.json").write_text(json.dumps({c: i for i, c, s in ADDED if s}))
    decoder = {str(i): {k: v for k, v in added_token(i, c, s).items() if k != "id"} for i, c, s in ADDED if s}
    (folder / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}, indent=2))


def case_rows(tokenizer, strings, variant, as_text=False):
    rows = []
    for text, ids in zip(strings, encode_all(tokenizer, strings, as_text)):
        row = {"text": text, "ids": ids}
        if variant:
            row["variant"] = variant
        for key, skip in (("decoded", True), ("decodedAll", False)):
            decoded = tokenizer.decode(ids, skip_special_tokens=skip)
            if decoded != text:
                row[key] = decoded
        rows.append(row)
    return rows


def decode_rows(tokenizer, rng, ids, count, wild=()):
    rows = []
    for _ in range(count):
        chosen = [rng.choice(wild) if wild and rng.random() < 0.1 else rng.choice(ids)
                  for _ in range(rng.randrange(12))]
        rows.append({"ids": chosen, "decoded": tokenizer.decode(chosen, skip_special_tokens=True),
                     "decodedAll": tokenizer.decode(chosen, skip_special_tokens=False)})
    return rows


def qwen2_fixture(writer, ranks, merges, full_document, strings, rng):
    full = loaded(full_document)
    few = strings[::6]
    variants = {"llama3": LLAMA3, "gpt2": GPT2}
    tokenizers_by_variant = {name: loaded(with_regex(full_document, regex)) for name, regex in variants.items()}
    rows = case_rows(full, strings, None) + case_rows(full, few, "asText", as_text=True)
    words = words_of(full, strings)
    for name, tokenizer in tokenizers_by_variant.items():
        rows += case_rows(tokenizer, few, name)
        words |= words_of(tokenizer, few)
    vocab, kept = reduced(ranks, merges, words)
    document = byte_level_json(vocab, kept, qwen2_added())
    small = loaded(document)
    check = case_rows(small, strings, None) + case_rows(small, few, "asText", as_text=True)
    for name, regex in variants.items():
        check += case_rows(loaded(with_regex(document, regex)), few, name)
    # `tokenizers` gives added tokens the ids after its vocabulary, whatever the file says.
    ids = {small.token_to_id(content): id for id, content, _ in ADDED}
    for row in check:
        row["ids"] = [ids.get(i, i) for i in row["ids"]]
    different = [(a, b) for a, b in zip(check, rows) if a != b]
    assert check == rows, f"the reduced vocabulary encodes differently: {different[:3]}"
    print(f"reduced vocabulary: {len(vocab):,} tokens, {len(kept):,} merges, {len(rows):,} cases")
    writer.write("qwen2/tokenizer.json", document)
    writer.write("qwen2/cases.json", rows, rows=True)
    bytes_only = [vocab[BYTE_TO_CHAR[b]] for b in range(256)]
    every = sorted(vocab.values()) + [entry[0] for entry in ADDED]
    decoded = decode_rows(full, rng, bytes_only, 300, [151645, 151647])
    decoded += decode_rows(full, rng, every, 300, bytes_only + [151900, 152063, 4_000_000])
    writer.write("qwen2/decode.json", decoded, rows=True)


def added_fixture(writer, rng):
    """Flags of added tokens, on a vocabulary of single bytes."""
    vocab = {BYTE_TO_CHAR[b]: b for b in range(256)}
    tokens = [
        added_token(256, "<a>", True), added_token(257, "<a><b>", True), added_token(258, "[L]", True, lstrip=True),
        added_token(259, "[R]", True, rstrip=True), added_token(260, "[LR]", True, lstrip=True, rstrip=True),
        added_token(261, "word", False, single_word=True), added_token(262, "caf\u00e9", False, normalized=True),
        added_token(263, "o\u0308x", False, normalized=True), added_token(264, "o\u0308y", False),
        added_token(265, "wor", False), added_token(266, " sp", False, rstrip=True),
        added_token(267, "\u4f60\u597d", True), added_token(268, "both", True, single_word=True, lstrip=True),
        added_token(269, "caf", False, normalized=True),
    ]
    document = byte_level_json(vocab, [], tokens)
    pieces = [t["content"] for t in tokens] + [
        " ", "  ", "\n", "\u00a0", "\u3000", "a", "_", "1", "\u0301", "cafe\u0301", "\u00f6x", "\u00f6y", "-", "<a",
        "<", "[L", "\u4f60", "\u0e33", "\u200d", "s"]
    strings = ["".join(rng.choice(pieces) for _ in range(rng.randrange(1, 9))) for _ in range(1200)]
    writer.write("added/tokenizer.json", document)
    writer.write("added/cases.json", case_rows(loaded(document), strings, None), rows=True)


def llama_document(model, prefix, byte_fallback, extra=()):
    """As published for Llama 2 and Vicuna: `normalizer` (legacy) or `metaspace` puts the first mark."""
    legacy = prefix == "normalizer"
    added = [added_token(0, "<unk>", True), added_token(1, "<s>", True), added_token(2, "</s>", True), *extra]
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, replace]}
        if legacy else None,
        "pre_tokenizer": None if legacy else
        {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": prefix, "split": False},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                      {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": byte_fallback,
                  "ignore_merges": False, **model},
    }


def trained_llama_model(merge_count=1600, alphabet_size=600):
    """A SentencePiece-like vocabulary: special tokens, bytes, characters, merges trained on the sentences. Trained
    here because the trainer of `tokenizers` breaks ties differently from run to run."""
    text = "".join("\u2581" + sentence.replace(" ", "\u2581") for sentence in corpus())
    words = [list("\u2581" + piece) for piece in text.split("\u2581")]
    counts = Counter(c for word in words for c in word)
    alphabet = sorted(counts, key=lambda c: (-counts[c], c))[:alphabet_size]
    words = [[c for c in word if c in set(alphabet)] for word in words]
    merges = []
    for _ in range(merge_count):
        pairs = Counter(pair for word in words for pair in zip(word, word[1:]))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None:
            break
        merges.append(best)
        for word in words:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i:i + 2] = [best[0] + best[1]]
                i += 1
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + [a + b for a, b in merges] + alphabet
    # Canonically equivalent, yet different tokens.
    tokens += ["\u00e9", "e\u0301", "\u212b", "\u00c5"]
    vocab = {token: id for id, token in enumerate(dict.fromkeys(tokens))}
    return {"vocab": vocab, "merges": [list(pair) for pair in merges]}


def llama_fixture(writer, strings, rng):
    model = trained_llama_model()
    texts = strings[::9] + ["", " ", "  a", "\u2581", "\u2581a b", "<s>", "a</s>b", "</s> a", "<s> \u00e9 e\u0301"]
    variants = {
        "legacy": llama_document(model, "normalizer", True),
        "first": llama_document(model, "first", True),
        "always": llama_document(model, "always", True),
        "unknown": llama_document(model, "normalizer", False),
    }
    for name, document in variants.items():
        tokenizer = loaded(document)
        writer.write(f"llama-{name}/tokenizer.json", document if name == "legacy" else document | {
            "model": document["model"] | {"vocab": "as in llama-legacy", "merges": "as in llama-legacy"}})
        rows = case_rows(tokenizer, texts, None)
        writer.write(f"llama-{name}/cases.json", rows, rows=True)
        if name == "legacy":
            wild = list(range(3, 259)) + [1, 2, 9999]
            ids = sorted(model["vocab"].values())
            decoded = decode_rows(tokenizer, rng, ids, 300, wild) + decode_rows(tokenizer, rng, wild, 300)
            good = [3 + b for b in "\u4f60\U0001F600".encode()]
            decoded += [{"ids": good, "decoded": tokenizer.decode(good), "decodedAll": tokenizer.decode(good)}]
            writer.write(f"llama-{name}/decode.json", decoded, rows=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, required=True, help="the dashscope wheel")
    parser.add_argument("--downloads", type=Path, default=ROOT / "downloads")
    parser.add_argument("--fixtures", type=Path, default=ROOT / "Tests/Fixtures/tokenizer")
    parser.add_argument("--seed", type=int, default=20251)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)

    ranks = read_tiktoken(arguments.wheel)
    merges = derive_merges(ranks)
    print(f"{len(ranks):,} tokens, {len(merges):,} merges")
    assert (len(ranks), len(merges)) == (151_643, 151_387)
    vocab = {written(t): r for t, r in sorted(ranks.items(), key=lambda item: item[1])}
    strings = varied_strings(rng, list(ranks), [content for _, content, _ in ADDED])
    written_merges = [f"{written(a)} {written(b)}" for a, b in merges]
    tokenizer, document = write_downloads(arguments.downloads, vocab, written_merges, rng, strings)
    golden = tokenizer.encode("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n").ids
    assert golden == [151644, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151645, 198]

    writer = Writer(arguments.fixtures)
    qwen2_fixture(writer, ranks, merges, document, strings, rng)
    added_fixture(writer, rng)
    llama_fixture(writer, strings, rng)
    writer.finish()


if __name__ == "__main__":
    main()
