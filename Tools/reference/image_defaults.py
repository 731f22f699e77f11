"""Images where the defaults differ from Pillow's convert("RGB"), orientation outside of EXIF's usual place, and
damaged files; used by image_fixtures.py."""

import base64
import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageCms

from image_files import b64, chunk, picture, png, saved, webp_riff


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
    for depth in (1, 8):
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
    # Of 2 and 4 bits it compares the key with the widened values.
    for depth in (2, 4):
        samples = rng.integers(0, 1 << depth, (9, 17, 1))
        samples[0, 0] = 2
        key = chunk(b"tRNS", struct.pack(">H", 2))
        wide = samples * 255 // ((1 << depth) - 1)
        wide[samples == 2] = 255
        yield default_case(f"png-grey{depth}-key", png(rng, samples, 0, depth, extra=key),
                           Image.fromarray(wide.repeat(3, -1).astype(np.uint8)))
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
    own = own[:24] + bytes(12) + own[36:]  # the time of its making
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
    """Of every file: single bits, stray markers, four bytes, and cuts, many of them near the end."""
    files = {case["name"]: base64.b64decode(case["file"]) for case in cases}
    for name in DAMAGED:
        data = files[name]
        start = data.index(b"\xff\xda") if name.startswith("jpeg") else 12
        for kind in ["bit"] * 40 + ["marker"] * 40 + ["bytes"] * 20 + ["cut"] * 20:
            broken = bytearray(data)
            at = int(rng.integers(start, len(data) - 4))
            if kind == "bit":
                broken[at] ^= 1 << int(rng.integers(0, 8))
            elif kind == "marker":
                broken[at: at + 2] = bytes([255, int(rng.integers(1, 256))])
            elif kind == "bytes":
                broken[at: at + 4] = rng.integers(0, 256, 4, dtype=np.uint8).tobytes()
            elif kind == "cut":
                at = len(data) - 1 - int(rng.integers(0, 60)) if rng.integers(0, 2) else at
                del broken[at:]
            edits = " ".join(f"{i}:{b}" for i, b in enumerate(broken) if b != data[i])
            yield {"base": name, "kind": kind, "length": len(broken), "edits": edits,
                   "pillow": pillow_opens(bytes(broken))}
