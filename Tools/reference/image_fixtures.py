"""Writes Tests/Fixtures/images: small files of every kind with the RGB bytes Pillow makes of them, and
bicubic resize and preprocessing cases. Seeded; run from the repository root:

    python Tools/reference/image_fixtures.py --output Tests/Fixtures/images

decode.json     cases: name, orientation-applied and plain expected size, file and RGB bytes in base64
resize.json     cases: sizes and expected bytes; the source is `noise(width, height)`, made again by the test
preprocess.json cases: geometry, size, expected 8-bit square; and normalisation tables as float32 bytes
defaults.json   cases where the defaults differ from convert("RGB"): transparency over a background, grey of
                16 bits, colour profiles; file, background, expected size and RGB bytes, tolerance
damages.json    files of decode.json with bytes changed or cut off, and what Pillow makes of them
bombs.json      PNG files with a few bytes that unfold to many, and the pixels they hold
MANIFEST.json   sha256 of each file, this generator, versions
"""

import argparse
import hashlib
import io
import json
import pathlib
import struct
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps, features

from image_defaults import (
    composited_cases, damage_cases, depth_cases, metadata_cases, profile_cases, strip_case)
from image_files import ARITHMETIC, CHANNELS, b64, chunk, noise, picture, png, saved, webp_riff


def png_cases(rng):
    for colour, depths in {0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16]}.items():
        for depth in depths:
            for interlaced in (False, True):
                samples = rng.integers(0, 1 << depth, (11, 13, CHANNELS[colour]))
                extra = b""
                if colour == 0 and depth == 16:
                    samples[::2] %= 300  # Pillow clips 16-bit grey to 255: show both sides of it
                if colour == 3:
                    entries = min(1 << depth, 200)
                    samples %= entries
                    extra = chunk(b"PLTE", rng.integers(0, 256, entries * 3, dtype=np.uint8).tobytes())
                name = f"png-colour{colour}-depth{depth}" + ("-interlaced" if interlaced else "")
                yield name, png(rng, samples, colour, depth, interlaced, extra)
    grey = rng.integers(0, 256, (9, 10, 1))
    yield "png-grey-trns", png(rng, grey, 0, 8, extra=chunk(b"tRNS", struct.pack(">H", int(grey[0, 0, 0]))))
    rgb = rng.integers(0, 256, (9, 10, 3))
    yield "png-rgb-trns", png(rng, rgb, 2, 8, extra=chunk(b"tRNS", struct.pack(">HHH", *map(int, rgb[0, 0]))))
    index = rng.integers(0, 16, (9, 10, 1))
    palette = chunk(b"PLTE", rng.integers(0, 256, 48, dtype=np.uint8).tobytes())
    alpha = chunk(b"tRNS", rng.integers(0, 256, 16, dtype=np.uint8).tobytes())
    yield "png-palette-trns", png(rng, index, 3, 4, extra=palette + alpha)
    yield "png-palette-short", png(rng, index, 3, 4, extra=chunk(b"PLTE", bytes(range(100, 118))))
    # Rows that repeat those 600 bytes before them, in a stream that declares a window of 256 instead of 32 KiB.
    rows = np.tile(rng.integers(0, 256, (4, 50, 3), dtype=np.uint8), (10, 1, 1))
    stream = bytearray(zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows), 9))
    stream[0:2] = bytes([0x08, 31 - (0x08 << 8) % 31])
    header = struct.pack(">IIBBBBB", 50, 40, 8, 2, 0, 0, 0)
    window = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", bytes(stream)) + chunk(b"IEND", b"")
    yield "png-small-window", window
    gamma = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"bKGD", bytes(6))
    yield "png-gamma-background", png(rng, rgb, 2, 8, extra=gamma)
    for width, height in [(1, 1), (1, 9), (9, 1), (2, 2), (5, 3)]:
        samples = rng.integers(0, 256, (height, width, 3))
        yield f"png-interlaced-{width}x{height}", png(rng, samples, 2, 8, True)


# -- the other formats ------------------------------------------------------------------------------------


