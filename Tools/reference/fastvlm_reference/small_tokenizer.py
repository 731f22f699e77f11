"""A Qwen2-like byte-level tokenizer of about 300 entries, and the chat templates of the checkpoints.

All 256 bytes, a handful of merges (among them two newlines: text joined across an image would use it and give
other ids), and the three special tokens of Qwen2; the Hugging Face and MLX layouts add `<image>`.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
WORDS = ["\n\n", "user", "assistant", "system", " image", " the", "ing", " is", "You"]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
IMAGE = "<image>"
ROWS = 320
SYSTEM = "You are a helpful assistant."
VICUNA_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)

# The template of converted checkpoints: default system text, images first, then a newline and the text.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}"
    "{% set images = message['content'] | selectattr('type', 'equalto', 'image') | list %}"
    "{% for item in images %}{{ '<image>' }}{% endfor %}"
    "{% for item in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% if images and message['role'] == 'user' %}{{ '\n' + item['text'] }}"
    "{% else %}{{ item['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_alphabet() -> list[str]:
    """GPT-2's printable stand-in for each byte, in the order of its vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def merges() -> list[tuple[str, str]]:
    """Each word is built from its left end, one character a merge."""
    pairs = []
    for word in WORDS:
        letters = word.replace(" ", "Ġ").replace("\n", "Ċ")
        for end in range(1, len(letters)):
            pair = (letters[:end], letters[end])
            if pair not in pairs:
                pairs.append(pair)
    return pairs


def vocabulary() -> dict[str, int]:
    pieces = byte_alphabet() + ["".join(pair) for pair in merges()]
    return {piece: index for index, piece in enumerate(pieces)}


def added(with_image: bool) -> dict[str, int]:
    first = len(vocabulary())
    return {text: first + index for index, text in enumerate(SPECIALS + ([IMAGE] if with_image else []))}


def image_id() -> int:
    return added(True)[IMAGE]


def document(with_image: bool) -> dict:
    """The content of tokenizer.json."""
    return tokenizer_document(vocabulary(), merges(), added(with_image))


def tokenizer_document(
    vocabulary: dict[str, int], merges: list[tuple[str, str]], added: dict[str, int]
) -> dict:
    """tokenizer.json of a Qwen2 tokenizer with the given pieces."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": index,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for text, index in added.items()
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [list(pair) for pair in merges],
        },
    }


def tokenizer(with_image: bool) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(document(with_image)))


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write(folder: Path, with_image: bool, separate_files: bool = False, chat_template: bool = False) -> None:
    """Writes tokenizer.json, or vocab.json + merges.txt + added_tokens.json, and tokenizer_config.json."""
    if separate_files:
        write_json(folder / "vocab.json", vocabulary())
        lines = ["#version: 0.2"] + [" ".join(pair) for pair in merges()]
        (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        write_json(folder / "added_tokens.json", added(with_image))
    else:
        write_json(folder / "tokenizer.json", document(with_image))
    write_settings(folder, added(with_image), chat_template)


def write_settings(folder: Path, added: dict[str, int], chat_template: bool) -> None:
    """tokenizer_config.json and, for the Hugging Face layout, chat_template.jinja."""
    config = {
        "added_tokens_decoder": {
            str(index): {
                "content": text,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": True,
            }
            for text, index in added.items()
        },
        "add_prefix_space": False,
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 8192,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    write_json(folder / "tokenizer_config.json", config)
    if chat_template:
        (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


def chunks(prompt: str, with_image: bool = True) -> list[list[int]]:
    """Token ids of each side of every `<image>`, each side tokenised separately (n images: n + 1 lists)."""
    encoder = tokenizer(with_image)
    return [encoder.encode(part, add_special_tokens=False).ids for part in prompt.split(IMAGE)]


def chat(turns: list[tuple[str, str]], system: str = SYSTEM) -> str:
    """The `qwen_2` template; turns are (role, text); ends ready for the assistant's next words."""
    text = f"<|im_start|>system\n{system}<|im_end|>\n"
    for role, words in turns:
        text += f"<|im_start|>{role}\n{words}<|im_end|>\n"
    return text + "<|im_start|>assistant\n"


def vicuna(turns: list[tuple[str, str]]) -> str:
    """The `vicuna_v1` template: " USER: … ASSISTANT: …</s>"."""
    text = VICUNA_SYSTEM
    for role, words in turns:
        text += f" USER: {words}" if role == "user" else f" ASSISTANT: {words}</s>"
    return text + " ASSISTANT:"
