"""A server under test, and requests to it byte by byte."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
FASTVLM = pathlib.Path(os.environ.get("FASTVLM", ROOT / ".build/release/fastvlm"))
SAMPLES = ROOT / "Samples"
# What the embedded model says of a picture that it knows.
BANANA = "A banana."
QUESTION = "What is this?"
# The model repeats itself until its tokens are used up: some seconds of work.
LONG = {"repetition_penalty": 0.1, "max_tokens": 1000, "n": 4}


def image(name="single-banana.jpg"):
    return (SAMPLES / name).read_bytes()


def data_uri(data=None, kind="image/jpeg"):
    return f"data:{kind};base64," + base64.b64encode(image() if data is None else data).decode()


def messages(question=QUESTION, url=None, **image_fields):
    return [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": url or data_uri(), **image_fields}},
        {"type": "text", "text": question},
    ]}]


def body(**fields):
    return {"model": "default", "messages": messages(), "temperature": 0} | fields


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """`fastvlm serve` with the embedded model, unless the arguments say otherwise."""

    def __init__(self, *arguments, wait=True, **environment):
        self.port = free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.log = tempfile.TemporaryFile()
        clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        self.process = subprocess.Popen(
            [FASTVLM, "serve", "--port", str(self.port), *map(str, arguments)], env=clean | environment,
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, self.words()
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/health", timeout=5).status == 200:
                    return
            time.sleep(0.02)
        raise AssertionError("the server did not become ready: " + self.words())

    def words(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def request(self, method, path, content=None, headers=None, timeout=60):
        """One request over a connection of its own; the response has `body`, `json` and `headers`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = json.dumps(content).encode() if isinstance(content, (dict, list)) else content
            head = {"Content-Type": "application/json"} if data is not None else {}
            connection.request(method, path, data, head | (headers or {}))
            response = connection.getresponse()
            response.body = response.read()
            with contextlib.suppress(ValueError):
                response.json = json.loads(response.body)
            return response
        finally:
            connection.close()

    def chat(self, headers=None, timeout=60, **fields):
        return self.request("POST", "/v1/chat/completions", body(**fields), headers, timeout)

    def connect(self, timeout=30):
        return Raw(self.port, timeout)

    def metric(self, name, **labels):
        """The sum of a metric's samples that have these labels."""
        from prometheus_client.parser import text_string_to_metric_families
        text = self.request("GET", "/metrics").body.decode()
        return sum(
            sample.value for family in text_string_to_metric_families(text) for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items())

    def memory(self):
        """Bytes that are not files: mapped weights would hide what grows."""
        fields = dict(line.split(":", 1) for line in
                      pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines())
        return 1024 * sum(int(fields[name].split()[0]) for name in ("RssAnon", "VmSwap"))

    def processor_time(self):
        words = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def is_busy(self):
        """Whether the server computes now; a machine that is busy with other work may give it little time."""
        before, end = self.processor_time(), time.monotonic() + 5
        while time.monotonic() < end:
            time.sleep(0.05)
            if self.processor_time() - before > 0.04:
                return True
        return False

    def is_idle_within(self, seconds):
        """Whether the server stops computing: two looks in a row without processor time between them."""
        end = time.monotonic() + seconds
        last, still = self.processor_time(), 0
        while time.monotonic() < end:
            time.sleep(0.1)
            now = self.processor_time()
            still = still + 1 if now - last < 0.015 else 0
            last = now
            if still == 3:
                return True
        return False


class Raw:
    """A connection on which every byte is ours."""

    def __init__(self, port, timeout):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def reset(self):
        """Ends the connection with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def post(self, path, content, **headers):
        data = json.dumps(content).encode() if isinstance(content, dict) else content
        fields = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(data))}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        self.send(f"POST {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields.items()) + "\r\n")
        self.send(data)

    def get(self, path):
        self.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    def head(self):
        """Status and headers of the next response; (0, {}) where the connection has ended."""
        line = self.file.readline()
        if not line:
            return 0, {}
        headers = {}
        while (field := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = field.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return int(line.split()[1]), headers

    def response(self):
        status, headers = self.head()
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self.file.readline(), 16):
                parts.append(self.file.read(size))
                self.file.readline()
            self.file.readline()
            return status, headers, b"".join(parts)
        return status, headers, self.file.read(int(headers.get("content-length", 0)))

    def is_closed(self):
        """Whether the server has ended the connection; waits for it."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def events(response_body):
    """The objects of a stream of server-sent events, which must end as OpenAI's do."""
    lines = [line[6:] for line in response_body.decode().split("\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]", lines[-1]
    return [json.loads(line) for line in lines[:-1]]


def in_threads(count, work, seconds=300):
    """Runs `work(number)` so many times at once and gives the results in order; raises what one of them raised, and
    that one hangs when it is not done in time."""
    end = time.monotonic() + seconds
    results, failures = [None] * count, []

    def run(number):
        try:
            results[number] = work(number)
        except BaseException as failure:  # noqa: BLE001 - handed on below
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=max(end - time.monotonic(), 0))
        assert not thread.is_alive(), "a request hangs"
    if failures:
        raise failures[0]
    return results
