"""Processes that take part in a comparison: ours and the peers, all with the face of peers/face.py."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TICKS = os.sysconf("SC_CLK_TCK")


class Skipped(Exception):
    """The contestant does not take part (any more); the message says why."""


class Contestant:
    """A process that answers one JSON line per line it is sent."""

    request = "round\n"

    def __init__(self, name: str, precision: str, command: list, ours: bool = False):
        self.name, self.precision, self.ours = name, precision, ours
        self.command = [str(word) for word in command]
        self.process: subprocess.Popen | None = None
        self.rest = b""

    @property
    def label(self) -> str:
        return f"{self.name} {self.precision}"

    def start(self, log, timeout: float) -> dict:
        """-> the ready line, with the seconds from the start of the process to it."""
        began = time.monotonic()
        self.launch(log)
        ready = self.read(timeout)
        if "skipped" in ready:
            self.stop()
            raise Skipped(ready["skipped"])
        return ready | {"secondsToReady": round(time.monotonic() - began, 3)}

    def launch(self, log) -> None:
        try:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=ROOT
            )
        except OSError as error:
            raise Skipped(f"cannot be started: {error.strerror}") from error
        self.rest = b""

    def measure(self, timeout: float) -> dict:
        """One repetition: its figures, and how busy everything else kept the machine meanwhile (in cores)."""
        busy, own, began = machine_ticks(), process_ticks(self.process.pid), time.monotonic()
        try:
            self.process.stdin.write(self.request.encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Skipped(f"ended by itself with status {self.process.wait()}") from None
        figures = self.read(timeout)
        elapsed = time.monotonic() - began
        used = process_ticks(self.process.pid) - own
        others = max(0, machine_ticks() - busy - used)
        return figures | {"cpuSeconds": used / TICKS, "othersBusy": round(others / TICKS / elapsed, 2)}

    def read(self, timeout: float) -> dict:
        """The next line that is a JSON object."""
        deadline = time.monotonic() + timeout
        while True:
            while b"\n" not in self.rest:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                    self.stop()
                    raise Skipped(f"no answer within {timeout:.0f} s")
                piece = os.read(self.process.stdout.fileno(), 65536)
                if not piece:
                    raise Skipped(f"ended by itself with status {self.process.wait()}, see the log")
                self.rest += piece
            line, self.rest = self.rest.split(b"\n", 1)
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                return value

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        try:
            process.stdin.close()
            process.wait(5)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            process.kill()
            process.wait()
        process.stdout.close()


class Chat(Contestant):
    """`fastvlm chat --json`: the same question about the same image, from nothing each time."""

    def __init__(self, name: str, precision: str, command: list, image: Path, question: str):
        super().__init__(name, precision, command, ours=True)
        self.question = question
        self.request = f"/reset\n/image {image}\n{question}\n"

    def launch(self, log) -> None:
        super().launch(log)
        self.process.stdin.write(f"{self.question}\n".encode())
        self.process.stdin.flush()

    def start(self, log, timeout: float) -> dict:
        answer = super().start(log, timeout)
        return {
            "secondsToReady": answer["secondsToReady"],
            "settings": {"promptTokens": answer["usage"]["prompt_tokens"]},
        }

    def measure(self, timeout: float) -> dict:
        answer = super().measure(timeout)
        times = answer["timings"]
        stages = {
            "preprocess": times["time_to_first_token"]
            - times["encode"]
            - times["project"]
            - times["prefill"],
            "encode": times["encode"] + times["project"],
            "prefill": times["prefill"],
        }
        return {
            "seconds": times["time_to_first_token"],
            "stages": stages,
            "promptTokens": answer["usage"]["prompt_tokens"],
            "cpuSeconds": answer["cpuSeconds"],
            "othersBusy": answer["othersBusy"],
        }


class Second(Chat):
    """A second question about the image in the same conversation, after a first one from nothing."""

    further = "And what stands beside it? Please say where, and in which colours it is painted."

    def measure(self, timeout: float) -> dict:
        first = super().measure(timeout)
        self.request, whole = f"{self.further}\n", self.request
        try:
            return super().measure(timeout) | {"firstSeconds": first["seconds"]}
        finally:
            self.request = whole


class Cold(Contestant):
    """Each repetition is a whole process: start to first answer."""

    def __init__(self, contestant: Contestant):
        super().__init__(contestant.name, contestant.precision, contestant.command, contestant.ours)
        self.inner = contestant

    def start(self, log, timeout: float) -> dict:
        """Runs it once, so that the files are warm."""
        self.log = log
        ready = self.inner.start(log, timeout)
        self.inner.stop()
        return ready

    def measure(self, timeout: float) -> dict:
        busy = machine_ticks()
        ready = self.inner.start(self.log, timeout)
        pid = self.inner.process.pid
        figures = {"seconds": ready["secondsToReady"], "peakResidentBytes": resident_peak(pid)}
        figures["cpuSeconds"] = process_ticks(pid) / TICKS
        others = machine_ticks() - busy - process_ticks(pid)
        self.inner.stop()
        return figures | {"othersBusy": round(max(0, others) / TICKS / figures["seconds"], 2)}

    def stop(self) -> None:
        self.inner.stop()


def machine_ticks() -> int:
    """Ticks in which any core was busy (Linux), those that the host took included."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    return sum(int(fields[index]) for index in (0, 1, 2, 5, 6, 7))


