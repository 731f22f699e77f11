"""HTTP byte by byte: clients that leave, are slow, send too much or send nonsense."""

import json
import re
import subprocess
import time

import pytest

from serving import BANANA, LONG, ROOT, Server, body, free_port, in_threads

COMPLETIONS = "/v1/chat/completions"


@pytest.fixture(scope="module")
def strict():
    """A server whose patience is short."""
    with Server("--body-timeout", 2, "--max-body", 4, "--idle-timeout", 3) as running:
        yield running


# Clients that leave

@pytest.mark.parametrize("streams", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("way", ["close", "reset", "half-close"])
def test_a_client_that_leaves_is_noticed(server, streams, way):
    connection = server.connect()
    connection.post(COMPLETIONS, body(stream=streams, **LONG))
    if streams:
        assert connection.head()[0] == 200
    else:
        time.sleep(0.4)
    assert server.is_busy(), "the request is over before its client left; it shows nothing"
    if way == "close":
        connection.close()
    elif way == "reset":
        connection.reset()
    else:
        connection.socket.shutdown(1)
    assert server.is_idle_within(3)
    connection.close()
    assert server.chat().json["choices"][0]["message"]["content"] == BANANA


@pytest.mark.parametrize("streams", [True, False], ids=["stream", "plain"])
def test_a_connection_is_kept(server, streams):
    with server.connect() as connection:
        for _ in range(3):
            connection.post(COMPLETIONS, body(stream=streams))
            status, headers, content = connection.response()
            assert status == 200 and headers.get("connection", "").lower() != "close"
            assert b"banana" in content if not streams else b"[DONE]" in content
        # After a refusal too.
        connection.post(COMPLETIONS, b"{")
        assert connection.response()[0] == 400
        connection.get("/v1/models")
        assert connection.response()[0] == 200


def test_a_client_that_leaves_while_it_waits_in_the_queue(server):
    busy = [server.connect() for _ in range(3)]
    for connection in busy:
        connection.post(COMPLETIONS, body(**LONG))
    waiting = [server.connect() for _ in range(8)]
    for connection in waiting:
        connection.post(COMPLETIONS, body(**LONG))
    time.sleep(0.3)
    for connection in waiting + busy:
        connection.reset()
    assert server.is_idle_within(4)


def test_a_client_that_leaves_in_the_middle_of_its_body(server):
    for _ in range(20):
        connection = server.connect()
        connection.send(f"POST {COMPLETIONS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n" + "x" * 5000)
        connection.reset()
    assert server.is_idle_within(3)
    assert server.chat().status == 200


# Pipelining, 100-continue

def test_pipelined_requests_are_answered_in_order(server):
    with server.connect() as connection:
        connection.post(COMPLETIONS, body())
        connection.get("/v1/models")
        connection.post(COMPLETIONS, body(stream=True))
        connection.get("/api/version")
        first, second, third, fourth = (connection.response() for _ in range(4))
    assert json.loads(first[2])["choices"][0]["message"]["content"] == BANANA
    assert json.loads(second[2])["object"] == "list"
    assert b"[DONE]" in third[2]
    assert json.loads(fourth[2])["version"]


def test_expect_continue_is_answered_at_once(server):
    with server.connect(timeout=5) as connection:
        content = json.dumps(body()).encode()
        start = time.monotonic()
        connection.send(f"POST {COMPLETIONS} HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\n"
                        f"Content-Length: {len(content)}\r\n\r\n")
        assert connection.head()[0] == 100
        # curl waits a second for this.
        assert time.monotonic() - start < 0.5
        connection.send(content)
        assert connection.response()[0] == 200


def test_expect_continue_is_refused_before_the_body(strict):
    with strict.connect(timeout=5) as connection:
        connection.send(f"POST {COMPLETIONS} HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\n"
                        "Content-Length: 900000000\r\n\r\n")
        assert connection.response()[0] == 413
        assert connection.is_closed()


# Too much

def test_a_body_that_is_announced_too_large(strict):
    with strict.connect(timeout=5) as connection:
        connection.send(f"POST {COMPLETIONS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000000\r\n\r\n")
        status, headers, content = connection.response()
        # Nothing of the body was sent, so nothing of it was waited for.
        assert status == 413 and "bytes" in json.loads(content)["error"]["message"]
        assert headers["connection"] == "close" and connection.is_closed()


def test_a_chunked_body_that_becomes_too_large(strict):
    with strict.connect(timeout=10) as connection:
        connection.send(f"POST {COMPLETIONS} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"40000\r\n" + b" " * 0x40000 + b"\r\n"
        sent = 0
        try:
            for _ in range(200):
                connection.send(chunk)
                sent += 0x40000
        except OSError:
            pass
        # It is not read to its end, as 50 MB would have been.
        assert sent < 30_000_000
        try:
            assert connection.head()[0] in (413, 0)
        except ConnectionResetError:
            pass
    assert strict.memory() < 400e6


def test_a_chunked_body_is_read(server):
    with server.connect() as connection:
        content = json.dumps(body()).encode()
        connection.send(f"POST {COMPLETIONS} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(content), 1000):
            part = content[start:start + 1000]
            connection.send(b"%x\r\n%s\r\n" % (len(part), part))
        connection.send("0\r\n\r\n")
        assert connection.response()[0] == 200


@pytest.mark.parametrize("field", ["one", "many"])
def test_headers_that_are_too_large(server, field):
    with server.connect(timeout=10) as connection:
        try:
            connection.send("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n")
            if field == "one":
                connection.send("X: " + "a" * 2_000_000 + "\r\n\r\n")
            else:
                connection.send("".join(f"X-{number}: a\r\n" for number in range(100_000)) + "\r\n")
        except OSError:
            return
        try:
            assert connection.head()[0] in (400, 431, 0)
        except ConnectionResetError:
            pass


# Slow

def test_a_slow_head_times_out(strict):
    with strict.connect(timeout=20) as connection:
        start = time.monotonic()
        try:
            for byte in "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + "a" * 100:
                connection.send(byte)
                time.sleep(0.2)
        except OSError:
            pass
        assert connection.is_closed() or time.monotonic() - start < 15
        assert time.monotonic() - start < 15


def test_a_slow_body_times_out(strict):
    with strict.connect(timeout=20) as connection:
        connection.send(f"POST {COMPLETIONS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n")
        start = time.monotonic()
        try:
            for _ in range(60):
                connection.send(" ")
                time.sleep(0.1)
        except OSError:
            pass
        try:
            assert connection.head()[0] in (408, 0)
        except ConnectionResetError:
            pass
        assert time.monotonic() - start < 8


def test_a_long_answer_does_not_time_out(strict):
    # Longer than the patience with bodies and idle connections.
    def long(_):
        return strict.chat(timeout=120, **LONG)
    start = time.monotonic()
    responses = in_threads(6, long)
    assert all(response.status == 200 for response in responses)
    assert all(response.json["usage"]["completion_tokens"] == 4 * LONG["max_tokens"] for response in responses)
    assert time.monotonic() - start > 3, "too fast to show anything"


def test_an_idle_connection_is_closed(strict):
    with strict.connect(timeout=15) as connection:
        connection.get("/health")
        assert connection.response()[0] == 200
        assert connection.is_closed()


# Nonsense

@pytest.mark.parametrize("words", [
    b"\r\n\r\n", b"hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 5\r\n\r\n0\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /\0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"GET /%00%ff%zz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
    b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", b"\xff" * 3000 + b"\r\n\r\n",
], ids=range(18))
def test_nonsense_is_refused(server, words):
    with server.connect(timeout=20) as connection:
        connection.send(words)
        connection.socket.shutdown(1)
        try:
            status, _ = connection.head()
        except ConnectionResetError:
            status = 0
        # An answer or the end of the connection, never a success.
        assert status == 0 or 400 <= status < 500, status
    assert server.request("GET", "/health").status == 200


# HTTP/1.0

def test_http_1_0_is_answered_as_1_1(server):
    """As docs/server.md says: what nginx sends to what is behind it, unless it is told otherwise."""
    with server.connect(timeout=10) as connection:
        connection.send("GET /health HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status, headers = connection.head()
        assert status == 200 and headers["connection"] == "close"
        # The end of the connection is the end of the answer, and its length is said too.
        content = connection.file.read()
        assert json.loads(content)["status"] == "ok" and int(headers["content-length"]) == len(content)
    with server.connect(timeout=30) as connection:
        content = json.dumps(body(stream=True)).encode()
        connection.send(f"POST {COMPLETIONS} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n"
                        f"Content-Length: {len(content)}\r\n\r\n")
        connection.send(content)
        status, headers = connection.head()
        assert status == 200 and headers["transfer-encoding"] == "chunked"
        assert connection.file.read().endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    # Who does not say whom it means could mean somebody else.
    with server.connect(timeout=10) as connection:
        connection.send("GET /health HTTP/1.0\r\nConnection: close\r\n\r\n")
        assert connection.head()[0] == 400


def test_the_health_check_of_the_container(server):
    text = (ROOT / "Distribution/Dockerfile").read_text()
    command = json.loads(re.search(r"HEALTHCHECK .*? CMD (\[.*?\])\n", text.replace("\\\n", " "), re.S)[1])
    for port, status in ((server.port, 0), (free_port(), 1)):
        assert "8080" in command[-1]
        checked = [*command[:-1], command[-1].replace("8080", str(port))]
        assert (subprocess.run(checked, timeout=20, capture_output=True).returncode != 0) == status


@pytest.mark.parametrize("method, path, status", [
    ("GET", "/nothing", 404), ("POST", "/v1/nothing", 404), ("GET", "/v1/chat/completions", 405),
    ("DELETE", "/v1/models", 405), ("PUT", "/api/tags", 405), ("GET", "/v1/models/nothing", 404),
    ("GET", "/../../etc/passwd", 404), ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404), ("GET", "//etc/passwd", 404)])
def test_unknown_addresses_get_an_error_in_json(server, method, path, status):
    response = server.request(method, path, b"{}" if method in ("POST", "PUT") else None)
    assert response.status == status and response.json["error"]
    if status == 405:
        assert response.headers["allow"]


def test_request_ids_go_in_and_out(server):
    assert server.request("GET", "/v1/models", headers={"X-Request-Id": "mine-1"}).headers["x-request-id"] == "mine-1"
    other = server.request("GET", "/v1/models", headers={"X-Request-Id": "a b\tc" + "x" * 500}).headers["x-request-id"]
    assert other and " " not in other and len(other) < 130
