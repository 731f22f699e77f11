#!/usr/bin/env python3
"""Compiles the examples of the library's documentation, and names public types and functions that have none.

    Tools/doc_examples.py .build-test/release

The folder is one that `swift build` has filled. Each example is type-checked in a function of its own, with the
variables that examples use without declaring them.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = [
    *sorted((ROOT / "Sources/FastVLM").glob("*.swift")), ROOT / "Models/FastVLMEmbedded.swift",
    *(ROOT / "Sources" / path for path in (
        "Tensors/Precision.swift", "Checkpoints/Configuration/ImagePreprocessing.swift", "Generation/FinishReason.swift",
        "Generation/Message.swift", "StructuredOutput/AnswerFormat.swift")),
]
PAGES = sorted((ROOT / "Sources/FastVLM/FastVLM.docc").glob("*.md"))
# Whose `options` are those of loading.
LOADING = re.compile(r"options\.(precision|geometry|background|imageFormats|imageSize|logger|metrics)\b")
VARIABLES = """
    model: VisionLanguageModel, session: ChatSession, answer: Answer, token: AnswerToken, event: AnswerEvent,
    error: FastVLMError, usage: Usage, timings: Timings, score: TextScore, yes: TextScore, no: TextScore,
    encoded: ImageFeatures, tokenizer: TextTokenizer, messages: [Message], image: ImageSource, bytes: Data,
    bytesOfAfter: Data, book: String, url: URL, photo: URL, one: URL, other: URL, before: URL, after: URL,
    folder: URL, original: URL, small: URL
"""
DECLARATION = re.compile(r"\s*public (?:final |static |indirect )*(func|init|struct|enum|class|protocol|typealias)\b(.*)")
# What the standard library documents.
KNOWN = re.compile(r"\((?:from decoder|to encoder|rawValue)|init\(\) \{\}")


def examples(path):
    """(line, text) of each block of Swift."""
    block, start = None, 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if path.suffix == ".swift":
            match = re.match(r"\s*/// ?(.*)", line)
            line = match[1] if match else None
        if line is not None and line.strip() == "```swift":
            block, start = [], number + 1
        elif block is not None and (line is None or line.strip() == "```"):
            yield start, "\n".join(block)
            block = None
        elif block is not None:
            block.append(line)


def undocumented(path):
    """Public types and functions without an example in their comment."""
    comment = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if match := re.match(r"\s*///(.*)", line):
            comment += match[1] + "\n"
            continue
        if re.match(r"\s*@", line):
            continue
        if (match := DECLARATION.match(line)) and "```swift" not in comment and not KNOWN.search(line):
            yield number, line.strip()
        comment = ""


def main():
    products = pathlib.Path(sys.argv[1])
    faults = [
        f"{path.relative_to(ROOT)}:{number}: no example: {line}" for path in SOURCES
        for number, line in undocumented(path)]
    imports, functions = {"FastVLM", "FastVLMEmbedded", "Foundation", "Logging", "Metrics"}, []
    for path in SOURCES + PAGES:
        for number, text in examples(path):
            lines = [line for line in text.splitlines() if not re.match(r"import \w+$", line)]
            options = "LoadOptions" if LOADING.search(text) else "GenerationOptions"
            body = "\n".join(lines)
            functions.append(
                f"func example{len(functions)}({VARIABLES}) async throws {{\n    var options = {options}()\n"
                f"    options = {options}()\n    do {{\n"
                f'#sourceLocation(file: "{path.relative_to(ROOT)}", line: {number})\n{body}\n#sourceLocation()\n    }}\n}}')
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "examples.swift"
        file.write_text(
            "\n".join(f"import {name}" for name in sorted(imports)) + "\n\n" + "\n\n".join(functions) + "\n",
            encoding="utf-8")
        # Of the system libraries, and those that SwiftPM makes for the C modules.
        maps = [
            f"-fmodule-map-file={path}" for path in sorted(
                [*ROOT.glob("Sources/C*/**/module.modulemap"), *products.glob("*.build/module.modulemap")])]
        checked = subprocess.run(
            [
                "swiftc", "-typecheck", "-swift-version", "6", "-suppress-warnings", "-enable-upcoming-feature",
                "MemberImportVisibility", "-I", products / "Modules", *(x for map in maps for x in ("-Xcc", map)),
                file,
            ], cwd=ROOT, check=False)
    print("\n".join(faults), end="\n" if faults else "", file=sys.stderr)
    print(f"{len(functions)} examples")
    return 1 if faults or checked.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