def process_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def resident_peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


# Peers of an item: program, its further arguments, precisions.
PEERS = {
    "encoder": [
        ("torch", [], ["float32", "bfloat16"]),
        ("onnxruntime", [], ["float32", "int8"]),
        ("openvino", [], ["float32", "bfloat16", "int8"]),
    ],
    "prefill": [
        ("torch", [], ["float32", "bfloat16"]),
        ("openvino", [], ["float32", "bfloat16", "int8"]),
        ("openvino group 128", ["--group-size", "128"], ["int8"]),
        ("llama.cpp", [], ["bfloat16", "float16", "q8_0", "q4_0", "q4_k_m"]),
    ],
    "decode": [
        ("torch", [], ["float32", "bfloat16"]),
        ("openvino", [], ["int8", "int4"]),
        ("llama.cpp", [], ["bfloat16", "float16", "q8_0", "q4_0", "q4_k_m"]),
    ],
    "ttft": [
        ("transformers", [], ["float32", "bfloat16"]),
        ("transformers channels_last", ["--channels-last"], ["float32", "bfloat16"]),
    ],
    "second": [],
    "encoder-threads": [],
    "prefill-threads": [],
}
OURS = {
    "encoder": ["float32", "bfloat16", "int8"],
    "prefill": ["float32", "bfloat16", "int8"],
    "decode": ["float32", "bfloat16", "int8", "int4"],
    "ttft": ["float32", "bfloat16", "int8"],
    "second": ["bfloat16", "int8"],
    "encoder-threads": ["float32", "int8"],
    "prefill-threads": ["float32", "int8"],
}
ONE_THREAD, PEAK_OF_ONE = "fastvlm (one thread)", "peak (one thread)"
PROGRAMS = {"torch", "onnxruntime", "openvino", "llama.cpp", "transformers"}


def size_arguments(kind: str, size: int) -> list[str]:
    flag = {
        "encoder": "--resolution",
        "prefill": "--positions",
        "decode": "--context",
        "ttft": "--resolution",
    }
    return ["--item", kind, flag[kind], str(size)]


def wanted(words: list[str] | None, label: str) -> bool:
    """Whether any of the words given by the person is a part of the label; no words: all are wanted."""
    return words is None or any(word in label for word in words)


def peers(options, kind: str, size: int, further: list[str]) -> list[Contestant]:
    result = []
    for name, arguments, precisions in PEERS[kind]:
        program = HERE / "peers" / (name.split(" ")[0].replace(".", "_") + "_peer.py")
        for precision in precisions:
            if not wanted(options.peers, f"{name} {precision}"):
                continue
            command = [options.python, program, *size_arguments(kind, size), "--precision", precision]
            command += [
                "--threads",
                options.threads,
                "--checkpoint",
                options.checkpoint,
                "--models",
                options.models,
                *arguments,
                *further,
            ]
            if options.force:
                command.append("--force")
            result.append(Contestant(name, precision, command))
    return result


def ours(options, kind: str, size: int) -> list[Contestant]:
    precisions = [name for name in OURS[kind] if wanted(options.ours, name)]
    if kind in ("ttft", "second"):
        face = Second if kind == "second" else Chat
        return [chat(options, precision, size, face) for precision in precisions]
    kind, _, threads = kind.partition("-")
    item = size_arguments(kind, size)
    if threads:
        names = {ONE_THREAD: 1, "fastvlm": options.threads}
        return [bench(options, item, p, name, count) for p in precisions for name, count in names.items()]
    return [bench(options, item, precision, "fastvlm", options.threads) for precision in precisions]


def bench(options, item: list[str], precision: str, name: str, threads: int) -> Contestant:
    command = [options.program, "bench", *item, "--precision", precision, "--threads", threads]
    command += ["--rounds-from-stdin", *options.ours_arguments.split()]
    return Contestant(name, precision, command, ours=True)


def chat(options, precision: str, side: int, face: type[Chat] = Chat) -> Contestant:
    image = (options.models / f"image-{side}.png").resolve()
    question = "What are these? Please look closely and answer in a few words."
    command = [options.program, "chat", image, "--model", options.checkpoint, "--json", "--quiet"]
    command += ["--precision", precision, "--threads", options.threads, "--max-tokens", 1]
    return face("fastvlm", precision, command, image, question)


def probes(options, kind: str) -> list[Contestant]:
    """The machine's limits, from register-only loops and a read of memory."""
    command = [options.program, "bench", "--item", "peak", "--rounds-from-stdin", "--threads"]
    names = {"peak": options.threads}
    if kind.endswith("-threads"):
        names[PEAK_OF_ONE] = 1
    return [Contestant(name, "", [*command, count], ours=True) for name, count in names.items()]


def python_default() -> Path:
    local = ROOT / ".venv-peers" / "bin" / "python"
    return local if local.exists() else Path(sys.executable)
