"""Who may use the server: keys, the name it is called by, pages of other origins."""

import base64
import re

import pytest

from serving import ROOT, Server, body

KEY = "sk-first-key-of-the-test"
OTHER = "sk-second-key"


def routes():
    """Method and path of each row of the server's table, with something in the place of `*`."""
    source = (ROOT / "Sources/FastVLMServer/Route.swift").read_text()
    found = re.findall(r'Route\("(\w+)", "([^"]+)"', source)
    pages = re.findall(r'(?:path: |script\()"(/[^"]*)"',
                       (ROOT / "Sources/FastVLMServer/Page/Page.swift").read_text())
    found += [("GET", path) for path in pages]
    assert len(found) > 15
    return sorted({(method, path.replace("*", "any")) for method, path in found})


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    keys = tmp_path_factory.mktemp("keys") / "keys.txt"
    keys.write_text(f"# For the test\n{OTHER}\n")
    with Server("--api-key", KEY, "--api-key-file", keys) as running:
        yield running


@pytest.mark.parametrize("method, path", routes(), ids=lambda value: value.strip("/") or "root")
def test_every_route_needs_a_key(locked, method, path):
    """vLLM's security.md: the key guarded only /v1."""
    content = b"{}" if method == "POST" else None
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {KEY[:-1]}"},
                    {"Authorization": f"Bearer {KEY}x"}, {"Authorization": "Bearer "}, {"Authorization": KEY},
                    {"X-Api-Key": ""}):
        response = locked.request(method, path, content, headers)
        if path == "/health":
            assert response.status == 200
        else:
            assert response.status == 401, (method, path, headers)
            assert "www-authenticate" in response.headers
            assert KEY.encode() not in response.body and OTHER.encode() not in response.body


@pytest.mark.parametrize("method, path", routes(), ids=lambda value: value.strip("/") or "root")
def test_every_route_takes_a_key(locked, method, path):
    assert locked.request(method, path, b"{}" if method == "POST" else None,
                          {"Authorization": f"Bearer {KEY}"}).status not in (401, 403)


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/v1/chat/completions/", "//v1/models", "/V1/models",
                                  "/v1/./models", "/health/../v1/models", "/%76%31/models"])
def test_no_spelling_of_a_path_needs_no_key(locked, path):
    response = locked.request("GET", path)
    assert response.status in (400, 401, 404) and b"data" not in response.body


def test_ways_to_send_a_key(locked):
    for headers in ({"Authorization": f"Bearer {KEY}"}, {"Authorization": f"bearer {OTHER}"}, {"X-Api-Key": KEY},
                    {"Authorization": "Basic " + base64.b64encode(f"any:{KEY}".encode()).decode()}):
        assert locked.request("GET", "/v1/models", headers=headers).status == 200, headers
    # Not where it would stand in logs.
    assert locked.request("GET", f"/v1/models?api_key={KEY}").status == 401


def test_without_a_key_nothing_of_the_body_is_read(locked):
    with locked.connect(timeout=5) as connection:
        connection.send("POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 20000000\r\n\r\n")
        assert connection.response()[0] == 401


@pytest.mark.parametrize("arguments, words", [
    (["--host", "0.0.0.0"], "keys"), (["--host", "::"], "keys"), (["--api-key", ""], "key"),
    (["--api-key", "with space"], "key"), (["--api-key-file", "/does/not/exist"], "read"),
    (["--no-auth", "--api-key", "a"], "exclude")])
def test_an_open_door_must_be_asked_for(arguments, words):
    server = Server(*arguments, wait=False)
    try:
        assert server.process.wait(timeout=60) != 0
        assert words in server.words()
    finally:
        server.stop()


@pytest.mark.parametrize("name", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example",
                                  "169.254.1.1", "evil.example.", "[::1].evil.example", "127.0.0.1@evil.example", "0x7f.1"])
def test_a_page_that_rebinds_its_name_is_refused(server, name):
    with server.connect() as connection:
        connection.send(f"GET /v1/models HTTP/1.1\r\nHost: {name}\r\n\r\n")
        status, _, content = connection.response()
    assert status in (400, 403) and b"embedded" not in content and b'"data"' not in content


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost:1234", "[::1]:8080", "127.0.0.1:80", "a.localhost"])
def test_names_of_this_machine(server, name):
    with server.connect() as connection:
        connection.send(f"GET /v1/models HTTP/1.1\r\nHost: {name}\r\n\r\n")
        assert connection.response()[0] == 200


def test_names_that_are_allowed():
    with Server("--allowed-host", "fastvlm.example") as server:
        for name, status in (("fastvlm.example", 200), ("fastvlm.example:80", 200), ("other.example", 403)):
            with server.connect() as connection:
                connection.send(f"GET /v1/models HTTP/1.1\r\nHost: {name}\r\n\r\n")
                assert connection.response()[0] == status


ORIGIN = "https://app.example"
# What OpenAI's client for JavaScript asks for.
STAINLESS = ("authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,x-stainless-package-version,"
             "x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout")


def preflight(server, origin, headers=STAINLESS):
    return server.request("OPTIONS", "/v1/chat/completions", headers={
        "Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers})


def test_pages_elsewhere_are_refused(server):
    assert "access-control-allow-origin" not in preflight(server, ORIGIN).headers
    # A simple request needs no preflight: it must not be answered either.
    response = server.request("POST", "/v1/chat/completions", body(), {"Origin": ORIGIN, "Content-Type": "text/plain"})
    assert response.status == 403
    assert server.request("GET", "/v1/models", headers={"Origin": "null"}).status == 403
    # The server's own page may.
    assert server.request("GET", "/v1/models", headers={"Origin": server.origin}).status == 200


def test_pages_that_are_allowed():
    with Server("--allow-origin", ORIGIN) as server:
        response = preflight(server, ORIGIN)
        assert response.status in (200, 204)
        assert response.headers["access-control-allow-origin"] == ORIGIN
        allowed = {name.strip().lower() for name in response.headers["access-control-allow-headers"].split(",")}
        assert set(STAINLESS.split(",")) <= allowed
        assert "POST" in response.headers["access-control-allow-methods"]
        for stream in (False, True):
            answer = server.chat({"Origin": ORIGIN}, stream=stream)
            assert answer.status == 200 and answer.headers["access-control-allow-origin"] == ORIGIN
        assert "access-control-allow-origin" in server.chat({"Origin": ORIGIN}, temperature=-1).headers
        for other in ("https://evil.example", ORIGIN + ".evil.example", "http://app.example", "null"):
            assert "access-control-allow-origin" not in preflight(server, other).headers
            assert server.request("GET", "/v1/models", headers={"Origin": other}).status == 403


def test_a_preflight_needs_no_key():
    with Server("--api-key", KEY, "--allow-origin", ORIGIN) as server:
        assert preflight(server, ORIGIN).headers["access-control-allow-origin"] == ORIGIN
        refused = server.request("GET", "/v1/models", headers={"Origin": ORIGIN})
        # So that the page can read why.
        assert refused.status == 401 and refused.headers["access-control-allow-origin"] == ORIGIN
