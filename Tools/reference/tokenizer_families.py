"""Makes Tests/Fixtures/tokenizer/families.json: small tokenizers with the exact structure of published families, and
what Hugging Face `tokenizers` makes of a few hundred strings and of whole conversations.

    python Tools/reference/tokenizer_families.py

The vocabularies are trained here on a few sentences without any splitting, so that their merges reach across words,
numbers and punctuation: a text cut elsewhere gets other ids.
"""

import argparse
import copy
import json
import random
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizer_fixtures import BYTE_TO_CHAR, GPT2, LLAMA3, QWEN2, added_token
from tokenizer_strings import SENTENCES, random_string

ROOT = Path(__file__).resolve().parents[2]
LEAD = r"[^\r\n\p{L}\p{N}]?"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
TEKKEN = f"{LEAD}{UPPER}*{LOWER}+|{LEAD}{UPPER}+{LOWER}*|\\p{{N}}{TAIL}"
O200K = f"{LEAD}{UPPER}*{LOWER}+{SUFFIX}|{LEAD}{UPPER}+{LOWER}*{SUFFIX}|\\p{{N}}{{1,3}}{TAIL}"
CASED = ["camelCase", "HTTPServer", "ABC", "aBC", "AbCd", "McDonald's", "IT'S", "we'Ll", "ÉCOLE", "école", "Ǆa", "ʰA", "你好A", "a你B",
         "e\u0301A", "\u0301\u0301", "A\u0301b", "!\u0301a", "/path/To", "a/b//\n/", "//", "!/\n\r/x", "ﬀ", "Ⅳx", "ªº", "A1b2C3", "ß", "İi"]
DIGITS = ["1234567", "3.14", "a1b22c333", "٣٤ 5", "½¾", "Ⅻ", "一二三", "\U00011DE0\U00016FF4", "12 345", " 7", "x²", "\U0001D7D8"]


MARKED = ["a<|end|> \n b", "<|assistant|>  x", "<s> a", "a</s> b", "x     y", "  a   b    c", "<|im_end|>9 9", "\u2581a \u2581"]


def strings(rng):
    result = dict.fromkeys(["", " ", "  ", "\n", *CASED, *DIGITS, *MARKED])
    result |= dict.fromkeys(s[:40] for s in SENTENCES)
    for _ in range(25):
        result["".join(rng.choice(CASED + DIGITS + [" ", "\n", "-", "'"]) for _ in range(rng.randrange(2, 6)))] = None
    while len(result) < 150:
        result[random_string(rng)[:40]] = None
    return list(result)


def trained_bytes():
    """Byte-level model whose merges cross every boundary."""
    trainer = trainers.BpeTrainer(vocab_size=256 + 500, show_progress=False, max_token_length=8,
                                  initial_alphabet=list(BYTE_TO_CHAR.values()))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    text = SENTENCES + CASED * 3 + DIGITS * 3 + [f"{a} {b}" for a in CASED for b in DIGITS]
    tokenizer.train_from_iterator(text, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    # The last merges go, their tokens stay: only `ignore_merges` reaches those.
    return model | {"merges": model["merges"][:420]}


def trained_scalars():
    """SentencePiece-like model with byte fallback."""
    alphabet = sorted(set("".join(SENTENCES[:8])) - {" "})
    trainer = trainers.BpeTrainer(vocab_size=500, show_progress=False, max_token_length=8, initial_alphabet=alphabet,
                                  limit_alphabet=len(alphabet) + 1,
                                  special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)])
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.train_from_iterator([("\u2581" + s.replace(" ", "\u2581")) for s in SENTENCES[:8]]
                                  + ["\u2581USER:", "\u2581ASSISTANT:", "USER:", "[INST]", "\u2581[INST]"] * 20, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model | {"fuse_unk": True, "byte_fallback": True, "unk_token": "<unk>"}


def byte_level(prefix=False, regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def begin(token, id):
    return {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}}}


def document(pre_tokenizer, added, normalizer=None, post_processor=None, decoder=None):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": post_processor or byte_level(),
            "decoder": decoder or byte_level()}


