"""Writes Tests/Fixtures/images/formats.json and lies.json: small GIF, BMP, TIFF, AVIF and HEIC files of every kind with the pixels
that Pillow makes of them. Seeded; run from the repository root:

    python Tools/reference/format_fixtures.py

Needs pillow-heif for HEIC (`pip install pillow-heif==1.8.1`) and `avifenc` (Debian's libavif-bin) for AVIF in ten bits,
in a grid or turned, which Pillow cannot write. All files come out the same every time but avif-sequence, which holds the
time of its making.

Every case: name, format, file, size, rgb (Pillow's convert("RGB"), or what its note says), alpha where there is some,
and for lossy formats how far another decoder may be off: most and mean difference of a byte.
"""

import argparse
import base64
import hashlib
import io
import json
import pathlib
import struct
import subprocess
import tempfile
import zlib

import numpy as np
import pillow_heif
import PIL
from PIL import Image, ImageCms, ImageOps, features

from image_fixtures import b64, picture, saved

pillow_heif.register_heif_opener()


# -- GIF by hand: Pillow writes neither small frames on a canvas nor missing palettes ---------------------------


def lzw(indices, bits):
    """GIF's LZW with a clear code before the table grows: all codes have bits + 1 bits."""
    clear, end = 1 << bits, (1 << bits) + 1
    codes = []
    for at, index in enumerate(indices):
        if at % ((1 << bits) - 2) == 0:
            codes.append(clear)
        codes.append(int(index))
    codes.append(end)
    total = sum(code << (i * (bits + 1)) for i, code in enumerate(codes))
    return total.to_bytes((len(codes) * (bits + 1) + 7) // 8, "little")


def gif_frame(indices, bits, left=0, top=0, palette=b"", interlaced=False, transparent=None):
    height, width = indices.shape
    if interlaced:
        order = [y for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(start, height, step)]
        indices = indices[order]
    flags = (0x80 | (len(palette) // 3).bit_length() - 2 if palette else 0) | (0x40 if interlaced else 0)
    packed = lzw(indices.reshape(-1), bits)
    blocks = b"".join(bytes([len(packed[i:i + 255])]) + packed[i:i + 255] for i in range(0, len(packed), 255))
    control = b"" if transparent is None else b"!\xf9\x04" + bytes([1, 0, 0, transparent, 0])
    return (control + b"," + struct.pack("<HHHHB", left, top, width, height, flags) + palette + bytes([bits])
            + blocks + b"\0")


def gif(size, frames, palette=b"", background=0):
    flags = 0x80 | (len(palette) // 3).bit_length() - 2 if palette else 0
    return (b"GIF89a" + struct.pack("<HHBBB", *size, flags, background, 0) + palette + b"".join(frames) + b";")


def gif_cases(rng):
    colours = rng.integers(0, 256, 48, dtype=np.uint8).tobytes()
    other = rng.integers(0, 256, 48, dtype=np.uint8).tobytes()
    whole = rng.integers(0, 16, (11, 13))
    small = rng.integers(0, 16, (5, 6))
    yield "gif-plain", gif((13, 11), [gif_frame(whole, 4)], colours), {}
    yield "gif-87a", gif((13, 11), [gif_frame(whole, 4)], colours).replace(b"GIF89a", b"GIF87a", 1), {}
    yield "gif-interlaced", gif((13, 11), [gif_frame(whole, 4, interlaced=True)], colours), {}
    yield "gif-transparent", gif((13, 11), [gif_frame(whole, 4, transparent=3)], colours), {}
    yield "gif-interlaced-transparent", gif(
        (13, 11), [gif_frame(whole, 4, interlaced=True, transparent=3)], colours), {}
    yield "gif-local-palette", gif((13, 11), [gif_frame(whole, 4, palette=other)], colours), {}
    yield "gif-only-local-palette", gif((13, 11), [gif_frame(whole, 4, palette=other)]), {}
    yield "gif-no-palette", gif((13, 11), [gif_frame(whole, 4)]), {}
    yield "gif-short-palette", gif((13, 11), [gif_frame(whole, 4)], colours[:24]), {}
    # Around a small picture the canvas is transparent, as in browsers; Pillow gives it an opaque colour.
    around = np.zeros((11, 13), np.uint8)
    around[2:7, 3:9] = 255
    yield "gif-offset", gif((13, 11), [gif_frame(small, 4, 3, 2)], colours, background=5), {"alpha": around}
    inside = around.copy()
    inside[2:7, 3:9] = np.where(small == 2, 0, 255)
    yield "gif-offset-transparent", gif(
        (13, 11), [gif_frame(small, 4, 3, 2, transparent=2)], colours), {"alpha": inside}
    grown = np.zeros((9, 10), np.uint8)
    grown[4:, 4:] = 255
    yield "gif-outside-canvas", gif((7, 6), [gif_frame(small, 4, 4, 4)], colours), {"alpha": grown}
    yield "gif-no-canvas", gif((0, 0), [gif_frame(small, 4)], colours), {}
    yield "gif-animation", gif(
        (13, 11), [gif_frame(whole, 4), gif_frame(small, 4, 1, 1), gif_frame(small, 4)], colours), {}
    yield "gif-extensions", gif(
        (13, 11), [b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0", b"!\xfe\x05hello\x03you\0", gif_frame(whole, 4)],
        colours), {}
    yield "gif-two-colours", gif((13, 11), [gif_frame(whole % 2, 2)], colours[:6]), {}
    photo = Image.fromarray(picture(rng, 37, 26))
    yield "gif-pillow-256", saved(photo.convert("P", palette=Image.ADAPTIVE), "GIF"), {}
    for width, height in [(1, 1), (1, 9), (9, 1)]:
        yield f"gif-{width}x{height}", saved(picture(rng, width, height)[..., 0].copy(), "GIF"), {}


# -- BMP by hand: Pillow reads more than it writes ----------------------------------------------------------------


def bmp(width, height, bits, data, palette=b"", header=40, compression=0, masks=b"", top_down=False, colours=0,
        tail=b""):
    """`masks` follow a header of 40 bytes and are part of longer ones; `tail` is what a longer header goes on with."""
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits, compression,
                           len(data), 2835, 2835, colours, 0)
        info += (masks + tail).ljust(header - 40, b"\0") if header > 40 else masks
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + info + palette + data


def bmp_rows(rows, top_down=False):
    rows = [row + bytes(-len(row) % 4) for row in rows]
    return b"".join(rows if top_down else rows[::-1])


def packed_bits(indices, bits):
    rows = []
    for line in indices:
        text = "".join(f"{int(v):0{bits}b}" for v in line)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return rows


def bmp_cases(rng):
    width, height = 13, 11
    table = rng.integers(0, 256, (256, 4), dtype=np.uint8)
    table[:, 3] = 0
    for bits in (1, 4, 8):
        indices = rng.integers(0, 1 << bits, (height, width))
        data = bmp_rows(packed_bits(indices, bits))
        palette = table[:1 << bits].tobytes()
        yield f"bmp-{bits}", bmp(width, height, bits, data, palette), {}
        core = table[:1 << bits, :3].tobytes()
        yield f"bmp-{bits}-os2", bmp(width, height, bits, data, core, header=12), {}
        down = bmp_rows(packed_bits(indices, bits), True)
        yield f"bmp-{bits}-top-down", bmp(width, height, bits, down, palette, top_down=True), {}
    indices = rng.integers(0, 100, (height, width))
    data = bmp_rows(packed_bits(indices, 8))
    yield "bmp-8-short-palette", bmp(width, height, 8, data, table[:100].tobytes(), colours=100), {}
    yield "bmp-8-beyond-palette", bmp(width, height, 8, data, table[:50].tobytes(), colours=50), {}
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, 1)
    greys[:, 3] = 0
    yield "bmp-8-grey", bmp(width, height, 8, data, greys.tobytes()), {}
    yield "bmp-8-os2-2", bmp(width, height, 8, data, table.tobytes(), header=64), {}
    rgb = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    opaque = np.full((height, width), 255, np.uint8)
    for header in (40, 64, 108, 124):
        data = bmp_rows([line[:, :3].tobytes() for line in rgb])
        yield f"bmp-24-header{header}", bmp(width, height, 24, data, header=header), {}
    data = bmp_rows([line[:, :3].tobytes() for line in rgb])
    yield "bmp-24-os2", bmp(width, height, 24, data, header=12), {}
    yield "bmp-24-top-down", bmp(
        width, height, 24, bmp_rows([line[:, :3].tobytes() for line in rgb], True), top_down=True), {}
    wide = bmp_rows([line.tobytes() for line in rgb])
    yield "bmp-32", bmp(width, height, 32, wide), {}
    words = rng.integers(0, 1 << 16, (height, width), dtype=np.uint16)
    data = bmp_rows([line.astype("<u2").tobytes() for line in words])
    yield "bmp-16", bmp(width, height, 16, data), {}

    def masks(*values):
        return struct.pack(f"<{len(values)}I", *values)

    yield "bmp-16-565", bmp(width, height, 16, data, compression=3, masks=masks(0xF800, 0x7E0, 0x1F)), {}
    yield "bmp-16-555", bmp(width, height, 16, data, compression=3, masks=masks(0x7C00, 0x3E0, 0x1F)), {}
    yield "bmp-16-565-v4", bmp(
        width, height, 16, data, header=108, compression=3, masks=masks(0xF800, 0x7E0, 0x1F, 0)), {}
    # Pillow knows no 4-bit masks; each value is widened to 8 bits by itself.
    shifts = {"red": 8, "green": 4, "blue": 0, "alpha": 12}
    four = {name: ((words >> shift & 15) * 17).astype(np.uint8) for name, shift in shifts.items()}
    yield "bmp-16-4444", bmp(
        width, height, 16, data, header=108, compression=3, masks=masks(0xF00, 0xF0, 0xF, 0xF000)), {
            "rgb": np.dstack([four["red"], four["green"], four["blue"]]), "alpha": four["alpha"]}
    for name, values in {
        "bgrx": (0xFF0000, 0xFF00, 0xFF), "xbgr": (0xFF000000, 0xFF0000, 0xFF00), "bgxr": (0xFF000000, 0xFF00, 0xFF),
    }.items():
        yield f"bmp-32-{name}", bmp(width, height, 32, wide, compression=3, masks=masks(*values)), {}
    for name, values in {
        "abgr": (0xFF000000, 0xFF0000, 0xFF00, 0xFF), "rgba": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        "bgra": (0xFF0000, 0xFF00, 0xFF, 0xFF000000), "bgar": (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
    }.items():
        for header in (56, 108, 124):
            yield f"bmp-32-{name}-header{header}", bmp(
                width, height, 32, wide, header=header, compression=3, masks=masks(*values)), {}
    # Ten bits a colour: the high eight count.
    deep = rng.integers(0, 1 << 30, (height, width), dtype=np.uint32)
    ten = np.dstack([deep >> 22, deep >> 12, deep >> 2]).astype(np.uint8)
    yield "bmp-32-ten-bits", bmp(
        width, height, 32, bmp_rows([line.astype("<u4").tobytes() for line in deep]), compression=3,
        masks=masks(0x3FF00000, 0xFFC00, 0x3FF)), {"rgb": ten, "alpha": None}
    # An alpha channel that is zero everywhere was never meant as one.
    empty = rgb.copy()
    empty[..., 3] = 0
    yield "bmp-32-empty-alpha", bmp(
        width, height, 32, bmp_rows([line.tobytes() for line in empty]), header=108, compression=3,
        masks=masks(0xFF0000, 0xFF00, 0xFF, 0xFF000000)), {"alpha": opaque}
    yield from bmp_run_cases(table)
    for width, height in [(1, 1), (1, 9), (9, 1)]:
        yield f"bmp-{width}x{height}", saved(picture(rng, width, height), "BMP"), {}


def bmp_run_cases(table):
    runs8 = [
        bytes([13, 7, 0, 0]), bytes([5, 1, 8, 2, 0, 0]), bytes([0, 5, 9, 8, 7, 6, 5, 0, 8, 3, 0, 0]),
        bytes([0, 4, 1, 2, 3, 4, 9, 200, 0, 0]), bytes([3, 9, 0, 0]), bytes([0, 2, 4, 2]), bytes([3, 20, 0, 0]),
        bytes([13, 255, 0, 0]), bytes([1, 1, 0, 0]), bytes([13, 4, 0, 0]), bytes([0, 1]),
    ]
    palette = table.tobytes()
    yield "bmp-rle8", bmp(13, 11, 8, b"".join(runs8), palette, compression=1), {}
    yield "bmp-rle8-run-too-long", bmp(
        13, 11, 8, bytes([200, 7, 0, 0] + [13, 9, 0, 0] * 10 + [0, 1]), palette, compression=1), {}
    runs4 = [
        bytes([13, 0x37, 0, 0]), bytes([0, 5, 0x98, 0x76, 0x50, 0, 8, 0xAB, 0, 0]), bytes([4, 0x12, 9, 0x34, 0, 0]),
        bytes([0, 2, 6, 1]), bytes([7, 0xFE, 0, 0]), bytes([0, 13]) + bytes(range(0x10, 0x17)) + bytes([0, 0, 0]),
        bytes([2, 0x11, 0, 0]), bytes([1, 0x20, 12, 0x31, 0, 0]), bytes([5, 0x44, 8, 0x50, 0, 0]),
        bytes([13, 0x66, 0, 0]), bytes([13, 0x77, 0, 0]), bytes([0, 1]),
    ]
    yield "bmp-rle4", bmp(13, 11, 4, b"".join(runs4), palette[:64], compression=2), {}
    # Pixels that no run names have index 0. Pillow refuses a picture that ends before its last row.
    early = np.broadcast_to(table[0, :3][::-1], (11, 13, 3)).copy()
    yield "bmp-rle8-empty", bmp(13, 11, 8, bytes([0, 1]), palette, compression=1), {"rgb": early.copy()}
    early[10, :5] = table[6, :3][::-1]
    yield "bmp-rle8-early-end", bmp(13, 11, 8, bytes([5, 6, 0, 1]), palette, compression=1), {"rgb": early}


# -- TIFF by hand: tiles, planes, depths and tags in every combination ------------------------------------------------


def tiff(tags, blocks, order="<", big=False, second_page=False):
    """`tags`: {tag: (type, values)} without offsets and counts of `blocks`, which go in as strips or tiles."""
    tags = dict(tags)
    offset_tag, count_tag = (324, 325) if 322 in tags else (273, 279)
    head = 16 if big else 8
    position, offsets = head, []
    for block in blocks:
        offsets.append(position)
        position += len(block) + len(block) % 2
    tags[offset_tag] = (16 if big else 4, offsets)
    tags[count_tag] = (16 if big else 4, [len(block) for block in blocks])
    codes = {1: "B", 3: "H", 4: "I", 7: "B", 16: "Q"}
    slot = 8 if big else 4
    entries, extra = b"", b""
    start = position
    size = (8 + 20 * len(tags) + 8) if big else (2 + 12 * len(tags) + 4)
    for tag in sorted(tags):
        kind, values = tags[tag]
        data = struct.pack(f"{order}{len(values)}{codes[kind]}", *values)
        count = len(values)
        if len(data) > slot:
            where = start + size + len(extra)
            extra += data + bytes(len(data) % 2)
            data = struct.pack(order + ("Q" if big else "I"), where)
        entries += struct.pack(order + ("HHQ" if big else "HHI"), tag, kind, count) + data.ljust(slot, b"\0")
    following = start if second_page else 0
    directory = struct.pack(order + ("Q" if big else "H"), len(tags)) + entries + struct.pack(
        order + ("Q" if big else "I"), following)
    name = b"II" if order == "<" else b"MM"
    header = name + (struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start))
    return header + b"".join(block + bytes(len(block) % 2) for block in blocks) + directory + extra


def tiff_rows(samples, bits, order):
    """[height, width, channels] to bytes per row."""
    lines = samples.reshape(samples.shape[0], -1)
    if bits == 16:
        return [line.astype(order + "u2").tobytes() for line in lines]
    return packed_bits(lines, bits)


def tiff_file(samples, bits, photometric, order="<", rows=4, tile=None, planar=False, compression=1, extra=(),
              palette=None, tags=None, big=False, second_page=False, predictor=False):
    height, width, channels = samples.shape
    all_tags = {256: (3, [width]), 257: (3, [height]), 258: (3, [bits] * channels), 259: (3, [compression]),
                262: (3, [photometric]), 277: (3, [channels]), 284: (3, [2 if planar else 1])}
    if extra:
        all_tags[338] = (3, list(extra))
    if palette is not None:
        all_tags[320] = (3, list(map(int, palette)))
    if predictor:
        all_tags[317] = (3, [2])
    planes = [samples[..., c:c + 1] for c in range(channels)] if planar else [samples]
    blocks = []
    for plane in planes:
        if tile:
            all_tags |= {322: (3, [tile[0]]), 323: (3, [tile[1]])}
            for y in range(0, height, tile[1]):
                for x in range(0, width, tile[0]):
                    part = np.zeros((tile[1], tile[0], plane.shape[2]), plane.dtype)
                    cut = plane[y:y + tile[1], x:x + tile[0]]
                    part[:cut.shape[0], :cut.shape[1]] = cut
                    blocks.append(part)
        else:
            all_tags[278] = (3, [rows])
            blocks += [plane[y:y + rows] for y in range(0, height, rows)]
    data = []
    for block in blocks:
        if predictor:
            block = np.concatenate([block[:, :1], np.diff(block, axis=1) % (1 << bits)], axis=1)
        raw = b"".join(tiff_rows(block, bits, order))
        data.append({1: lambda r: r, 8: zlib.compress, 32773: packbits}[compression](raw))
    return tiff(all_tags | (tags or {}), data, order, big, second_page)


def packbits(raw):
    return b"".join(bytes([len(raw[i:i + 100]) - 1]) + raw[i:i + 100] for i in range(0, len(raw), 100))


def tiff_cases(rng):
    height, width = 11, 13

    def noise(channels, bits):
        return rng.integers(0, 1 << bits, (height, width, channels))

    for bits in (1, 2, 4, 8):
        grey = noise(1, bits)
        for photometric in (0, 1):
            yield f"tiff-grey-{bits}-photometric{photometric}", tiff_file(grey, bits, photometric), {}
        colours = rng.integers(0, 65536, 3 << bits)
        yield f"tiff-palette-{bits}", tiff_file(grey, bits, 3, palette=colours), {}
    narrow = rng.integers(0, 256, 48)
    index = noise(1, 4)
    table = narrow.reshape(3, 16).T.astype(np.uint8)
    # Pillow takes the high byte of each entry, which makes such a picture black.
    yield "tiff-palette-of-bytes", tiff_file(index, 4, 3, palette=narrow), {"rgb": table[index[..., 0]]}
    for order in "<>":
        deep = noise(1, 16)
        deep[::2] %= 300
        end = "little" if order == "<" else "big"
        yield f"tiff-grey-16-{end}", tiff_file(deep, 16, 1, order), {"scaled": (deep >> 8).astype(np.uint8)}
        yield f"tiff-rgb-16-{end}", tiff_file(noise(3, 16), 16, 2, order), {}
        yield f"tiff-rgba-16-{end}", tiff_file(noise(4, 16), 16, 2, order, extra=(2,)), {}
        yield f"tiff-rgb-8-{end}", tiff_file(noise(3, 8), 8, 2, order), {}
        yield f"tiff-cmyk-16-{end}", tiff_file(noise(4, 16), 16, 5, order), {}
    dark = noise(1, 16)
    yield "tiff-grey-16-white-is-zero", tiff_file(dark, 16, 0), {
        "rgb": None, "scaled": 255 - (dark >> 8).astype(np.uint8)}
    yield "tiff-cmyk-8", tiff_file(noise(4, 8), 8, 5), {}
    for extra, name in ((0, "unspecified"), (1, "premultiplied"), (2, "straight")):
        yield f"tiff-rgba-8-{name}", tiff_file(noise(4, 8), 8, 2, extra=(extra,)), {}
        yield f"tiff-grey-alpha-8-{name}", tiff_file(noise(2, 8), 8, 1, extra=(extra,)), {}
    yield "tiff-rgb-two-extra", tiff_file(noise(5, 8), 8, 2, extra=(2, 0)), {}
    rgb, rgba = noise(3, 8), noise(4, 8)
    yield "tiff-one-strip", tiff_file(rgb, 8, 2, rows=height), {}
    yield "tiff-strips-of-one-row", tiff_file(rgb, 8, 2, rows=1), {}
    yield "tiff-planes", tiff_file(rgb, 8, 2, planar=True), {}
    deep = noise(3, 16)
    # Pillow reads these planes as if they had 8 bits.
    yield "tiff-planes-16", tiff_file(deep, 16, 2, planar=True), {"rgb": (deep >> 8).astype(np.uint8)}
    yield "tiff-tiles", tiff_file(rgb, 8, 2, tile=(16, 16)), {}
    big = rng.integers(0, 256, (37, 50, 3))
    yield "tiff-many-tiles", tiff_file(big, 8, 2, tile=(16, 16)), {}
    yield "tiff-many-tiles-deflate", tiff_file(big, 8, 2, tile=(32, 16), compression=8), {}
    yield "tiff-tiles-planes", tiff_file(big, 8, 2, tile=(16, 32), planar=True), {}
    yield "tiff-tiles-bits", tiff_file(rng.integers(0, 2, (20, 37, 1)), 1, 1, tile=(16, 16)), {}
    yield "tiff-tiles-rgba", tiff_file(rgba, 8, 2, tile=(16, 16), extra=(2,)), {}
    yield "tiff-deflate", tiff_file(rgb, 8, 2, compression=8), {}
    yield "tiff-deflate-predictor", tiff_file(rgb, 8, 2, compression=8, predictor=True), {}
    yield "tiff-deflate-predictor-16", tiff_file(noise(3, 16), 16, 2, compression=8, predictor=True), {}
    yield "tiff-packbits-across-rows", tiff_file(rgb, 8, 2, compression=32773), {}
    yield "tiff-bigtiff", tiff_file(rgb, 8, 2, big=True), {}
    # Pillow does not open these.
    yield "tiff-bigtiff-big-endian", tiff_file(rgb, 8, 2, ">", big=True), {"rgb": rgb.astype(np.uint8)}
    yield "tiff-two-pages", tiff_file(rgb, 8, 2, second_page=True), {}
    yield "tiff-reversed-bits", tiff_file(noise(1, 1), 1, 1, tags={266: (3, [2])}), {}
    for orientation in range(1, 9):
        file = tiff_file(rgb, 8, 2, tags={274: (3, [orientation])})
        # Pillow turns a TIFF when it loads it; what is stored is what it makes of orientation 1.
        yield f"tiff-orientation-{orientation}", file, {"rgb": rgb.astype(np.uint8), "turned": True}
    yield "tiff-bigtiff-orientation-6", tiff_file(rgb, 8, 2, big=True, tags={274: (3, [6])}), {
        "rgb": rgb.astype(np.uint8), "turned": True}
    photo = picture(rng, 43, 29)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield f"tiff-pillow-{compression}", saved(photo, "TIFF", compression=compression), {}
    yield "tiff-jpeg", saved(photo, "TIFF", compression="jpeg", quality=90), {"most": 3, "mean": 0.5}
    grey = saved(photo[..., 0].copy(), "TIFF", compression="jpeg", quality=90)
    yield "tiff-jpeg-grey", grey, {"most": 1, "mean": 0.1}
    bits = Image.fromarray(photo[..., 0].copy()).convert("1")
    for compression in ("group3", "group4", "tiff_ccitt"):
        yield f"tiff-{compression}", saved(bits, "TIFF", compression=compression), {}
    whole = picture(rng, 24, 16)
    yield "tiff-ycbcr", tiff_ycbcr(whole), {"most": 2, "mean": 1.0}


def tiff_ycbcr(photo):
    """YCbCr with colours at half the resolution, as in the specification's section 21: 2x2 Y, Cb, Cr."""
    planes = np.asarray(Image.fromarray(photo).convert("YCbCr")).astype(int)
    height, width = planes.shape[:2]
    data = b""
    for y in range(0, height, 2):
        for x in range(0, width, 2):
            block = planes[y:y + 2, x:x + 2]
            data += bytes([*block[..., 0].reshape(-1), int(block[..., 1].mean()), int(block[..., 2].mean())])
    tags = {256: (3, [width]), 257: (3, [height]), 258: (3, [8, 8, 8]), 259: (3, [8]), 262: (3, [6]), 277: (3, [3]),
            278: (3, [height]), 284: (3, [1]), 530: (3, [2, 2])}
    return tiff(tags, [zlib.compress(data)])


# -- AVIF and HEIC ---------------------------------------------------------------------------------------------------


def encoded_avif(array, *options):
    with tempfile.TemporaryDirectory() as folder:
        source, target = pathlib.Path(folder) / "in.png", pathlib.Path(folder) / "out.avif"
        Image.fromarray(array).save(source)
        subprocess.run(["avifenc", "-j", "1", *options, source, target], check=True, capture_output=True)
        return target.read_bytes()


def avif_cases(rng):
    near = {"most": 4, "mean": 1.0}
    # Colours at half the resolution: libheif repeats them, Pillow's libavif interpolates.
    half = {"most": 32, "mean": 4.5}
    photo = picture(rng, 40, 30)
    alpha = np.dstack([photo, np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))])
    yield "avif-444", saved(photo, "AVIF", quality=90, subsampling="4:4:4"), near
    yield "avif-420", saved(photo, "AVIF", quality=90, subsampling="4:2:0"), half
    yield "avif-grey", saved(photo[..., 0].copy(), "AVIF", quality=90), near
    yield "avif-alpha", saved(alpha, "AVIF", quality=90, subsampling="4:4:4"), near
    yield "avif-ten-bits", encoded_avif(photo, "-d", "10", "-y", "444", "--min", "0", "--max", "10"), near
    yield "avif-premultiplied", encoded_avif(
        alpha, "-p", "-y", "444", "--min", "0", "--max", "10"), {"most": 10, "mean": 2.0}
    tall = picture(rng, 128, 128)
    yield "avif-grid", encoded_avif(tall, "--grid", "2x2", "-y", "444", "--min", "0", "--max", "20"), near
    for turn in (1, 2, 3):
        yield f"avif-turned-{turn}", encoded_avif(
            photo, "--irot", str(turn), "-y", "444", "--min", "0", "--max", "10"), near
    yield "avif-mirrored", encoded_avif(
        photo, "--imir", "0", "-y", "444", "--min", "0", "--max", "10"), near
    frames = [Image.fromarray(picture(rng, 40, 30)) for _ in range(2)]
    yield "avif-sequence", saved(
        frames[0], "AVIF", quality=90, subsampling="4:4:4", save_all=True, append_images=frames[1:], duration=40), near


def heic_cases(rng):
    near = {"most": 4, "mean": 1.0}
    half = {"most": 32, "mean": 4.5}
    photo = picture(rng, 64, 48)
    alpha = np.dstack([photo, np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))])

    def heic(array, **options):
        buffer = io.BytesIO()
        image = pillow_heif.from_pillow(Image.fromarray(array))
        image.save(buffer, quality=90, **options)
        return buffer.getvalue()

    yield "heic-444", heic(photo, chroma="444"), near
    yield "heic-420", heic(photo), half
    yield "heic-alpha", heic(alpha, chroma="444"), near
    yield "heic-odd", heic(picture(rng, 51, 35), chroma="444"), near
    for orientation in (3, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        buffer = io.BytesIO()
        image = Image.fromarray(photo)
        image.info["exif"] = exif.tobytes()
        image.save(buffer, "HEIF", quality=90, chroma="444", exif=exif.tobytes())
        yield f"heic-exif-orientation-{orientation}", buffer.getvalue(), near


def profile_cases(rng):
    """A profile in every container that can hold one. It is sRGB's, so it changes no colour."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = picture(rng, 16, 12)
    near = {"most": 4, "mean": 1.0, "profile": profile}
    yield "tiff-profile", saved(photo, "TIFF", icc_profile=profile), {"profile": profile}
    yield "avif-profile", saved(
        photo, "AVIF", quality=90, subsampling="4:4:4", icc_profile=profile), near
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "HEIF", quality=90, chroma="444", icc_profile=profile)
    yield "heic-profile", buffer.getvalue(), near
    pixels = bmp_rows([line[:, ::-1].tobytes() for line in photo])
    # Behind the masks: the kind of colour space, its corners, gamma, intent, place and size of the profile.
    tail = b"DEBM" + bytes(48) + struct.pack("<III", 4, 124 + len(pixels), len(profile)) + bytes(4)
    yield "bmp-profile", bmp(16, 12, 24, pixels, header=124, masks=bytes(16), tail=tail) + profile, {
        "profile": profile}


def lying_cases():
    """Flat pictures of 2400 pixels a side in files that say 64: a few kilobytes that unfold to megabytes."""
    flat = Image.new("RGB", (2400, 2400), (10, 20, 30))
    head = b"ispe\0\0\0\0"
    for kind, name in (("HEIF", "heic"), ("AVIF", "avif")):
        buffer = io.BytesIO()
        flat.save(buffer, kind, quality=30)
        data = buffer.getvalue().replace(head + struct.pack(">II", 2400, 2400), head + struct.pack(">II", 64, 64))
        yield {"name": name, "file": b64(data)}


# -- putting them together ----------------------------------------------------------------------------------------------


def expected(data):
    """Pixels that Pillow makes of the file, upright: size, RGB, alpha or None."""
    image = Image.open(io.BytesIO(data))
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode == "La":
        image = image.convert("LA")
    rgb = np.asarray(image.convert("RGB"))
    alpha = None
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
    return rgb, alpha


def case(name, data, notes):
    entry = {"name": name, "format": name.split("-")[0], "file": b64(data)}
    try:
        rgb, alpha = expected(data)
    except Exception as error:  # Pillow cannot read everything that is read here
        if "rgb" not in notes:
            raise RuntimeError(name) from error
        rgb, alpha = None, None
    if notes.get("turned"):
        entry["upright"] = {"size": [rgb.shape[1], rgb.shape[0]], "rgb": b64(rgb.tobytes())}
    if "rgb" in notes:
        rgb = notes["rgb"]
    if "alpha" in notes:
        alpha = notes["alpha"]
    grey = notes.get("scaled")
    shape = rgb.shape if rgb is not None else grey.shape
    entry["size"] = [shape[1], shape[0]]
    if rgb is not None:
        entry["rgb"] = b64(rgb.tobytes())
    if grey is not None:
        entry["scaled"] = b64(np.repeat(grey.reshape(*shape[:2], 1), 3, 2).tobytes())
    if alpha is not None and (alpha != 255).any():
        entry["alpha"] = b64(alpha.tobytes())
    if "profile" in notes:
        entry["profile"] = b64(notes["profile"])
    return entry | {key: notes[key] for key in ("most", "mean") if key in notes}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("Tests/Fixtures/images"))
    parser.add_argument("--seed", type=int, default=20261)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    makers = [gif_cases, bmp_cases, tiff_cases, avif_cases, heic_cases, profile_cases]
    content = [case(name, data, notes) for make in makers for name, data, notes in make(rng)]
    files = {"formats.json": content, "lies.json": list(lying_cases())}
    versions = {"Pillow": PIL.__version__, "numpy": np.__version__, "libtiff": features.version("libtiff"),
                "libavif": features.version("avif"), "pillow-heif": pillow_heif.__version__,
                "libheif": pillow_heif.libheif_version()}
    path = arguments.output / "MANIFEST.json"
    manifest = [entry for entry in json.loads(path.read_text()) if entry["file"] not in files]
    for name, part in files.items():
        text = json.dumps(part, indent=0, separators=(",", ":")) + "\n"
        (arguments.output / name).write_text(text)
        manifest.append({"file": name, "sha256": hashlib.sha256(text.encode()).hexdigest(),
                         "generator": "Tools/reference/format_fixtures.py", "seed": arguments.seed,
                         "versions": versions})
        print(name, len(text), "bytes", len(part), "cases")
    path.write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
