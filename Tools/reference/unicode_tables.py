"""Writes Sources/Tokenization/UnicodeTables.swift: the character data behind the split patterns and NFC.

Hugging Face `tokenizers` fixes the version of Unicode that a tokenizer sees (its regular expressions and its
NFC do not even use the same one), so the tables are asked from `tokenizers` itself, scalar by scalar, instead
of from the Swift runtime, whose version changes with the tool chain.

    python Tools/reference/unicode_tables.py          # about a minute
"""

import argparse
import unicodedata
from pathlib import Path

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

ROOT = Path(__file__).resolve().parents[2]
SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)


def members(pattern):
    """All scalars that the regular expression `pattern` matches."""
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return {c for c in SCALARS if not split.pre_tokenize_str(chr(c))}


def ranges(values):
    """Sorted (first, last, value) ranges of a scalar -> value dictionary."""
    result = []
    for c in sorted(values):
        if result and result[-1][1] == c - 1 and result[-1][2] == values[c]:
            result[-1][1] = c
        else:
            result.append([c, c, values[c]])
    return result


def class_ranges():
    letters, numbers, spaces = members(r"\p{L}"), members(r"\p{N}"), members(r"\s")
    assert not (letters & numbers or letters & spaces or numbers & spaces)
    return ranges({c: 1 if c in letters else 2 if c in numbers else 3 for c in letters | numbers | spaces})


def combining_classes(nfd):
    """Canonical combining classes as `tokenizers` sees them: 0 for marks that its tables do not know yet."""
    result = {}
    for c in SCALARS:
        value = unicodedata.combining(chr(c))
        if value == 0:
            continue
        # U+0334 has class 1 and U+0345 has 240, the two ends: an unknown mark does not move past either.
        low, high = chr(c) + "\u0334", "\u0345" + chr(c)
        known = nfd("a" + low) != "a" + low if value > 1 else nfd("a" + high) != "a" + high
        if known:
            result[c] = value
    return ranges(result)


def decompositions(nfd, nfc):
    """(scalar, first, second or 0) of one canonical step; bit 31 of first: NFC does not recompose."""
    result = []
    for c in SCALARS:
        full = nfd(chr(c))
        if c in HANGUL or full == chr(c):
            continue
        parts = [int(p, 16) for p in unicodedata.decomposition(chr(c)).split()]
        assert "".join(nfd(chr(p)) for p in parts) == full, hex(c)
        first, second = (parts + [0])[:2]
        result.append((c, first | (0 if nfc(chr(c)) == chr(c) else 1 << 31), second))
    return result


def swift_array(name, comment, rows):
    numbers = [f"0x{n:X}" for row in rows for n in row]
    lines, line = [], "       "
    for n in numbers:
        if len(line) + len(n) + 2 > 110:
            lines.append(line)
            line = "       "
        line += f" {n},"
    lines.append(line)
    body = "\n".join(lines)
    doc = "\n".join(f"    /// {c}" for c in comment)
    return f"{doc}\n    static let {name}: [UInt32] = [\n{body}\n    ]\n"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "Sources/Tokenization/UnicodeTables.swift")
    arguments = parser.parse_args()
    nfd, nfc = normalizers.NFD().normalize_str, normalizers.NFC().normalize_str
    arrays = [
        swift_array("classRanges",
                    ["First and last scalar and `ScalarClass` raw value of every range of letters (1),",
                     "numbers (2) and white space (3)."], class_ranges()),
        swift_array("combiningClassRanges",
                    ["First and last scalar and canonical combining class, where it is not 0."],
                    combining_classes(nfd)),
        swift_array("decompositions",
                    ["Scalar, first and second (0: none) scalar of its one-step canonical",
                     "decomposition. Bit 31 of the first marks those that NFC does not recompose.",
                     "Hangul syllables are not listed."], decompositions(nfd, nfc)),
    ]
    header = (
        "// Made by Tools/reference/unicode_tables.py from what `tokenizers` "
        f"{tokenizers.__version__} answers. Do not edit.\n"
        "// swift-format-ignore-file\n\n"
        "/// Character data, as ranges, sorted.\nenum UnicodeTables {\n")
    arguments.output.write_text(header + "\n".join(arrays) + "}\n")
    print(arguments.output, arguments.output.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