def jpeg_cases(rng):
    photo = picture(rng, 43, 29)
    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        for progressive in (False, True):
            name = f"jpeg-{sampling.replace(':', '')}" + ("-progressive" if progressive else "")
            yield name, saved(photo, "JPEG", quality=88, subsampling=sampling, progressive=progressive)
    yield "jpeg-quality10", saved(photo, "JPEG", quality=10)
    yield "jpeg-restarts", saved(photo, "JPEG", quality=80, restart_marker_rows=1)
    yield "jpeg-rgb", saved(photo, "JPEG", quality=90, keep_rgb=True)
    yield "jpeg-grey", saved(photo[..., 0].copy(), "JPEG", quality=85)
    yield "jpeg-grey-progressive", saved(photo[..., 0].copy(), "JPEG", quality=85, progressive=True)
    inks = Image.fromarray(picture(rng, 21, 18, 4), "CMYK")
    cmyk = saved(inks, "JPEG", quality=92)
    yield "jpeg-cmyk-adobe", cmyk
    # Pillow writes CMYK with Adobe's marker and transform 0; transform 2 declares the same data YCCK.
    at = cmyk.index(b"Adobe")
    yield "jpeg-ycck-adobe", cmyk[: at + 11] + b"\x02" + cmyk[at + 12:]
    yield "jpeg-cmyk-no-marker", cmyk[: at - 4] + cmyk[at + 12:]
    yield "jpeg-cmyk-progressive", saved(inks, "JPEG", quality=75, progressive=True)
    for width, height in [(1, 1), (1, 17), (17, 1), (8, 8), (16, 16), (9, 31)]:
        yield f"jpeg-{width}x{height}", saved(picture(rng, width, height), "JPEG", quality=90)
    plain = saved(photo, "JPEG", quality=70)
    yield "jpeg-trailing-bytes", plain + b"after the end" * 3
    yield "jpeg-fill-bytes", plain[:2] + b"\xff\xff\xff" + plain[2:]
    yield "jpeg-arithmetic", ARITHMETIC
    # An end marker in the middle: libjpeg paints the rest grey and Pillow accepts it.
    yield "jpeg-early-end-marker", plain[: len(plain) * 3 // 4] + b"\xff\xd9"


def webp_cases(rng):
    photo = picture(rng, 37, 26)
    alpha = np.dstack([photo, rng.integers(0, 256, photo.shape[:2], dtype=np.uint8)])
    yield "webp-lossy", saved(photo, "WEBP", quality=80)
    yield "webp-lossy-low", saved(photo, "WEBP", quality=5)
    yield "webp-lossless", saved(photo, "WEBP", lossless=True)
    yield "webp-lossy-alpha", saved(alpha, "WEBP", quality=80)
    yield "webp-lossless-alpha-exact", saved(alpha, "WEBP", lossless=True, exact=True)
    clear = alpha.copy()
    clear[5:15, 5:20, 3] = 0
    yield "webp-lossless-alpha-cleared", saved(clear, "WEBP", lossless=True)
    for width, height in [(1, 1), (1, 13), (13, 1)]:
        yield f"webp-{width}x{height}", saved(picture(rng, width, height), "WEBP", quality=75)
    frames = [Image.fromarray(picture(rng, 24, 20)) for _ in range(3)]
    yield "webp-animation", saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=40)
    clear_frames = [Image.fromarray(alpha), Image.fromarray(alpha[::-1].copy())]
    yield "webp-animation-alpha", saved(
        clear_frames[0], "WEBP", save_all=True, append_images=clear_frames[1:], duration=40, lossless=True)
    # A first frame smaller than its canvas, which Pillow cannot write.
    still = saved(picture(rng, 10, 8), "WEBP", lossless=True)
    canvas = struct.pack("<I", 2) + (23).to_bytes(3, "little") + (17).to_bytes(3, "little")
    frame = b"".join(v.to_bytes(3, "little") for v in (2, 3, 9, 7, 40)) + b"\0" + still[12:]
    animation = struct.pack("<IH", 0xFF804020, 0)
    yield "webp-animation-offset", webp_riff(
        [(b"VP8X", canvas), (b"ANIM", animation), (b"ANMF", frame), (b"ANMF", frame)])


