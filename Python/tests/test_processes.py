"""Loading, other processes, signals, the global lock."""

import json
import multiprocessing
import os
import pathlib
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

import fastvlm
from fastvlm import _native, _options

SLOW = """
import fastvlm, sys, time
model = fastvlm.Model(threads=1)
print("ready", flush=True)
{call}
"""
LONG = "regex='[0-9]{1900}', max_tokens=1950"


@pytest.mark.parametrize("call", [
    f"model.answer('Describe.', {LONG})",
    f"for piece in model.stream('Describe.', {LONG}): pass",
    f"model.answer_batch(['Describe.'] * 3, {LONG})",
    f"import asyncio; asyncio.run(model.answer_async('Describe.', {LONG}))",
    f"chat = model.chat(); chat.answer('Describe.', {LONG})",
])
def test_interrupt(call):
    with subprocess.Popen(
        [sys.executable, "-c", SLOW.replace("{call}", call)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert "KeyboardInterrupt" in errors
        assert process.returncode in (1, 130, -signal.SIGINT)
        assert time.monotonic() - start < 5


def test_the_lock_is_released(model, banana):
    counted = 0
    over = threading.Event()

    def count():
        nonlocal counted
        while not over.is_set():
            counted += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    model.forget()
    thread.start()
    seconds = model.answer("What is this?", banana).timings.total
    over.set()
    thread.join()
    assert counted >= 3
    assert seconds > 0


def test_fork_after_load_is_refused(model, banana):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        codes = set()
        for ask in (lambda: model.answer("x", banana), lambda: fastvlm.Model(), lambda: model.encode(banana), model.forget):
            try:
                ask()
            except fastvlm.RequestError as error:
                codes.add(error.code)
        model.close()
        os._exit(0 if codes == {"forked"} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert "banana" in model.answer("What is this?", banana).text


def test_fork_after_import_works(banana):
    code = f"""
import os, fastvlm
child = os.fork()
if child == 0:
    print(fastvlm.Model(threads=1).answer("What is this?", {str(banana)!r}), flush=True)
    os._exit(0)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert "banana" in subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def _ask(model, image):
    return model.answer("What is this?", image), model.info.threads


def test_pickling_carries_path_and_options(banana):
    model = fastvlm.Model(threads=1, precision="float32")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        answer, threads = pool.apply(_ask, (model, str(banana)))
    assert "banana" in answer.text and threads == 1
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.path, copy.info.precision) == ("embedded", "float32")


def test_errors_can_be_pickled(model):
    with pytest.raises(fastvlm.ImageError) as caught:
        model.encode("/nowhere.jpg")
    error = pickle.loads(pickle.dumps(caught.value))
    assert type(error) is fastvlm.ImageError
    assert (str(error), error.code, error.kind) == (str(caught.value), "unreadableImage", "image")


def test_loading(tmp_path, capsys, monkeypatch):
    with pytest.raises(fastvlm.ModelError) as caught:
        fastvlm.Model(tmp_path / "nowhere")
    assert caught.value.code == "checkpoint" and "nowhere" in str(caught.value)
    with pytest.raises(fastvlm.RequestError) as caught:
        fastvlm.Model(threads=-1)
    assert caught.value.option == "threads"
    with pytest.raises(fastvlm.RequestError, match="precision"):
        fastvlm.Model(precision="int3")
    embedded = pathlib.Path(fastvlm.__file__).with_name("models") / "fastvlm-small"
    snapshot = tmp_path / "hub/models--some--model/snapshots/abc"
    shutil.copytree(embedded, snapshot)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    with fastvlm.Model("some/model", threads=1, progress=True, image_size=256, key_value_bytes=1 << 20) as model:
        assert model.info.image_size == 256
        assert "loading" in capsys.readouterr().err
    with pytest.raises(fastvlm.RequestError) as caught:
        model.answer("x")
    assert caught.value.code == "invalidHandle"


def test_shared():
    first = fastvlm.shared(threads=1)
    assert fastvlm.shared(threads=1) is first
    assert fastvlm.shared(threads=1, image_size=256) is not first


def test_versions():
    assert fastvlm.engine_version() == fastvlm.__version__
    header = pathlib.Path(__file__).parents[2] / "CInterface/Sources/CFastVLM/fastvlm.h"
    declared = set(re.findall(r"\b(fastvlm_\w+)\(\n?", header.read_text()))
    assert declared == set(_native._SIGNATURES)
    assert f"FASTVLM_ABI_VERSION {_native._ABI_VERSION}\n" in header.read_text()


@pytest.mark.parametrize("names, ask", [
    (set(_options._LOAD.values()), lambda: _native.load({"model": "/x", "options": {"?": 1}})),
    (
        set(_options._GENERATION.values()) | {"format"},
        lambda: _native.submit(fastvlm.shared(threads=1)._work, {"prompt": "x", "options": {"?": 1}}, []),
    ),
])
def test_all_options_of_the_engine_are_offered(names, ask):
    with pytest.raises(fastvlm.RequestError) as caught:
        ask()
    assert set(str(caught.value).split("the options are ")[1].split(", ")) == names


def test_types_name_all_options():
    assert set(_options.LoadOptions.__annotations__) == {*_options._LOAD, "vision_tower"}
    assert set(_options.GenerationOptions.__annotations__) == {*_options._GENERATION, *_options._FORMATS}
    json.dumps(_options.generation_options({"stop": "x", "logit_bias": {1: 2.0}}, "answer"))
