"""Requests named after the bugs of other servers that they would have caught, one test for each."""

import base64
import io
import json
import re
import struct
import time
import zlib

import PIL.Image
import pytest

from serving import BANANA, ROOT, Server, body, data_uri, image, in_threads, messages


def chat_about(server, data, kind="image/png", **fields):
    return server.chat(messages=messages(url=data_uri(data, kind)), **fields)


def encoded(width, height, mode="RGB", kind="png"):
    buffer = io.BytesIO()
    PIL.Image.new(mode, (width, height), 120).save(buffer, kind)
    return buffer.getvalue()


def png_header(width, height):
    """A PNG that says how large it is, with almost nothing behind."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b""))


INSIDE = [
    "http://127.0.0.1:{port}/v1/models", "http://localhost:{port}/", "https://169.254.169.254/latest/meta-data/",
    "https://metadata.google.internal/", "https://[::1]:{port}/", "https://[::ffff:127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/", "https://0x7f000001/", "https://2130706433/", "https://0177.0.0.1/", "https://127.1/",
    "https://10.0.0.1/", "https://192.168.1.1/", "https://100.100.100.200/", "https://168.63.129.16/",
]


def test_vllm_cve_2025_6242_addresses_are_not_fetched_by_default(server):
    for address in INSIDE + ["https://example.com/a.jpg"]:
        response = server.chat(messages=messages(url=address.format(port=server.port)))
        assert response.status == 400, address
        assert "--allow-remote-images" in response.json["error"]["message"]


@pytest.fixture(scope="module")
def fetching():
    with Server("--allow-remote-images") as running:
        yield running


@pytest.mark.parametrize("address", INSIDE)
def test_vllm_cve_2025_6242_addresses_of_the_inside(fetching, address):
    response = fetching.chat(messages=messages(url=address.format(port=fetching.port)))
    assert response.status == 400 and response.json["error"]["code"].startswith(("image_url", "invalid_image_url"))
    # What they resolve to is nobody's business.
    assert not re.search(r"\b(10|127|169|192)\.\d+\.\d+\.\d+\b", response.json["error"]["message"])


@pytest.mark.parametrize("address", [
    r"https://example.com\@127.0.0.1/", "https://example.com@127.0.0.1/", r"https://127.0.0.1\.example.com/",
    "https://example.com /", "https://exa\tmple.com/", "https://example.com\r\nHost: a/", "https://１２７.0.0.1/",
    "HTTPS://user:password@example.com/"])
def test_vllm_ghsa_v359_jj2v_j536_addresses_with_two_readings(fetching, address):
    response = fetching.chat(messages=messages(url=address))
    assert response.status == 400 and response.json["error"]["code"] == "invalid_image_url"


def test_vllm_pr_57825_redirects_to_the_inside():
    """The first host may be fetched from; where it sends on to may not."""
    import http.server
    import threading

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            if self.path == "/image":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(image())
                return
            self.send_response(302)
            self.send_header("Location", {
                "/inside": f"http://127.0.0.2:{port}/image", "/name": f"http://localhost:{port}/image",
                "/file": "file:///etc/passwd", "/self": "/self", "/good": "/image"}.get(self.path, "/"))
            self.end_headers()

        def log_message(self, *_):
            pass

    seen = []
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port = site.server_port
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        with Server(f"--allow-remote-images=http://127.0.0.1:{port}") as server:
            def ask(path):
                return server.chat(messages=messages(url=f"http://127.0.0.1:{port}{path}"))
            assert ask("/image").json["choices"][0]["message"]["content"] == BANANA
            assert ask("/good").json["choices"][0]["message"]["content"] == BANANA
            seen.clear()
            for path in ("/inside", "/name", "/file"):
                assert ask(path).status == 400
            assert "/image" not in seen
            seen.clear()
            assert ask("/self").json["error"]["code"] == "image_url_redirects"
            assert len(seen) == 4
    finally:
        site.shutdown()
        site.server_close()


@pytest.mark.parametrize("path", [
    "/etc/passwd", "file:///etc/passwd", "../../etc/passwd", "Samples/single-banana.jpg", "C:\\windows\\win.ini",
    "data:,file:///etc/passwd", "~/.ssh/id_rsa", "\\\\server\\share"])
def test_vllm_pr_43117_local_files(fetching, path):
    for form in (messages(url=path), [{"role": "user", "content": path}]):
        response = fetching.chat(messages=form)
        if response.status == 200:
            # As a text it is a text.
            assert form[0]["content"] == path and "root:" not in response.body.decode()
        else:
            assert response.status == 400 and b"root:" not in response.body


def test_cve_2026_22773_tiny_images(server):
    for width in (1, 2, 3, 5, 17):
        for height in (1, 2, 7):
            for shape in ((width, height), (height, width)):
                assert chat_about(server, encoded(*shape), max_tokens=2).status == 200, shape
    for shape in ((1, 5000), (5000, 1)):
        assert chat_about(server, encoded(*shape), max_tokens=2).status in (200, 400), shape
    for mode in ("L", "1", "P", "RGBA", "LA", "I;16"):
        assert chat_about(server, encoded(9, 9, mode), max_tokens=2).status == 200, mode


def test_cve_2026_22778_error_texts_give_nothing_away(server):
    damaged = image()[:300] + b"\xff" * 50 + image()[350:600]
    for data in (damaged, b"", b"no image", b"\xff\xd8\xff", image()[:100], png_header(100, 100), b"RIFF\0\0\0\0WEBPVP8 "):
        response = chat_about(server, data)
        assert response.status == 400
        text = response.body.decode()
        for secret in ("0x", str(ROOT), "/home", ".swift", "libjpeg", "libpng", "Error(", "fatal"):
            assert secret not in text, text
        # The id is what finds the rest in the log.
        assert response.json["error"]["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("side", [20_000, 100_000, 2**31 - 1])
def test_vllm_pr_47010_decoding_bombs(server, side):
    before = server.memory()
    response = chat_about(server, png_header(side, side))
    assert response.status == 400 and response.json["error"]["code"] in ("image_too_large", "invalid_image")
    assert server.memory() < before + 100e6
    # Many times at once: no sum of them either.
    in_threads(8, lambda _: chat_about(server, png_header(side, side)))
    assert server.memory() < before + 200e6


def test_cve_2025_46722_images_with_the_same_bytes_and_another_shape(server):
    """A wrong picture from a cache: the same pixels in rows of another length, and grey beside colour."""
    def raw(width, height, mode):
        buffer = io.BytesIO()
        PIL.Image.frombytes(mode, (width, height), bytes(range(256)) * 9).save(buffer, "png")
        return buffer.getvalue()
    pictures = [raw(48, 48, "L"), raw(24, 96, "L"), raw(96, 24, "L"), raw(16, 48, "RGB"), raw(48, 16, "RGB"), raw(24, 24, "RGBA")]
    def vectors():
        return [server.request("POST", "/v1/embeddings", {"input": data_uri(picture, "image/png")})
                .json["data"][0]["embedding"] for picture in pictures]
    first, again = vectors(), vectors()
    assert first == again and len({tuple(vector) for vector in first}) == len(pictures)


def test_vllm_pr_12621_prompts_that_share_a_beginning(server):
    """What is kept of one prompt never answers another: the same answers before and after, in any company."""
    names = ["single-banana.jpg", "word-codify.jpg", "single-helicopter.png", "word-raps.jpg"]
    questions = ["What is this?", "What does it say?", "What is this? What does it say?"]
    cases = [(name, question) for name in names for question in questions]

    def answer(case):
        return server.chat(messages=messages(case[1], data_uri(image(case[0]))), max_tokens=20).json["choices"][0]["message"]

    alone = [answer(case) for case in cases]
    together = in_threads(len(cases), lambda number: answer(cases[number]))
    backwards = [answer(case) for case in reversed(cases)][::-1]
    assert alone == together == backwards


def test_cve_2025_48956_huge_headers(server):
    with server.connect(timeout=10) as connection:
        try:
            connection.send("GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Large: ")
            for _ in range(64):
                connection.send("a" * (1 << 20))
            connection.send("\r\n\r\n")
            assert connection.head()[0] in (400, 431, 0)
        except OSError:
            pass
    assert server.request("GET", "/health").status == 200


@pytest.mark.parametrize("form", [
    {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "nothing"}}},
    {"type": "json_schema", "json_schema": {"name": "a", "schema": []}},
    {"type": "json_schema", "json_schema": {"name": "a"}}, {"type": "json_schema"}, {"type": "other"}, [], "json", 5,
    {"type": "json_schema", "json_schema": {"name": "a", "schema": {"$ref": "#"}}},
    {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "string", "pattern": "(((((a+)+)+)+)+)+$"}}},
    {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "string", "pattern": "(("}}},
    {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "string", "pattern": "a{1000000000}"}}},
], ids=range(12))
def test_cve_2025_48942_bad_schemas(server, form):
    start = time.monotonic()
    response = server.chat(response_format=form, max_tokens=5)
    # The nested groups are a plain expression for an automaton.
    assert response.status == (200 if "a+" in str(form) else 400) and time.monotonic() - start < 20
    assert server.chat().json["choices"][0]["message"]["content"] == BANANA


def test_cve_2025_48943_schemas_without_an_end(server):
    deep = '{"type": "array", "items": ' * 2000 + '{"type": "string"}' + "}" * 2000
    content = json.dumps(body(max_tokens=2, response_format={
        "type": "json_schema", "json_schema": {"name": "a", "schema": "?"}})).replace('"?"', deep)
    assert server.request("POST", "/v1/chat/completions", content.encode()).status == 400
    for depth in (10_000, 1_000_000):
        for opening in ("[", '{"a":'):
            bad = b'{"messages":' + (opening * depth).encode()
            assert server.request("POST", "/v1/chat/completions", bad).status == 400


NUMBERS = ["temperature", "top_p", "top_k", "min_p", "max_tokens", "max_completion_tokens", "n", "seed", "top_logprobs",
           "frequency_penalty", "presence_penalty", "repetition_penalty"]


@pytest.mark.parametrize("name", NUMBERS)
def test_cve_2026_21869_numbers_beyond_their_range(server, name):
    extremes = ["-1", "-9223372036854775808", "9223372036854775807", "9223372036854775808", "1e400", "-1e400", "1e-400",
                "NaN", "1.5", '"1"', "true", "[]", "{}", "-0.0", "18446744073709551616"]
    for text in extremes:
        fields = json.dumps(body(max_tokens=2) | {name: "?"}).replace('"?"', text)
        response = server.request("POST", "/v1/chat/completions", fields.encode())
        assert response.status in (200, 400), (name, text, response.body)
        if response.status == 400:
            assert response.json["error"]["message"], (name, text)
    options = {"temperature": "temperature", "top_k": "top_k", "max_tokens": "num_predict", "seed": "seed"}
    if name in options:
        for text in extremes:
            fields = json.dumps({"prompt": "Hi", "stream": False, "options": {options[name]: "?", "num_predict": 2}})
            response = server.request("POST", "/api/generate", fields.replace('"?"', text, 1).encode())
            assert response.status in (200, 400), (name, text, response.body)


@pytest.mark.parametrize("content", [
    b"", b"null", b"[]", b"5", b'"a"', b"{", b'{"messages":', b"\xff\xfe", b'{"messages": [null]}', b'{"a": 1} x',
    b'{"messages": "a"}', b'{"messages": [{"role": "user"}]}', b'{"messages": [{"role": 5, "content": "a"}]}',
    b'{"messages": [{"role": "user", "content": 5}]}', b'{"messages": [{"role": "user", "content": [5]}]}',
    b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
    b'{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 5}}]}]}',
    b'{"messages": [{"role": "user", "content": "\\ud800"}]}', b'{"messages": [{"role": "user", "content": "\xff"}]}',
    b'{"messages": [{"role": "user", "content": "a"}], "messages": []}', b'{"model": {}, "messages": []}',
    b'{"stream": "yes", "messages": [{"role": "user", "content": "a"}]}',
], ids=range(22))
def test_ollama_cve_2024_39720_bodies_that_break_readers(server, content):
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/api/chat", "/api/generate", "/api/show",
                 "/v1/describe"):
        response = server.request("POST", path, content)
        assert 200 <= response.status < 500, (path, response.status)
    assert server.request("POST", "/v1/chat/completions", content).status == 400


def test_ollama_cve_2025_1975_images_cut_at_each_byte(server):
    whole = encoded(6, 5)
    for end in range(0, len(whole) - 12):
        response = chat_about(server, whole[:end], max_tokens=1)
        # A PNG whose pixels are whole may lack its end.
        assert response.status == 400 or end > len(whole) - 24, end


def test_llama_cpp_13414_many_images(server):
    picture = {"type": "image_url", "image_url": {"url": data_uri(encoded(8, 8), "image/png")}}
    for count, statuses in ((16, (200, 400)), (17, (400,)), (500, (400,))):
        response = server.chat(messages=[{"role": "user", "content": [picture] * count}], max_tokens=2)
        assert response.status in statuses, (count, response.body)


def test_llama_cpp_27725_memory_does_not_grow_with_images(server):
    def turn(number):
        picture = PIL.Image.new("RGB", (700, 500), (number % 256, number * 7 % 256, number * 13 % 256))
        buffer = io.BytesIO()
        picture.save(buffer, "jpeg")
        assert chat_about(server, buffer.getvalue(), "image/jpeg", max_tokens=2).status == 200
    # What is kept of prompts is bounded, and full by then.
    for number in range(700):
        turn(number)
    before = server.memory()
    for number in range(700, 1000):
        turn(number)
    print(f"RssAnon + VmSwap {before / 1e6:.1f} -> {server.memory() / 1e6:.1f} MB over 300 further images")
    assert server.memory() < before + 20e6


def test_a_prompt_longer_than_the_context(server):
    response = server.chat(messages=messages("word " * 50_000))
    assert response.status == 400 and response.json["error"]["code"] == "context_length_exceeded"


def test_special_tokens_in_a_prompt_are_text(server):
    plain = server.chat(messages=messages("What is this?"))
    for words in ("<|im_end|>", "<|endoftext|>", "<image>", "<|im_start|>system"):
        response = server.chat(messages=messages("What is this?" + words))
        assert response.status == 200
        # One position would be a special token; as text they are several.
        assert response.json["usage"]["prompt_tokens"] > plain.json["usage"]["prompt_tokens"] + 1, words


def test_base64_that_is_none(server):
    for text in ("data:image/png;base64,", "data:image/png;base64,====", "data:image/png,abc", "data:", "%%%",
                 "data:image/png;base64," + "A" * 5, "data:image/png;base64,é", base64.b64encode(b"").decode()):
        assert server.chat(messages=messages(url=text or "x")).status == 400, text
