"""Qwen2's vocabulary and merges from `qwen.tiktoken` (in PyPI's dashscope wheel under dashscope/resources/).

The file lists byte strings by rank; a merge is what plain byte-pair encoding of a string leaves as its last
two parts when only lower ranks may be used.
"""

import base64
import zipfile
from pathlib import Path

from .small_tokenizer import byte_alphabet

SPECIALS = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645, "<image>": 151646}


def find(folder: Path) -> bytes | None:
    """The content of qwen.tiktoken: a file of that name below `folder`, or inside a dashscope wheel there."""
    for path in sorted(folder.rglob("qwen.tiktoken")):
        return path.read_bytes()
    for path in sorted(folder.rglob("dashscope-*.whl")):
        with zipfile.ZipFile(path) as wheel:
            return wheel.read("dashscope/resources/qwen.tiktoken")
    return None


def derive(content: bytes) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """-> (vocabulary, merges) in GPT-2's printable alphabet, as tokenizer.json has them."""
    ranks = {}
    for line in content.splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    order = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order += [byte for byte in range(256) if byte not in order]
    letters = dict(zip(order, byte_alphabet()))

    def spell(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            left, right = last_pair(token, ranks, rank)
            merges.append((spell(left), spell(right)))
    return {spell(token): rank for token, rank in ranks.items()}, merges


def last_pair(token: bytes, ranks: dict[bytes, int], limit: int) -> tuple[bytes, bytes]:
    parts = [token[index : index + 1] for index in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, limit) for left, right in zip(parts, parts[1:])]
        best = min(range(len(pairs)), key=pairs.__getitem__)
        if pairs[best] >= limit:
            raise ValueError(f"{token!r} cannot be built from earlier tokens")
        parts[best : best + 2] = [parts[best] + parts[best + 1]]
    return parts[0], parts[1]
