"""Images of all kinds: whatever an image comes as, the encoder sees the same."""

import io
import os
import pathlib

import numpy
import PIL.Image
import pytest

import fastvlm


@pytest.fixture
def picture(samples):
    return PIL.Image.open(samples / "shapes-arrow.png").convert("RGB")


@pytest.fixture
def seen(model, picture):
    """What the encoder sees of the picture."""
    return model.encode(png(picture)).features


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_forms_of_a_file(model, samples):
    path = samples / "shapes-arrow.png"
    data = path.read_bytes()
    forms = [str(path), path, os.path.relpath(path), data, bytearray(data), memoryview(data), memoryview(data)[:]]
    expected = model.encode(data).features
    for form in forms:
        assert numpy.array_equal(model.encode(form).features, expected)


def test_names(model, samples, tmp_path, monkeypatch):
    data = (samples / "shapes-arrow.png").read_bytes()
    expected = model.encode(data).features
    odd = os.fsencode(tmp_path) + b"/\xff\xfe.png"
    with open(odd, "wb") as file:
        file.write(data)
    assert numpy.array_equal(model.encode(os.fsdecode(odd)).features, expected)
    (tmp_path / "100% ü#?.png").write_bytes(data)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path / "100% ü#?.png", "~/100% ü#?.png", "100% ü#?.png"):
        assert numpy.array_equal(model.encode(name).features, expected)


def test_pixels(model, picture, seen):
    assert numpy.array_equal(model.encode(picture).features, seen)
    array = numpy.asarray(picture)
    height, width, _ = array.shape
    wide = numpy.zeros((height, width + 7, 3), numpy.uint8)
    wide[:, :width] = array
    tall = numpy.zeros((2 * height, width, 3), numpy.uint8)
    tall[::2] = array
    views = {
        "as it is": array, "padded rows": wide[:, :width], "every other row": tall[::2],
        "upside down twice": array[::-1].copy()[::-1], "channels turned twice": array[..., ::-1].copy()[..., ::-1],
        "columns first": numpy.asfortranarray(array),
    }
    for name, view in views.items():
        assert numpy.array_equal(model.encode(view).features, seen), name


def test_grey(model, picture):
    grey = picture.convert("L")
    expected = model.encode(png(grey)).features
    array = numpy.asarray(grey)
    for form in (grey, array, array[..., None], numpy.stack([array] * 3, axis=2)):
        assert numpy.array_equal(model.encode(form).features, expected)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "I;16", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_modes_of_pillow(model, picture, mode):
    grey = picture.convert("L")
    image = (
        PIL.Image.fromarray(numpy.asarray(grey).astype(numpy.uint16) * 257) if mode == "I;16"
        else grey.convert("LA") if mode == "LA" else picture.convert(mode))
    assert image.mode == mode
    same = image if mode in ("RGBA", "LA", "P", "1", "I;16") else image.convert("RGB")
    assert numpy.array_equal(model.encode(image).features, model.encode(png(same)).features)


def test_transparency(model, picture):
    array = numpy.dstack([numpy.asarray(picture), numpy.full(picture.size[::-1], 90, numpy.uint8)])
    expected = model.encode(png(PIL.Image.fromarray(array))).features
    assert numpy.array_equal(model.encode(array).features, expected)
    assert not numpy.array_equal(model.encode(picture).features, expected)


def test_colour_profile_is_kept(model, picture):
    from PIL import ImageCms

    picture.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert model.encode(picture).features.size  # As a PNG with its profile.


@pytest.mark.parametrize("image, code, says", [
    (numpy.zeros((4, 4, 3), numpy.float32), "unsupportedImage", "uint8"),
    (numpy.zeros((3, 4, 5), numpy.uint8), "unsupportedImage", "shape"),
    (numpy.zeros((2, 2, 2, 3), numpy.uint8), "unsupportedImage", "shape"),
    (numpy.zeros((0, 4, 3), numpy.uint8), "unsupportedImage", "shape"),
    (PIL.Image.new("RGB", (0, 4)), "invalidImage", "nothing"),
    (b"", "invalidImage", "."),
    (b"GIF89a no image", "unsupportedImage", "GIF"),
    (b"\x89PNG\r\n\x1a\n broken", "invalidImage", "."),
    ("/nowhere/x.jpg", "unreadableImage", "/nowhere/x.jpg"),
    ("https://example.com/x.jpg", "unreadableImage", "download"),
    ("data:image/png;base64,AAAA", "unreadableImage", "download"),
    (pathlib.Path("/"), "unreadableImage", "/"),
    (7, "unsupportedImage", "int"),
    (object(), "unsupportedImage", "object"),
])
def test_no_images(model, image, code, says):
    for ask in (lambda: model.encode(image), lambda: model.answer("What is this?", image)):
        with pytest.raises(fastvlm.ImageError, match=says) as caught:
            ask()
        assert caught.value.code == code
        assert caught.value.kind == "image"


def test_formats(model, picture, seen, tmp_path):
    files = {name: tmp_path / f"x.{name}" for name in ("tiff", "gif", "bmp", "ppm")}
    for file in files.values():
        picture.save(file)
    assert numpy.array_equal(model.encode(files["ppm"]).features, seen)
    assert numpy.array_equal(model.encode(PIL.Image.open(files["tiff"])).features, seen)
    for name in ("tiff", "gif", "bmp"):
        with pytest.raises(fastvlm.ImageError) as caught:
            model.encode(files[name])
        assert caught.value.code == "unsupportedImage"
    with fastvlm.Model(threads=1, image_formats=["gif", "bmp"]) as more:
        assert numpy.array_equal(more.encode(files["bmp"]).features, seen)
        assert more.encode(files["gif"]).features.shape == seen.shape
        with pytest.raises(fastvlm.ImageError):
            more.encode(files["ppm"])


def test_limits():
    with fastvlm.Model(threads=1, maximum_side=50) as small, pytest.raises(fastvlm.ImageError) as caught:
        small.encode(numpy.zeros((51, 4, 3), numpy.uint8))
    error = caught.value
    assert (error.code, error.needed, error.limit, error.option) == ("imageTooLarge", 51, 50, "maximumSide")