def families(byte_model, scalar_model):
    top = len(byte_model["vocab"])

    def special(*names, **flags):
        return [added_token(top + i, n, True, **flags) for i, n in enumerate(names)]

    chatml = special("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>")
    llama3 = special("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<image>")
    sentencepiece = [added_token(0, "<unk>", True), added_token(1, "<s>", True), added_token(2, "</s>", True),
                     added_token(len(scalar_model["vocab"]), "<image>", True)]
    phi3 = sentencepiece[:3] + [
        added_token(len(scalar_model["vocab"]) + i, n, True, rstrip=True)
        for i, n in enumerate(["<|endoftext|>", "<|assistant|>", "<|end|>"])]
    legacy = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}
    pieces = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    spaces = [added_token(top + i, " " * (5 - i), False, normalized=True) for i in range(4)]
    lacking = dict(byte_model)
    gone = [BYTE_TO_CHAR[b] for b in (0x00, 0x07, 0x7F, 0xC0, 0xCC, 0xE2, 0xF0, 0xFF)]
    lacking["vocab"] = {t: i for t, i in byte_model["vocab"].items() if not any(c in t for c in gone)}
    lacking["merges"] = [m for m in byte_model["merges"] if not any(c in "".join(m) for c in gone)]
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}
    entries = [
        ("qwen2", byte_model, document(sequence(split(QWEN2), byte_level()), chatml, {"type": "NFC"})),
        ("llama3", dict(byte_model, ignore_merges=True), document(
            sequence(split(LLAMA3), byte_level()), llama3,
            post_processor={"type": "Sequence", "processors": [byte_level(), begin("<|begin_of_text|>", top)]})),
        ("cl100k", byte_model, document(sequence(split(LLAMA3, "Removed", True), byte_level()), chatml)),
        ("gpt2", byte_model, document(byte_level(regex=True), special("<|endoftext|>"))),
        ("gpt2-prefix", byte_model, document(byte_level(prefix=True, regex=True), special("<|endoftext|>"))),
        ("phi2", byte_model, document(byte_level(regex=True), spaces)),
        ("smollm2", lacking, document(
            sequence({"type": "Digits", "individual_digits": True}, byte_level(regex=True)), chatml)),
        ("digit-runs", byte_model, document(
            sequence({"type": "Digits", "individual_digits": False}, byte_level(prefix=True, regex=True)), chatml)),
        ("tekken", byte_model, document(sequence(split(TEKKEN), byte_level()), special("<s>", "</s>", "[INST]"))),
        ("o200k", byte_model, document(sequence(split(O200K), byte_level()), special("<|endoftext|>", "<|end|>"))),
        ("bare", byte_model, document(byte_level(), [])),
        ("llama2", scalar_model, document(None, sentencepiece, legacy, begin("<s>", 1), pieces)),
        ("mistral-v3", scalar_model, document(metaspace, sentencepiece, None, begin("<s>", 1), pieces)),
        ("phi3", scalar_model, document(None, phi3, legacy, begin("<s>", 1), pieces)),
    ]
    return entries, lacking


def conversations(name):
    """Whole prompts with the templates of a family, and whether the text holds its first token."""
    first, answer, second = "<image>\nWhat is it?", "A cat - one, 12 years.", "Sure?"
    vicuna = "Be kind. USER: %s ASSISTANT:"
    if name in ("mistral-v3", "llama2"):
        yield "vicuna_v1", vicuna % first
        yield "vicuna_v1", vicuna % first + f" {answer}</s>USER: {second} ASSISTANT:"
        yield "vicuna_v1", vicuna % first + f" {answer}</s>USER: {second} ASSISTANT: No.</s>USER: <image>\nNo? ASSISTANT:"
        yield "llava_1_5", vicuna % first + f" {answer} USER: {second} ASSISTANT:"
        system = "[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n"
        yield "llama_2", f"<s>{system}{first} [/INST]"
        yield "llama_2", f"<s>{system}{first} [/INST] {answer} </s><s>[INST] {second} [/INST]"
    if name in ("qwen2", "smollm2"):
        turn = "<|im_start|>%s\n%s<|im_end|>\n"
        system = turn % ("system", "Be kind.")
        head = "<|im_start|>assistant\n"
        yield "chatml", system + turn % ("user", first) + head
        yield "chatml", system + turn % ("user", first) + turn % ("assistant", answer) + turn % ("user", second) + head
    if name == "llama3":
        turn = "<|start_header_id|>%s<|end_header_id|>\n\n%s<|eot_id|>"
        head = "<|start_header_id|>assistant<|end_header_id|>\n\n"
        text = "<|begin_of_text|>" + turn % ("system", "Be kind.") + turn % ("user", first)
        yield "llama_3", text + head
        yield "llama_3", text + turn % ("assistant", answer) + turn % ("user", second) + head


def written(value):
    """As text: Swift's dictionaries would make one of keys that are canonically equivalent."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "Tests/Fixtures/tokenizer/families.json")
    parser.add_argument("--seed", type=int, default=20252)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    texts = strings(rng)
    byte_model, scalar_model = trained_bytes(), trained_scalars()
    rows = []
    entries, lacking = families(byte_model, scalar_model)
    for name, model, form in entries:
        tokenizer = Tokenizer.from_str(json.dumps(form | {"model": model}))
        # `tokenizers` numbers added tokens after its vocabulary, whatever the file says.
        ids = {tokenizer.token_to_id(t["content"]): t["id"] for t in form["added_tokens"]}

        def encoded(text, begins=False):
            return [ids.get(i, i) for i in tokenizer.encode(text, add_special_tokens=begins).ids]

        talks = [{"template": t, "text": c, "ids": encoded(c, begins=not c.startswith("<s>") and t != "llama_3")}
                 for t, c in conversations(name)]
        kind = "scalars" if model is scalar_model else "lacking" if model is lacking else "bytes"
        rows.append({"name": name, "model": kind, "ignoresMerges": model["ignore_merges"],
                     "document": written(form), "ids": [encoded(t) for t in texts], "conversations": talks})
    result = {"generator": "Tools/reference/tokenizer_families.py", "tokenizers": tokenizers.__version__,
              "models": {"bytes": written(byte_model), "lacking": written(lacking), "scalars": written(scalar_model)},
              "strings": texts, "families": rows}
    data = written(result) + "\n"
    arguments.output.write_text(data)
    print(arguments.output, f"{len(data.encode()):,} bytes, {len(texts)} strings, {len(rows)} families")


if __name__ == "__main__":
    main()
