"""What tar shards hold and where: read from their headers once, and kept in a small file beside each.

Where a sample's parts lie is kept as numbers, 16 bytes a part, as data sets of millions of samples are listed whole in every
process.
"""

import os
import pathlib
import tarfile
import uuid
import zipfile
from bisect import bisect_right
from itertools import accumulate

import numpy as np

FORMAT = 1


class Tars:
    """The samples of .tar files: members of one folder whose names are the same up to the first dot."""

    def __init__(self, path: str):
        """path: a .tar file or a folder of them."""
        folder = pathlib.Path(path)
        self.files = sorted(folder.glob("*.tar")) if folder.is_dir() else [folder]
        self.contents = [contents(file) for file in self.files]
        self.ends = list(accumulate(len(places) for _, places in self.contents))
        if not len(self):
            raise ValueError(f"{path}: no sample in any .tar")

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def parts(self, index: int) -> dict[str, tuple[pathlib.Path, int, int]]:
        """File, offset and size of every part of a sample, by what stands behind the first dot of its name."""
        at = bisect_right(self.ends, index)
        kinds, places = self.contents[at]
        row = places[index - self.ends[at]].tolist()
        return {kind: (self.files[at], *place) for kind, place in zip(kinds, row, strict=True) if place[0] >= 0}


def part(place: tuple[pathlib.Path, int, int]) -> bytes:
    path, offset, size = place
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def contents(tar: pathlib.Path) -> tuple[list[str], np.ndarray]:
    """Kinds of parts, and offset and size [samples, kinds, 2] of each (-1 where a sample has none)."""
    kept, stamp = tar.with_name(tar.name + ".index.npz"), stamp_of(tar)
    try:
        with np.load(kept) as stored:
            kinds, places = stored["kinds"].tolist(), stored["places"]
            if stored["stamp"].tolist() == stamp and places.shape[1:] == (len(kinds), 2):
                return kinds, places
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # none yet, or half of one
    try:
        kinds, places = headers(tar)
    except tarfile.TarError as error:
        raise ValueError(f"{tar}: {error}; expected a whole tar that is not compressed, fetch or pack it again") from None
    begun = kept.with_name(f"{kept.name}.{uuid.uuid4().hex}.npz")
    try:
        np.savez(begun, stamp=stamp, kinds=np.array(kinds, dtype=str), places=places)
        os.replace(begun, kept)
    except OSError:
        begun.unlink(missing_ok=True)  # a folder that cannot be written to, or a full disk: read anew at the next start
    return kinds, places


def stamp_of(tar: pathlib.Path) -> list[int]:
    """What tells a file from the one that an index was made of."""
    found = tar.stat()
    return [FORMAT, found.st_size, found.st_mtime_ns]


def headers(tar: pathlib.Path) -> tuple[list[str], np.ndarray]:
    kinds: dict[str, int] = {}
    samples: dict[str, list[tuple[int, int, int]]] = {}
    with tarfile.open(tar, "r:") as file:  # not compressed: parts are read where they lie
        for member in filter(tarfile.TarInfo.isfile, file):
            folder, _, name = member.name.rpartition("/")
            key, _, kind = name.partition(".")
            column = kinds.setdefault(kind.lower(), len(kinds))
            samples.setdefault(f"{folder}/{key}", []).append((column, member.offset_data, member.size))
        file.fileobj.seek(file.offset)
        if any(file.fileobj.read(tarfile.BLOCKSIZE)):  # no header and no end: tarfile itself passes over it
            raise tarfile.ReadError(f"broken at byte {file.offset}")
    places = np.full((len(samples), len(kinds), 2), -1, np.int64)
    for row, parts in zip(places, samples.values(), strict=True):
        for column, *place in parts:
            row[column] = place
    return list(kinds), places
