"""The page in a headless Chromium with a camera that shows a film, and the pictures of it for the documentation.

FASTVLM_SCREENSHOTS=1 writes docs/images/page-*.png; without it the pictures are made and thrown away.
"""

import os
import re
import shutil
import subprocess

import PIL.Image
import pytest

from serving import BANANA, LONG, ROOT, SAMPLES, Server, data_uri, image, messages

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if not CHROMIUM or not shutil.which("ffmpeg"):
    pytest.skip("needs Chromium and ffmpeg: apt-get install chromium ffmpeg", allow_module_level=True)

from playwright.sync_api import expect, sync_playwright  # noqa: E402


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A banana for three seconds and a helicopter for three, over and over."""
    folder = tmp_path_factory.mktemp("film")
    path = folder / "film.mjpeg"
    inputs = []
    for name in ("single-banana.jpg", "single-helicopter.png"):
        inputs += ["-loop", "1", "-t", "3", "-r", "30", "-i", str(SAMPLES / name)]
    scale = "scale=640:480:force_original_aspect_ratio=decrease,pad=640:480:-1:-1:white,setsar=1,format=yuvj420p"
    subprocess.run(["ffmpeg", "-v", "error", *inputs, "-filter_complex",
                    f"[0]{scale}[a];[1]{scale}[b];[a][b]concat=n=2:v=1", "-c:v", "mjpeg", "-q:v", "2", str(path)],
                   check=True, timeout=120)
    return path


@pytest.fixture(scope="module")
def browser(film):
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=[
            "--no-sandbox", "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}",
            "--host-resolver-rules=MAP cam.test 127.0.0.1"])


class Visit:
    """A page that was opened, with what the browser complained about."""

    def __init__(self, browser, address, **settings):
        self.complaints = []
        self.context = browser.new_context(viewport={"width": 1180, "height": 820}, **settings)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)

    def ask(self, question=None, file=None):
        if file:
            self.page.set_input_files("#file", SAMPLES / file)
        if question:
            self.page.fill("#question", question)
        self.page.press("#question", "Enter")

    def answer(self, text):
        expect(self.page.locator("#answer")).to_have_text(text, timeout=20_000)
        expect(self.page.locator("#answer")).to_have_attribute("aria-busy", "false", timeout=20_000)


@pytest.fixture
def visit(browser, request):
    visits = []

    def open_page(address, **settings):
        visits.append(Visit(browser, address, **settings))
        return visits[-1]

    yield open_page
    for each in visits:
        each.context.close()


def picture(page, name, tmp_path, **settings):
    path = (ROOT / "docs/images" if os.environ.get("FASTVLM_SCREENSHOTS") else tmp_path) / f"page-{name}.png"
    path.parent.mkdir(exist_ok=True)
    page.screenshot(path=path, animations="disabled", **settings)
    assert path.stat().st_size > 5000
    # Chromium writes quickly, not small; steps of 5 levels are not seen.
    with PIL.Image.open(path) as whole:
        whole.convert("RGB").point(lambda level: round(level / 5) * 5).save(path, optimize=True)
    assert path.stat().st_size < 150_000


def test_the_whole_image_is_shown(server, visit):
    here = visit(server.origin)
    here.page.set_input_files("#file", SAMPLES / "single-banana.jpg")
    expect(here.page.locator("#preview")).to_be_visible()
    image_box, stage = here.page.locator("#preview").bounding_box(), here.page.locator("#drop").bounding_box()
    assert image_box["height"] <= stage["height"] and image_box["width"] <= stage["width"]


def test_an_image_is_described(server, visit, tmp_path):
    # So that it is the page that is seen in the pictures, not a server that works for the first time.
    server.chat(messages=messages(url=data_uri(image("word-raps.jpg"))))
    here = visit(server.origin)
    # An image that the server has not seen, so that every stage takes time.
    PIL.Image.open(SAMPLES / "single-banana.jpg").save(tmp_path / "single-banana.png")
    here.ask("What is this?", file=tmp_path / "single-banana.png")
    here.answer(BANANA)
    page = here.page
    # Where the time went, in numbers that add up to the whole.
    legend = page.locator("#legend div").all_inner_texts()
    assert {text.split("\n")[0] for text in legend} >= {"Decode", "Preprocess", "Encode", "Project", "Prefill", "Transfer"}
    milliseconds = [float(text.split("\n")[1].removesuffix(" ms")) for text in legend if text.endswith(" ms")]
    whole = page.inner_text("#total")
    assert whole.endswith(" ms") and abs(sum(milliseconds) - float(whole[:-3])) < 3
    assert page.locator("#bar i").count() >= 4
    assert "tokens" in page.inner_text("#speed")
    here.ask("What does it say?", file="word-codify.jpg")
    expect(page.locator("#history li")).to_have_count(2, timeout=20_000)
    # An earlier run comes back when it is chosen.
    page.locator("#history button").nth(1).click()
    here.answer(BANANA)
    assert page.input_value("#question") == "What is this?"
    page.set_input_files("#file", SAMPLES / "single-banana.jpg")
    page.evaluate("() => document.activeElement.blur()")
    picture(page, "light", tmp_path, full_page=True)
    page.click("#clear")
    expect(page.locator("#history li")).to_have_count(0)
    assert here.complaints == []


def test_the_resolution_is_a_switch(server, visit):
    here = visit(server.origin)
    here.ask("What is this?", file="single-banana.jpg")
    here.answer(BANANA)
    page = here.page
    meta = server.request("GET", "/v1/models").json["data"][0]["meta"]
    sides = page.locator("#sizes label").all_inner_texts()
    assert [side.strip() for side in sides] == ["256", "512", "768", "1024"]
    assert page.locator("#sizes input:checked").input_value() == str(meta["image_size"])
    assert page.inner_text("#size-note") == f"{meta['n_image_tokens']} visual tokens"
    assert "resolution" not in page.text_content("#code-text")
    # What it does is seen at once: the question is asked again, and counted in fewer tokens.
    page.check("#sizes input[value='256']", force=True)
    expect(page.locator("#history li")).to_have_count(2, timeout=20_000)
    tokens = meta["n_image_tokens"] * 256 ** 2 // meta["image_size"] ** 2
    assert page.inner_text("#size-note") == f"{tokens} visual tokens"
    first, second = (int(page.locator("#history button").nth(i).get_attribute("title").split(", ")[1].split()[0])
                     for i in (1, 0))
    assert (first, second) == (meta["image_size"], 256)
    assert '"resolution": 256' in page.text_content("#code-text")
    page.click("#code summary")
    page.check("input[value=python]", force=True)
    assert 'extra_body={"resolution": 256}' in page.text_content("#code-text")
    assert here.complaints == []


def test_dark_and_narrow(server, visit, tmp_path):
    dark = visit(server.origin, color_scheme="dark")
    dark.ask(file="single-helicopter.png")
    expect(dark.page.locator("#history li")).to_have_count(1, timeout=20_000)
    ground = dark.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in re.findall(r"\d+", ground)) < 60
    dark.page.set_viewport_size({"width": 390, "height": 844})
    # Nothing sticks out.
    assert dark.page.evaluate("() => document.documentElement.scrollWidth") <= 390
    dark.page.click("#code summary")
    assert dark.page.evaluate("() => document.documentElement.scrollWidth") <= 390
    dark.page.click("#code summary")
    picture(dark.page, "narrow-dark", tmp_path, full_page=True)


def test_the_camera(server, visit, tmp_path):
    here = visit(server.origin, permissions=["camera"])
    page = here.page
    page.check("input[value=camera]", force=True)
    expect(page.locator("#video")).to_be_visible(timeout=20_000)
    expect(page.locator("#device option")).to_have_count(1)
    assert "mirrored" in page.get_attribute("#video", "class")
    page.uncheck("#mirror")
    assert "mirrored" not in (page.get_attribute("#video", "class") or "")
    page.check("#continuous")
    # The film goes on by itself, so both pictures are asked about, each about once per turn.
    expect(page.locator("#history")).to_contain_text("banana", timeout=30_000)
    expect(page.locator("#history")).to_contain_text("helicopter", timeout=30_000)
    page.wait_for_timeout(6000)
    count = page.locator("#history li").count()
    assert 2 <= count <= 8, "a picture that stays is not asked about again"
    # The camera's name is the film's path here.
    page.evaluate("() => { document.querySelector('#device option').textContent = 'Camera'; }")
    picture(page, "camera", tmp_path, full_page=True)
    page.keyboard.press("Escape")
    assert not page.is_checked("#continuous")
    page.check("input[value=file]", force=True)
    assert page.evaluate("() => document.getElementById('video').srcObject === null")
    assert here.complaints == []


def test_a_camera_that_is_not_allowed(server, visit):
    refused = visit(server.origin)
    refused.page.check("input[value=camera]", force=True)
    expect(refused.page.locator("#camera-words")).to_contain_text("Allow it for this page", timeout=20_000)


def test_a_page_of_another_machine_without_https(visit, tmp_path):
    with Server("--allowed-host", "cam.test") as server:
        here = visit(f"http://cam.test:{server.port}", permissions=[])
        here.page.check("input[value=camera]", force=True)
        words = here.page.locator("#camera-words")
        expect(words).to_contain_text(f"http://localhost:{server.port}")
        expect(words).to_contain_text("ssh -L")
        # The rest works.
        here.page.check("input[value=file]", force=True)
        here.ask("What is this?", file="single-banana.jpg")
        here.answer(BANANA)


def test_stop(server, visit):
    here = visit(server.origin)
    # The model would answer in a moment; the request is made into a long one on its way.
    def lengthen(route):
        import json
        content = json.loads(route.request.post_data) | LONG
        route.continue_(post_data=json.dumps(content))
    here.page.route("**/v1/chat/completions", lengthen)
    here.ask(file="single-banana.jpg")
    expect(here.page.locator("#stop")).to_be_enabled()
    expect(here.page.locator("#answer")).not_to_be_empty(timeout=20_000)
    here.page.keyboard.press("Escape")
    expect(here.page.locator("#status")).to_have_text("Stopped")
    assert server.is_idle_within(3)
    here.page.unroute("**/v1/chat/completions")
    here.ask("What is this?")
    here.answer(BANANA)


def test_paste_and_drop(server, visit):
    here = visit(server.origin)
    script = """([kind, target, uri]) => {
        const bytes = Uint8Array.from(atob(uri.split(",")[1]), (each) => each.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], kind + ".jpg", { type: "image/jpeg" }));
        const event = kind === "paste"
            ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
            : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
        document.querySelector(target).dispatchEvent(event);
    }"""
    for kind, target in (("paste", "#question"), ("drop", "#drop"), ("drop", "body")):
        here.page.evaluate(script, [kind, target, data_uri()])
        expect(here.page.locator("#status")).to_have_text(f"{kind}.jpg is chosen.")
        here.ask("What is this?")
        here.answer(BANANA)


def test_errors_are_shown_and_the_page_goes_on(server, visit):
    here = visit(server.origin)
    here.ask("What is this?")
    expect(here.page.get_by_role("alert")).to_contain_text("Choose an image")
    here.page.set_input_files("#file", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": image()[:500]})
    here.ask()
    expect(here.page.get_by_role("alert")).to_contain_text("image", timeout=20_000)
    here.ask("What is this?", file="single-banana.jpg")
    here.answer(BANANA)
    expect(here.page.locator("#alert")).to_be_hidden()


def test_a_server_with_a_key(browser, visit):
    with Server("--api-key", "sk-page") as server:
        here = visit(server.origin, http_credentials={"username": "any", "password": "sk-page"})
        here.ask("What is this?", file="single-banana.jpg")
        here.answer(BANANA)


def test_the_code_runs(server, visit):
    here = visit(server.origin)
    here.page.set_input_files("#file", SAMPLES / "single-banana.jpg")
    here.page.fill("#question", "What's 100 % \"this\" \\n $HOME `id`?")
    here.page.click("#code summary")
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    shell = subprocess.run(["sh", "-c", here.page.inner_text("#code-text")], cwd=SAMPLES, env=environment, text=True,
                           capture_output=True, timeout=60)
    assert "[DONE]" in shell.stdout, shell.stderr + shell.stdout
    here.page.fill("#question", "What is this?")
    shell = subprocess.run(["sh", "-c", here.page.inner_text("#code-text")], cwd=SAMPLES, env=environment, text=True,
                           capture_output=True, timeout=60)
    assert "banana" in shell.stdout
    here.page.check("input[value=python]", force=True)
    python = subprocess.run([os.sys.executable, "-c", here.page.inner_text("#code-text")], cwd=SAMPLES, env=environment,
                            text=True, capture_output=True, timeout=60)
    assert python.stdout == BANANA, python.stderr


def test_keyboard_and_names(server, visit):
    """Everything is reached by Tab and has a name that a screen reader can say."""
    here = visit(server.origin)
    page = here.page
    nameless = page.evaluate("""() => [...document.querySelectorAll("button, input, select, textarea, video")]
        .filter((each) => each.checkVisibility({ checkVisibilityCSS: true }))
        .filter((each) => !(each.labels?.length || each.getAttribute("aria-label") || each.textContent.trim()))
        .map((each) => each.outerHTML)""")
    assert nameless == []
    reached = set()
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.id || document.activeElement.name"))
    assert {"file", "source", "question", "ask"} <= reached, reached
    assert page.get_attribute("#answer", "aria-live") == "polite"
    assert page.get_attribute("html", "lang") == "en"
    assert page.locator("h1").count() == 1


def test_headers_of_the_page(server):
    for path in ("/", "/page.js", "/page.css", "/page.svg", "/client.js", "/picture.js", "/runs.js"):
        response = server.request("GET", path, headers={"Accept": "text/html"})
        assert response.status == 200 and len(response.body) > 200, path
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "no-cache" in response.headers["cache-control"]
    # Nothing from elsewhere.
    for file in (ROOT / "Sources/FastVLMServer/Page").glob("*.*"):
        if file.suffix in (".html", ".js", ".css"):
            addresses = set(re.findall(r"https?://[^\s\"'`$]+", file.read_text()))
            assert addresses <= {"http://localhost:"}, file
