"""MANIFEST.json: what each fixture file is, who made it, with which versions."""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ["torch", "torchvision", "transformers", "timm", "tokenizers", "safetensors", "numpy", "pillow"]


def write(folder: Path, generator: str, arguments: dict) -> None:
    """One line a file below `folder`, sorted by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "MANIFEST.json")
    entries = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in paths
    }
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    head = {"generator": generator, "arguments": arguments, "versions": versions}
    lines = [f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items()]
    text = json.dumps(head, indent=1)[:-2] + ',\n "files": {\n' + ",\n".join(lines) + "\n }\n}\n"
    (folder / "MANIFEST.json").write_text(text, encoding="utf-8")