def pnm_cases(rng):
    def text(values):
        return " ".join(str(int(v)) for v in np.ravel(values)).encode()

    bits = rng.integers(0, 2, (5, 11))
    yield "pnm-p1", b"P1\n# a comment\n11 5\n" + text(bits)
    yield "pnm-p1-packed", b"P1 11 5\n" + text(bits).replace(b" ", b"") + b"\n"
    yield "pnm-p4", b"P4 11 5\n" + np.packbits(bits.astype(np.uint8), axis=1).tobytes()
    for maximum in (1, 100, 255, 300, 1023, 65535):
        grey = rng.integers(0, maximum + 1, (6, 7))
        rgb = rng.integers(0, maximum + 1, (6, 7, 3))
        kind = ">u2" if maximum > 255 else "u1"
        head = b" 7 6 %d\n" % maximum
        yield f"pnm-p2-{maximum}", b"P2" + head + text(grey) + b"\n"
        yield f"pnm-p3-{maximum}", b"P3" + head + text(rgb) + b"\n"
        yield f"pnm-p5-{maximum}", b"P5" + head + grey.astype(kind).tobytes()
        yield f"pnm-p6-{maximum}", b"P6" + head + rgb.astype(kind).tobytes()
    yield "pnm-p6-comments", b"P6 # one\n# two\n 2 # three\n1\n255\n" + bytes([1, 2, 3, 4, 5, 6])
    yield "pnm-p2-comments", b"P2 3 1 255\n1 # one\n 2\n#two\n3"
    yield "pnm-p5-above-maximum", b"P5 3 1 100\n" + bytes([50, 100, 200])


def exif_cases(rng):
    photo = Image.fromarray(picture(rng, 19, 12))
    for orientation in range(0, 10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        yield f"exif-jpeg-{orientation}", saved(photo, "JPEG", quality=90, exif=exif)
        if orientation in (3, 6, 7):
            yield f"exif-png-{orientation}", saved(photo, "PNG", exif=exif)
            yield f"exif-webp-{orientation}", saved(photo, "WEBP", lossless=True, exif=exif)
    # Big-endian, other entries first, the value among them.
    entries = [(0x010F, 2, 4, b"abc\0"), (0x0112, 3, 1, b"\0\x08\0\0"), (0x011A, 3, 1, b"\0\1\0\0")]
    tiff = b"MM\0*" + struct.pack(">I", 8) + struct.pack(">H", len(entries))
    tiff += b"".join(struct.pack(">HHI", t, k, n) + v for t, k, n, v in entries) + bytes(4)
    yield "exif-jpeg-big-endian", saved(photo, "JPEG", quality=90, exif=b"Exif\0\0" + tiff)
    samples = np.asarray(photo).astype(int)
    yield "exif-png-after-pixels", png(rng, samples, 2, 8, after=chunk(b"eXIf", tiff))


def decode_case(name, data):
    image = Image.open(io.BytesIO(data))
    image.load()
    plain = image.convert("RGB")
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    case = {"name": name, "file": b64(data), "size": plain.size, "rgb": b64(plain.tobytes())}
    if turned.tobytes() != plain.tobytes() or turned.size != plain.size:
        case |= {"uprightSize": turned.size, "uprightRGB": b64(turned.tobytes())}
    return case


def bomb_cases(rng):
    """Pillow refuses some of these, so the expected pixels come from the same picture without the bomb."""
    photo = picture(rng, 13, 11)
    samples = photo.astype(int)
    zeros = zlib.compress(bytes(4 << 20), 9)
    inside = {
        "zTXt": b"Comment\0\0" + zeros, "iCCP": b"profile\0\0" + zeros,
        "iTXt": b"Comment\0\1\0\0\0" + zeros, "eXIf": bytes(1 << 16),
    }
    for kind, data in inside.items():
        file = png(rng, samples, 2, 8, extra=chunk(kind.encode(), data))
        yield {"name": kind, "file": b64(file), "rgb": b64(photo.tobytes())}
    raw = b"".join(b"\0" + row.tobytes() for row in photo) + bytes(4 << 20)
    header = struct.pack(">IIBBBBB", 13, 11, 8, 2, 0, 0, 0)
    file = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9))
            + chunk(b"IEND", b""))
    yield {"name": "IDAT", "file": b64(file), "rgb": b64(photo.tobytes())}


# -- resize and preprocessing ------------------------------------------------------------------------------


def resize_cases():
    sizes = [
        (1, 1, 5, 7), (1, 40, 9, 13), (40, 1, 13, 9), (2, 3, 31, 17), (13, 7, 13, 7), (13, 7, 13, 20),
        (13, 7, 30, 7), (37, 23, 64, 64), (64, 64, 23, 37), (101, 67, 33, 21), (257, 3, 11, 5),
        (3, 257, 5, 11), (640, 41, 7, 40), (31, 900, 30, 7), (199, 201, 64, 66), (50, 50, 49, 51),
        (999, 2, 1, 1), (8, 8, 4, 4),
        # Either side of the rule by which Pillow 13 takes columns first.
        (60, 60, 50, 40), (60, 60, 50, 39), (20, 90, 40, 89), (90, 300, 30, 100),
    ]
    for w, h, to_w, to_h in sizes:
        result = Image.fromarray(noise(w, h)).resize((to_w, to_h), Image.BICUBIC)
        yield {"source": [w, h], "target": [to_w, to_h], "rgb": b64(result.tobytes())}


