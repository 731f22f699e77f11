"""From start to end: loading, a model from a hub, metrics, load of mixed kinds, draining."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import signal
import socket
import statistics
import subprocess
import threading
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

import local_hub
from serving import (BANANA, FASTVLM, LONG, QUESTION, ROOT, Server, body, data_uri, events, image, in_threads,
                     messages)


def test_health_and_readiness(server):
    assert server.request("GET", "/health").json["status"] == "ok"
    assert server.request("GET", "/healthz").status == server.request("GET", "/readyz").status == 200


def test_multipart(server):
    def form(*parts):
        lines = []
        for name, value, file in parts:
            extra = f'; filename="{file}"\r\nContent-Type: image/jpeg' if file else ""
            lines.append(f'--b0undary\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n'.encode() + value)
        return b"\r\n".join(lines) + b"\r\n--b0undary--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=b0undary"}
    parts = (("file", image(), "a.jpg"), ("prompt", QUESTION.encode(), None))
    response = server.request("POST", "/v1/describe", form(*parts), kind)
    assert response.status == 200 and response.body.decode().strip() == BANANA
    # As curl writes it.
    command = ["curl", "-sS", "--noproxy", "*", "-F", f"file=@{ROOT}/Samples/single-banana.jpg", "-F", f"prompt={QUESTION}",
               server.origin + "/v1/describe"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip() == BANANA
    json_answer = server.request("POST", "/v1/describe", form(*parts), kind | {"Accept": "application/json"})
    assert json_answer.json["text"] == BANANA
    for bad in (form(parts[1]), form(parts[0])[:-40], b"", b"--b0undary--", form(("file", b"none", "a.jpg"))):
        assert server.request("POST", "/v1/describe", bad, kind).status == 400


@pytest.mark.parametrize("name", ["client", "program"])
def test_a_model_of_a_hub_is_pulled_and_served_by_its_name(tmp_path, name):
    folder = ROOT / "Tests/Fixtures/models/tiny-hf"
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    hub = local_hub.Hub(files)
    environment = {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.address, "HF_HUB_DISABLE_XET": "1",
                   "NO_PROXY": "127.0.0.1", "HOME": str(tmp_path)}
    try:
        if name == "client":
            code = "from huggingface_hub import snapshot_download; snapshot_download('owner/model')"
            command = [os.sys.executable, "-c", code]
        else:
            command = [FASTVLM, "pull", "owner/model", "--yes", "--quiet"]
        subprocess.run(command, env=os.environ | environment, check=True, timeout=300, stdin=subprocess.DEVNULL)
        with Server("--model", "owner/model", **environment, HF_HUB_OFFLINE="1") as server:
            assert server.request("GET", "/v1/models").json["data"][0]["id"] == "owner/model"
            assert server.chat(model="owner/model", max_tokens=4).json["usage"]["completion_tokens"] == 4
            tags = server.request("GET", "/api/tags").json["models"]
            assert [tag["name"] for tag in tags] == ["owner/model"]
    finally:
        hub.stop()


def test_several_models_by_their_names():
    folder = ROOT / "Tests/Fixtures/models/tiny-hf"
    with Server("--model", ROOT / "Models/fastvlm-small", "--model", folder) as server:
        names = [model["id"] for model in server.request("GET", "/v1/models").json["data"]]
        assert names == ["fastvlm-small", "tiny-hf"]
        answers = in_threads(6, lambda number: server.chat(model=names[number % 2], max_tokens=8).json)
        assert {answer["model"] for answer in answers} == set(names)
        assert all(answer["choices"][0]["message"]["content"] == BANANA for answer in answers[::2])
        unknown = server.chat(model="another")
        assert unknown.status == 404 and unknown.json["error"]["code"] == "model_not_found"


def test_metrics(server):
    server.chat()
    server.chat(temperature=-1)
    response = server.request("GET", "/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(response.body.decode())}
    assert all(family.documentation for family in families.values())
    before = server.metric("fastvlm_tokens_total")
    usage = server.chat().json["usage"]
    assert server.metric("fastvlm_tokens_total") == before + usage["completion_tokens"]
    assert server.metric("fastvlm_http_requests_total", route="/v1/chat/completions", status="400") >= 1
    assert server.metric("fastvlm_refused_total", reason="invalid_request") >= 1
    # Histograms: the last bucket holds all.
    for name in ("fastvlm_queue_seconds", "fastvlm_first_token_seconds", "fastvlm_http_request_seconds"):
        samples = families[name].samples
        count = sum(sample.value for sample in samples if sample.name.endswith("_count"))
        assert sum(sample.value for sample in samples if sample.labels.get("le") == "+Inf") == count > 0, name
    stages = {sample.labels["stage"] for sample in families["fastvlm_stage_seconds"].samples if "stage" in sample.labels}
    assert {"encode", "prefill"} <= stages


def test_what_is_logged():
    with Server("--log-format", "json", "--log-level", "debug") as server:
        question = "What is this secret thing?"
        server.chat({"X-Request-Id": "seen-1"}, messages=messages(question))
        server.chat({"X-Request-Id": "seen-2"}, temperature=-1)
        server.request("GET", "/v1/models", headers={"Authorization": "Bearer sk-somebody"})
        server.signal()
        server.process.wait(timeout=30)
        lines = [json.loads(line) for line in server.words().splitlines() if line.startswith("{")]
        text = json.dumps(lines)
        assert "seen-1" in text and "seen-2" in text
        for secret in (question, "secret", BANANA, base64.b64encode(image()).decode()[:40], "sk-somebody"):
            assert secret not in server.words()


def test_a_stream_that_is_cut_off_is_no_success():
    with Server("--log-format", "json", "--request-timeout", 2) as server:
        # One that the client leaves, and one whose time is over.
        with server.connect() as connection:
            connection.post("/v1/chat/completions", body(stream=True, **LONG), X_Request_Id="left")
            assert connection.head()[0] == 200
        late = server.connect(timeout=60)
        late.post("/v1/chat/completions", body(stream=True, **LONG), X_Request_Id="late")
        assert late.head()[0] == 200
        assert b"longer than a request may" in late.file.read()
        assert server.is_idle_within(5)
        cut = server.metric("fastvlm_http_requests_total", route="/v1/chat/completions", status="499")
        assert cut == server.metric("fastvlm_http_requests_total", route="/v1/chat/completions", status="504") == 1
        lines = [json.loads(line) for line in server.words().splitlines() if line.startswith("{")]
        ends = {line["id"]: line for line in lines if line["message"] == "request" and "cut_off" in line}
        assert {name: line["status"] for name, line in ends.items()} == {"left": "499", "late": "504"}


def test_a_full_queue_says_when_to_come_back():
    with Server("--max-queue", 2, "--parallel", 1) as server:
        responses = in_threads(10, lambda _: server.chat(timeout=120, **LONG | {"n": 1}))
        refused = [response for response in responses if response.status != 200]
        assert 5 <= len(refused) <= 8
        for response in refused:
            assert response.status == 429 and int(response.headers["retry-after"]) >= 1
            assert response.json["error"]["code"] == "overloaded"
        assert server.chat().status == 200
        # Ollama's clients get theirs in their form.
        assert server.metric("fastvlm_refused_total", reason="overloaded") == len(refused)


def test_a_request_that_takes_too_long():
    with Server("--request-timeout", 1, "--parallel", 1) as server:
        responses = in_threads(6, lambda _: server.chat(timeout=60, **LONG))
        late = [response for response in responses if response.status == 504]
        assert late and all(response.json["error"]["code"] == "timeout" for response in late)
        assert server.is_idle_within(4)


# Ends

@pytest.mark.parametrize("streams", [True, False], ids=["stream", "plain"])
def test_sigterm_under_load_finishes_what_was_begun(streams):
    with Server("--drain-timeout", 60) as server:
        connections = []
        for _ in range(8):
            connection = server.connect(timeout=120)
            connection.post("/v1/chat/completions", body(stream=streams, **LONG | {"max_tokens": 400, "n": 1}))
            connections.append(connection)
        if streams:
            heads = [connection.head()[0] for connection in connections]
            assert heads == [200] * 8
        else:
            time.sleep(0.5)
        idle = server.connect()
        server.signal()
        time.sleep(0.3)
        # No new work.
        with contextlib.suppress(OSError):
            idle.get("/v1/models")
            assert idle.head()[0] in (0, 503)
        with pytest.raises((ConnectionRefusedError, ConnectionResetError, AssertionError)):
            with server.connect() as late:
                late.post("/v1/chat/completions", body())
                assert late.head()[0] == 200
        for connection in connections:
            if streams:
                assert b"[DONE]" in connection.file.read()
            else:
                status, _, content = connection.response()
                assert status == 200 and json.loads(content)["usage"]["completion_tokens"] == 400
        assert server.process.wait(timeout=30) == 0


def test_the_drain_has_an_end():
    with Server("--drain-timeout", 1, "--parallel", 1) as server:
        connections = [server.connect(timeout=60) for _ in range(8)]
        for connection in connections:
            connection.post("/v1/chat/completions", body(stream=True, **LONG))
        connections[0].head()
        start = time.monotonic()
        server.signal()
        assert server.process.wait(timeout=30) == 0
        assert 0.8 < time.monotonic() - start < 6


def test_a_second_signal_ends_at_once():
    with Server("--drain-timeout", 60, "--parallel", 1) as server:
        connections = [server.connect(timeout=60) for _ in range(8)]
        for connection in connections:
            connection.post("/v1/chat/completions", body(stream=True, **LONG))
        connections[0].head()
        server.signal()
        time.sleep(0.3)
        assert server.process.poll() is None
        start = time.monotonic()
        server.signal(signal.SIGINT)
        assert server.process.wait(timeout=10) == 128 + signal.SIGINT
        # At once, also while all threads compute.
        assert time.monotonic() - start < 0.5


def test_an_idle_server_ends_at_once():
    with Server() as server:
        kept = server.connect()
        kept.get("/v1/models")
        assert kept.response()[0] == 200
        start = time.monotonic()
        server.signal()
        assert server.process.wait(timeout=10) == 0
        assert time.monotonic() - start < 3


def test_a_socket_that_is_passed():
    """As systemd does it: descriptor 3, and whom it is for."""
    def start(host, *arguments, **environment):
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listening.bind((host, 0))
        listening.listen()
        # The shell's number is the program's.
        command = 'exec 3<&0; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" </dev/null'
        process = subprocess.Popen(["sh", "-c", command, "-", FASTVLM, "serve", *arguments], stdin=listening.fileno(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   env=os.environ | environment)
        return listening, process

    for host in ("127.0.0.1", "::1"):
        listening, process = start(host)
        try:
            # A connection from before it was ready is served too.
            connection = http.client.HTTPConnection(host, listening.getsockname()[1], timeout=60)
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
            # The socket is still there for the next one.
            listening.getsockname()
            with socket.create_connection((host, listening.getsockname()[1]), timeout=5):
                pass
        finally:
            process.kill()
            listening.close()
    # Whom others reach wants keys, wherever --host says it listens.
    listening, process = start("0.0.0.0", "--host", "127.0.0.1")
    assert process.wait(timeout=60) == 64 and "can be reached" in process.stderr.read()
    listening.close()


def test_a_port_that_is_taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = subprocess.run([FASTVLM, "serve", "--port", str(other.getsockname()[1])], capture_output=True, text=True,
                                timeout=60)
        assert result.returncode != 0 and "listen" in result.stderr


def test_memory_before_a_model_is_loaded():
    with Server("--lazy") as server:
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
        resident = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
        print(f"resident before a model is loaded: {resident:.1f} MB")
        assert resident <= 50


# Load

def test_mixed_load(server):
    """Eight clients: streams, plain answers, connections cut at random, bad input. SOAK_MINUTES=10 for the long run."""
    seconds = 60 * float(os.environ.get("SOAK_MINUTES", 0.4))
    names = ["single-banana.jpg", "word-codify.jpg", "single-helicopter.png", "shapes-arrow.png", "number-68.png"]
    questions = [QUESTION, "What does it say?"]
    cases = [(name, question) for name in names for question in questions]

    def chat_body(case, **fields):
        kind = "image/png" if case[0].endswith("png") else "image/jpeg"
        return body(messages=messages(case[1], data_uri(image(case[0]), kind)), max_tokens=24, **fields)

    def ask(case):
        return server.request("POST", "/v1/chat/completions", chat_body(case)).json["choices"][0]["message"]["content"]

    right = {case: ask(case) for case in cases}
    counts = {"streams": 0, "plain": 0, "cut": 0, "bad": 0, "ollama": 0}
    memory = []
    end = time.monotonic() + seconds
    lock = threading.Lock()

    def one(chance, case):
        choice = chance.random()
        if choice < 0.2:
            bad = chance.choice([b"{", b"", json.dumps(chat_body(case, temperature=-1)).encode(),
                                 json.dumps(body(messages=messages(url=data_uri(image()[:400])))).encode(),
                                 json.dumps(body(messages=messages(url=data_uri(chance.randbytes(300))))).encode()])
            response = server.request("POST", chance.choice(["/v1/chat/completions", "/api/chat"]), bad)
            assert response.status in (400, 200) and (response.status == 400 or b'"done":true' in response.body)
            return "bad"
        if choice < 0.4:
            with server.connect(timeout=60) as connection:
                connection.post("/v1/chat/completions", chat_body(case, stream=chance.random() < 0.5))
                time.sleep(chance.random() * 0.2)
                chance.choice([connection.close, connection.reset, lambda: connection.socket.shutdown(1)])()
            return "cut"
        if choice < 0.7:
            text = server.request("POST", "/v1/chat/completions", chat_body(case, stream=True)).body
            words = "".join(event["choices"][0]["delta"].get("content") or "" for event in events(text) if event["choices"])
            assert words == right[case], (case, words)
            return "streams"
        if choice < 0.8:
            response = server.request("POST", "/api/generate", {
                "prompt": case[1], "images": [base64.b64encode(image(case[0])).decode()], "stream": False,
                "options": {"temperature": 0, "num_predict": 24}})
            assert response.json["response"] == right[case]
            return "ollama"
        assert ask(case) == right[case], case
        return "plain"

    def client(number):
        chance = random.Random(number)
        while time.monotonic() < end:
            kind = one(chance, chance.choice(cases))
            with lock:
                counts[kind] += 1
                if number == 0:
                    memory.append(server.memory())

    in_threads(8, client, seconds + 120)
    assert server.is_idle_within(5)
    # The first third fills caches and pools.
    settled = memory[len(memory) // 3:]
    early, late = settled[:len(settled) // 3], settled[-len(settled) // 3:]
    growth = statistics.median(late) - statistics.median(early)
    print(f"{sum(counts.values())} requests in {seconds:.0f} s: {counts}; RssAnon + VmSwap "
          f"{statistics.median(early) / 1e6:.1f} -> {statistics.median(late) / 1e6:.1f} MB")
    assert growth < 12e6
    assert all(counts.values())
