"""Which checkpoint it was: hashes of its files."""

from __future__ import annotations

import hashlib
import os
import pathlib
import re

#: Files that decide what a model answers; a model card does not.
_ENDINGS = {".safetensors", ".bin", ".json", ".model", ".txt", ".jinja"}


def checkpoint_folder(path: str | os.PathLike[str]) -> pathlib.Path:
    """Where the files lie: of a model in the hub's cache its snapshot."""
    folder = pathlib.Path(path)
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return folder
    main = folder / "refs" / "main"
    name = main.read_text().strip() if main.is_file() else ""
    if not re.fullmatch(r"[0-9a-f]{7,64}", name):
        name = next(iter(sorted(each.name for each in snapshots.iterdir())), "")
    return snapshots / name


def checkpoint_hashes(path: str | os.PathLike[str]) -> dict[str, str]:
    """SHA-256 of every file by its name. Reads all of them: seconds for each gigabyte."""
    folder = checkpoint_folder(path)
    found = {}
    for file in sorted(folder.iterdir()):
        if file.suffix in _ENDINGS and file.is_file() and not file.name.startswith("."):
            digest = hashlib.sha256()
            with open(file, "rb") as opened:
                while piece := opened.read(1 << 20):
                    digest.update(piece)
            found[file.name] = digest.hexdigest()
    return found


def checkpoint_hash(hashes: dict[str, str]) -> str:
    """One hash for all files: of lines "hash  name", as sha256sum writes them, in the order of the names."""
    lines = "".join(f"{each}  {name}\n" for name, each in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