def expand2square(image, background):
    """As in LLaVA's mm_utils.py."""
    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Image.new("RGB", (side, side), background)
    square.paste(image, (0, (side - height) // 2) if width > height else ((side - width) // 2, 0))
    return square


def preprocess(image, geometry, size, background):
    """8-bit square [size, size, 3] of the processors of transformers 4.48 (the PIL path)."""
    if geometry == "pad":
        return expand2square(image, background).resize((size, size), Image.BICUBIC)
    width, height = image.size
    short, long = min(width, height), max(width, height)
    new_long = int(size * long / short)
    target = (size, new_long) if width <= height else (new_long, size)
    resized = image.resize(target, Image.BICUBIC)
    left, top = (target[0] - size) // 2, (target[1] - size) // 2
    return resized.crop((left, top, left + size, top + size))


def preprocess_cases():
    clip = (122, 116, 104)
    plan = [
        ("pad", 64, (0, 0, 0), [(100, 50), (50, 101), (64, 64), (64, 20), (21, 64), (1, 40), (40, 1), (1, 1),
                                (700, 431), (431, 700), (1500, 3)]),
        ("pad", 64, clip, [(90, 33), (33, 90), (1, 40), (900, 500), (640, 20)]),
        ("pad", 128, clip, [(333, 200)]),
        ("crop", 64, (0, 0, 0), [(100, 50), (50, 101), (64, 64), (64, 65), (1, 40), (40, 1), (700, 431),
                                 (431, 700), (37, 36), (90, 400), (400, 90), (128, 257)]),
    ]
    for geometry, size, background, sources in plan:
        for source in sources:
            square = preprocess(Image.fromarray(noise(*source)), geometry, size, background)
            assert square.size == (size, size)
            yield {"geometry": geometry, "size": size, "background": background, "source": source,
                   "rgb": b64(square.tobytes())}


def normalisation_tables():
    statistics = [
        ([0, 0, 0], [1, 1, 1]), ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
        ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    ]
    for mean, std in statistics:
        levels = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
        table = (levels[:, None] - np.array(mean, np.float32)) / np.array(std, np.float32)
        yield {"mean": mean, "std": std, "table": b64(table.astype("<f4").tobytes())}


def lines(content):
    """JSON with one case a line, so that differences can be read."""
    if isinstance(content, dict):
        return json.dumps(content, indent=0, separators=(",", ":")) + "\n"
    return "[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in content) + "\n]\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("Tests/Fixtures/images"))
    parser.add_argument("--seed", type=int, default=20260)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    makers = [jpeg_cases, png_cases, webp_cases, pnm_cases, exif_cases, metadata_cases]
    decode = [decode_case(name, data) for make in makers for name, data in make(rng)]
    defaults = [composited_cases, depth_cases, profile_cases]
    files = {
        "decode.json": decode,
        "defaults.json": [case for make in defaults for case in make(rng)],
        "strip.json": strip_case(rng),
        "damages.json": list(damage_cases(rng, decode)),
        "bombs.json": list(bomb_cases(rng)),
        "resize.json": list(resize_cases()),
        "preprocess.json": {"squares": list(preprocess_cases()), "tables": list(normalisation_tables())},
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    manifest_path = arguments.output / "MANIFEST.json"
    known = json.loads(manifest_path.read_text()) if manifest_path.exists() else []
    # Other generators write into the same folder.
    manifest = [entry for entry in known if entry["generator"] != "Tools/reference/image_fixtures.py"]
    versions = {"Pillow": PIL.__version__, "numpy": np.__version__,
                "libjpeg-turbo": features.version("libjpeg_turbo"), "libwebp": features.version("webp")}
    for name, content in files.items():
        text = lines(content)
        (arguments.output / name).write_text(text)
        manifest.append({"file": name, "sha256": hashlib.sha256(text.encode()).hexdigest(),
                         "generator": "Tools/reference/image_fixtures.py", "seed": arguments.seed,
                         "versions": versions})
        print(name, len(text), "bytes")
    manifest_path.write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
