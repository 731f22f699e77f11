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
import base64
import hashlib
import io
import json
import pathlib
import struct
import zlib

import numpy as np
import PIL
from PIL import Image, ImageCms, ImageOps, features


def b64(data):
    return base64.b64encode(bytes(data)).decode("ascii")


def noise(width, height):
    """[height, width, 3] uint8 by a formula that the Swift test repeats."""
    y, x, c = np.meshgrid(
        np.arange(height, dtype=np.uint64), np.arange(width, dtype=np.uint64),
        np.arange(3, dtype=np.uint64), indexing="ij")
    mixed = (x * 73856093) ^ (y * 19349663) ^ (c * 83492791)
    mixed = ((mixed & 0xFFFFFFFF) * 2654435761) & 0xFFFFFFFF
    return (mixed >> 24).astype(np.uint8)


def picture(rng, width, height, channels=3):
    """Smooth colours with some edges: closer to a photograph than noise."""
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for _ in range(channels):
        a, b, p = rng.uniform(0.05, 0.4, 3)
        plane = 128 + 80 * np.sin(a * x + p) * np.cos(b * y) + 40 * ((x // 7 + y // 5) % 2)
        planes.append(plane + rng.normal(0, 6, (height, width)))
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)


# -- PNG by hand: Pillow writes neither every depth nor interlacing -------------------------------------


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def pack_row(samples, depth):
    if depth == 16:
        return samples.astype(">u2").tobytes()
    if depth == 8:
        return samples.astype(np.uint8).tobytes()
    bits = ((samples[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8).reshape(-1)
    return np.packbits(bits).tobytes()


def filter_row(rng, row, above, step):
    kind = int(rng.integers(0, 5))
    row, above = np.frombuffer(row, np.uint8).astype(int), np.frombuffer(above, np.uint8).astype(int)
    left = np.concatenate([np.zeros(step, int), row])[: len(row)]
    corner = np.concatenate([np.zeros(step, int), above])[: len(row)]
    if kind == 4:
        p = left + above - corner
        pa, pb, pc = abs(p - left), abs(p - above), abs(p - corner)
        guess = np.where((pa <= pb) & (pa <= pc), left, np.where(pb <= pc, above, corner))
    else:
        guess = [0 * row, left, above, (left + above) // 2][kind]
    return bytes([kind]) + ((row - guess) & 255).astype(np.uint8).tobytes()


def png(rng, samples, colour, depth, interlaced=False, extra=b"", after=b""):
    """samples: [height, width, channels] integers below 2**depth."""
    height, width, channels = samples.shape
    step = max(1, channels * depth // 8)
    raw = b""
    for x0, y0, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        part = samples[y0::dy, x0::dx]
        if part.size == 0:
            continue
        above = None
        for line in part:
            row = pack_row(line.reshape(-1), depth)
            raw += filter_row(rng, row, above if above is not None else bytes(len(row)), step)
            above = row
    packed = zlib.compress(raw, 9)
    cut = len(packed) // 2
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", packed[:cut])
            + chunk(b"IDAT", packed[cut:]) + after + chunk(b"IEND", b""))


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
    gamma = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"bKGD", bytes(6))
    yield "png-gamma-background", png(rng, rgb, 2, 8, extra=gamma)
    for width, height in [(1, 1), (1, 9), (9, 1), (2, 2), (5, 3)]:
        samples = rng.integers(0, 256, (height, width, 3))
        yield f"png-interlaced-{width}x{height}", png(rng, samples, 2, 8, True)


# -- the other formats ------------------------------------------------------------------------------------


def saved(array, kind, mode=None, **options):
    buffer = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array, mode)).save(buffer, kind, **options)
    return buffer.getvalue()


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
    # An end marker in the middle: libjpeg paints the rest grey and Pillow accepts it.
    yield "jpeg-early-end-marker", plain[: len(plain) * 3 // 4] + b"\xff\xd9"


def webp_riff(chunks):
    body = b"WEBP" + b"".join(k + struct.pack("<I", len(d)) + d + b"\0" * (len(d) & 1) for k, d in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


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


def xmp(inside):
    return (b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            + inside + b"</rdf:RDF></x:xmpmeta>")


def xmp_attribute(orientation):
    return xmp(b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/>'
               % orientation)


def xmp_element(orientation):
    return xmp(b"<rdf:Description><tiff:Orientation>%d</tiff:Orientation></rdf:Description>" % orientation)


def tiff_block(orientation, tag=0x0112):
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<HHHIHH", 1, tag, 3, 1, orientation, 0) + bytes(4)


def app1(data):
    return b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data


def metadata_cases(rng):
    """Orientation outside of EXIF's usual place, by Pillow's order of precedence."""
    photo = Image.fromarray(picture(rng, 19, 12))
    plain = saved(photo, "JPEG", quality=90)
    packet = b"http://ns.adobe.com/xap/1.0/\0"
    exif = b"Exif\0\0"
    jpegs = {
        "xmp-attribute": [packet + xmp_attribute(6)], "xmp-element": [packet + xmp_element(8)],
        "xmp-two-packets": [packet + xmp_attribute(6), packet + xmp_attribute(3)],
        "xmp-nonsense": [packet + xmp_attribute(9)], "xmp-none": [packet + xmp(b"")],
        "exif-before-xmp": [packet + xmp_attribute(6), exif + tiff_block(1)],
        "exif-nonsense-before-xmp": [packet + xmp_attribute(6), exif + tiff_block(9)],
        "exif-without-orientation": [exif + tiff_block(72, 0x011A), packet + xmp_attribute(7)],
        "exif-in-two-segments": [exif + tiff_block(6)[:14], exif + tiff_block(6)[14:]],
        "exif-prefix-twice": [exif + exif + tiff_block(5)],
    }
    for name, segments in jpegs.items():
        yield f"meta-jpeg-{name}", plain[:2] + b"".join(map(app1, segments)) + plain[2:]
    samples = np.asarray(photo).astype(int)
    hexadecimal = (exif + tiff_block(6)).hex().encode()
    raw = b"Raw profile type exif\0", b"\nexif\n%8d\n%s\n%s\n" % (
        len(hexadecimal) // 2, hexadecimal[:20], hexadecimal[20:])
    name = b"XML:com.adobe.xmp\0"
    pngs = {
        "itxt": {"extra": chunk(b"iTXt", name + b"\0\0\0\0" + xmp_attribute(6))},
        "itxt-compressed": {"extra": chunk(b"iTXt", name + b"\1\0en\0x\0" + zlib.compress(xmp_element(3)))},
        "itxt-after-pixels": {"after": chunk(b"iTXt", name + b"\0\0\0\0" + xmp_attribute(8))},
        "raw-profile": {"extra": chunk(b"zTXt", raw[0] + b"\0" + zlib.compress(raw[1]))},
        "raw-profile-plain": {"extra": chunk(b"tEXt", raw[0] + raw[1])},
        "exif-before-raw-profile": {
            "extra": chunk(b"zTXt", raw[0] + b"\0" + zlib.compress(raw[1])) + chunk(b"eXIf", tiff_block(3))},
        "exif-without-orientation": {
            "extra": chunk(b"eXIf", tiff_block(72, 0x011A)) + chunk(b"iTXt", name + b"\0\0\0\0" + xmp_attribute(4))},
    }
    for name, chunks in pngs.items():
        yield f"meta-png-{name}", png(rng, samples, 2, 8, **chunks)
    yield "meta-webp-xmp", saved(photo, "WEBP", lossless=True, xmp=xmp_attribute(6))
    yield "meta-webp-exif-before-xmp", saved(
        photo, "WEBP", lossless=True, xmp=xmp_attribute(6), exif=exif + tiff_block(3))


# -- the defaults: transparency, depth, colour profiles ---------------------------------------------------


def over(image, background):
    """RGBA over a colour, in Pillow's arithmetic."""
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return canvas


WHITE = (255, 255, 255)


def transparent_cases(rng):
    """name, file, RGBA picture of Pillow's."""
    photo = picture(rng, 17, 9)
    alpha = rng.integers(0, 256, (9, 17, 1), dtype=np.uint8)
    alpha[2:5] = 0
    alpha[6:8] = 255
    colour = np.concatenate([photo, alpha], -1).astype(int)
    grey = colour[..., 2:]
    yield "png-rgba", png(rng, colour, 6, 8)
    yield "png-rgba-interlaced", png(rng, colour, 6, 8, True)
    yield "png-rgba-16", png(rng, colour * 256 + 99, 6, 16)
    yield "png-grey-alpha", png(rng, grey, 4, 8)
    yield "png-grey-alpha-16", png(rng, grey * 256 + 7, 4, 16)
    index = rng.integers(0, 16, (9, 17, 1))
    palette = chunk(b"PLTE", rng.integers(0, 256, 48, dtype=np.uint8).tobytes())
    for entries in (5, 16):
        trns = chunk(b"tRNS", rng.integers(0, 256, entries, dtype=np.uint8).tobytes())
        yield f"png-palette-trns-{entries}", png(rng, index, 3, 4, extra=palette + trns)
        yield f"png-palette-trns-{entries}-interlaced", png(rng, index, 3, 4, True, palette + trns)
    for depth in (1, 2, 4, 8):
        samples = rng.integers(0, 1 << depth, (9, 17, 1))
        key = chunk(b"tRNS", struct.pack(">H", int(samples[0, 0, 0])))
        yield f"png-grey{depth}-key", png(rng, samples, 0, depth, extra=key)
    samples = rng.integers(0, 3, (9, 17, 3)) * 100
    yield "png-rgb-key", png(rng, samples, 2, 8, extra=chunk(b"tRNS", struct.pack(">HHH", *map(int, samples[0, 0]))))
    rgba = np.ascontiguousarray(colour.astype(np.uint8))
    yield "webp-lossy", saved(rgba, "WEBP", quality=80)
    yield "webp-lossless", saved(rgba, "WEBP", lossless=True, exact=True)
    frames = [Image.fromarray(rgba), Image.fromarray(rgba[::-1].copy())]
    yield "webp-animation", saved(
        frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=40, lossless=True)
    yield "apng", saved(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=40)
    yield "apng-default-image", saved(
        frames[1], "PNG", save_all=True, append_images=frames, default_image=True, duration=40)


def default_case(name, data, image, background="white", tolerance=0):
    return {"name": name, "file": b64(data), "background": background, "size": image.size,
            "tolerance": tolerance, "rgb": b64(image.tobytes())}


def composited_cases(rng):
    backgrounds = {"white": WHITE, "black": (0, 0, 0), "#1e90ff": (0x1E, 0x90, 0xFF)}
    for name, data in transparent_cases(rng):
        image = Image.open(io.BytesIO(data))
        image.load()
        for background, colour in backgrounds.items():
            if background != "white" and name not in ("png-rgba", "png-palette-trns-5", "webp-lossy"):
                continue
            suffix = "" if background == "white" else "-" + background
            yield default_case(name + suffix, data, over(image.convert("RGBA"), colour), background)
        yield default_case(name + "-drop", data, image.convert("RGB"), "drop")
    # Pillow compares a key of 16 bits with 8; by hand.
    for channels, colour in ((1, 0), (3, 2)):
        samples = rng.integers(0, 65536, (7, 8, channels))
        samples[1, 2] = samples[3, 4] = samples[0, 0]
        samples[5, 5] = samples[0, 0] ^ 1
        key = chunk(b"tRNS", struct.pack(f">{channels}H", *map(int, samples[0, 0])))
        high = (samples >> 8).repeat(3 // channels, -1)
        high[(samples == samples[0, 0]).all(-1)] = 255
        yield default_case(f"png-colour{colour}-key-16", png(rng, samples, colour, 16, extra=key),
                           Image.fromarray(high.astype(np.uint8)))
    # A frame smaller than its canvas: nothing stands around it.
    small = picture(rng, 10, 8)
    still = saved(small, "WEBP", lossless=True)
    frame = b"".join(v.to_bytes(3, "little") for v in (2, 3, 9, 7, 40)) + b"\0" + still[12:]
    canvas = struct.pack("<I", 2) + (23).to_bytes(3, "little") + (17).to_bytes(3, "little")
    expected = np.full((18, 24, 3), 255, np.uint8)
    expected[6:14, 4:14] = small
    yield default_case("webp-animation-offset", webp_riff(
        [(b"VP8X", canvas), (b"ANIM", struct.pack("<IH", 0xFF804020, 0)), (b"ANMF", frame)]),
        Image.fromarray(expected))


def depth_cases(rng):
    samples = rng.integers(0, 65536, (9, 11, 1))
    high = Image.fromarray((samples >> 8).repeat(3, -1).astype(np.uint8))
    yield default_case("png-grey16", png(rng, samples, 0, 16), high)
    yield default_case("png-grey16-interlaced", png(rng, samples, 0, 16, True), high)
    for maximum in (300, 1023, 65535):
        grey = rng.integers(0, maximum + 1, (6, 7, 1))
        expected = np.rint(grey / maximum * 255).astype(np.uint8).repeat(3, -1)
        yield default_case(f"pgm-{maximum}", b"P5 7 6 %d\n" % maximum + grey.astype(">u2").tobytes(),
                           Image.fromarray(expected))


def icc_profile(tags, space=b"RGB "):
    """A version 2 display profile."""
    def padded(data):
        return data + bytes(-len(data) % 4)

    table, body = b"", b""
    offset = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += padded(data)
    size = offset + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(
        ">3I", 0xF6D6, 0x10000, 0xD32D)
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + table + body


def xyz(*values):
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in values))


def curve(gamma):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


SRGB_CURVE = b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, *(
    round(v * 65536) for v in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))


def rgb_profile(red, green, blue, curve):
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    return icc_profile({
        b"desc": text, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(*red), b"gXYZ": xyz(*green), b"bXYZ": xyz(*blue),
        b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey_profile(gamma):
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    return icc_profile({b"desc": text, b"cprt": b"text" + bytes(4) + b"none\0",
                        b"wtpt": xyz(0.9642, 1, 0.8249), b"kTRC": curve(gamma)}, b"GRAY")


DISPLAY_P3 = rgb_profile(
    (0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407), SRGB_CURVE)
ADOBE_RGB = rgb_profile(
    (0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457),
    curve(563 / 256))
RGB_709 = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


def strip_case(rng):
    """One row of blocks of a very wide JPEG: a test repeats its data between restart markers to make a picture
    of hundreds of megapixels out of a few kilobytes."""
    width, height = 16_000, 16
    x = np.arange(width // 16)
    colours = 128 + 100 * np.stack([np.sin(x / 40), np.cos(x / 60), np.sin(x / 25 + 1)], -1)
    strip = colours.round().astype(np.uint8).repeat(16, 0)[None].repeat(height, 0)
    data = saved(np.ascontiguousarray(strip), "JPEG", quality=50, subsampling="4:2:0", restart_marker_rows=1)
    return {"file": b64(data), "width": width, "height": height}


def profile_cases(rng):
    photo = Image.fromarray(picture(rng, 21, 14))
    grey = photo.convert("L")
    alpha = photo.copy()
    alpha.putalpha(Image.fromarray(rng.integers(0, 256, (14, 21), dtype=np.uint8)))
    srgb = ImageCms.createProfile("sRGB")

    def case(name, data, tolerance=1):
        image = Image.open(io.BytesIO(data))
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, profile, srgb, outputMode=mode)
        converted = over(converted, WHITE) if mode == "RGBA" else converted
        plain = over(image, WHITE) if mode == "RGBA" else image.convert("RGB")
        moved = np.abs(np.asarray(plain).astype(int) - np.asarray(converted)).max()
        assert moved > 8, (name, moved)
        return default_case(name, data, converted, tolerance=tolerance)

    channels_swapped = rgb_profile(RGB_709[1], RGB_709[2], RGB_709[0], SRGB_CURVE)
    for name, profile in {"p3": DISPLAY_P3, "adobe": ADOBE_RGB, "swapped": channels_swapped}.items():
        yield case(f"jpeg-{name}", saved(photo, "JPEG", quality=95, icc_profile=profile))
        yield case(f"png-{name}", saved(photo, "PNG", icc_profile=profile))
        yield case(f"webp-{name}", saved(photo, "WEBP", lossless=True, icc_profile=profile))
    yield case("png-rgba-p3", saved(alpha, "PNG", icc_profile=DISPLAY_P3), 2)
    yield case("jpeg-grey", saved(grey, "JPEG", quality=95, icc_profile=grey_profile(1.4)))
    yield case("png-grey", saved(grey, "PNG", icc_profile=grey_profile(1.4)))
    yield case("jpeg-in-two-segments", saved(
        photo, "JPEG", quality=95, icc_profile=DISPLAY_P3 + bytes(70_000)))
    # sRGB in other words, and what cannot be used: the pixels stay as they are, to the bit.
    own = ImageCms.ImageCmsProfile(srgb).tobytes()
    unchanged = {
        "srgb": own, "srgb-by-hand": rgb_profile(*RGB_709, SRGB_CURVE), "rubbish": b"not a profile" * 20,
        "cut": DISPLAY_P3[:300], "grey-for-colour": grey_profile(1.4),
    }
    for name, profile in unchanged.items():
        data = saved(photo, "JPEG", quality=95, icc_profile=profile)
        yield default_case(f"jpeg-{name}", data, Image.open(io.BytesIO(data)).convert("RGB"))
    inks = saved(Image.fromarray(picture(rng, 9, 8, 4), "CMYK"), "JPEG", quality=92, icc_profile=DISPLAY_P3)
    yield default_case("jpeg-cmyk", inks, Image.open(io.BytesIO(inks)).convert("RGB"))


# -- damages -----------------------------------------------------------------------------------------------

DAMAGED = [
    "jpeg-420", "jpeg-444-progressive", "jpeg-grey", "jpeg-restarts", "jpeg-cmyk-adobe", "png-colour2-depth8",
    "png-colour3-depth4-interlaced", "png-colour6-depth8", "webp-lossy", "webp-lossless",
    "webp-lossy-alpha",
]


def pillow_opens(data):
    """CRC-32 of Pillow's RGB, or None where it refuses."""
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > 1 << 20:
            return None
        return zlib.crc32(image.convert("RGB").tobytes())
    except Exception:
        return None


def damage_cases(rng, cases):
    files = {case["name"]: base64.b64decode(case["file"]) for case in cases}
    for name in DAMAGED:
        data = files[name]
        start = data.index(b"\xff\xda") if name.startswith("jpeg") else 12
        for kind in ["bit"] * 40 + ["marker"] * 40 + ["bytes"] * 20 + ["cut"] * 20:
            broken = bytearray(data)
            at = int(rng.integers(start, len(data) - 2))
            if kind == "bit":
                broken[at] ^= 1 << int(rng.integers(0, 8))
            elif kind == "marker":
                broken[at: at + 2] = bytes([255, int(rng.integers(1, 256))])
            elif kind == "bytes":
                broken[at: at + 4] = rng.integers(0, 256, 4, dtype=np.uint8).tobytes()
            elif kind == "cut":
                at = len(data) - 1 - int(rng.integers(0, 60)) if rng.integers(0, 2) else at
                del broken[at:]
            edits = [[i, b] for i, b in enumerate(broken) if b != data[i]]
            yield {"base": name, "kind": kind, "length": len(broken), "edits": edits,
                   "pillow": pillow_opens(bytes(broken))}


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
        text = json.dumps(content, indent=0, separators=(",", ":")) + "\n"
        (arguments.output / name).write_text(text)
        manifest.append({"file": name, "sha256": hashlib.sha256(text.encode()).hexdigest(),
                         "generator": "Tools/reference/image_fixtures.py", "seed": arguments.seed,
                         "versions": versions})
        print(name, len(text), "bytes")
    manifest_path.write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
