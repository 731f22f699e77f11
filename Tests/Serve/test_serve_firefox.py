"""The page in a headless Firefox, driven by WebDriver BiDi, which it speaks itself."""

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time

import pytest

from serving import BANANA, SAMPLES

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
if not FIREFOX:
    pytest.skip("needs Firefox: apt-get install firefox-esr", allow_module_level=True)

from websockets.sync.client import connect  # noqa: E402

PREFERENCES = """
user_pref("media.navigator.streams.fake", true);
user_pref("media.navigator.permission.disabled", true);
"""


class Firefox:
    def __init__(self, folder):
        (folder / "user.js").write_text(PREFERENCES)
        self.complaints = []
        self.process = subprocess.Popen(
            [FIREFOX, "--headless", "--no-remote", "--profile", folder, "--remote-debugging-port", "0", "about:blank"],
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=os.environ | {"HOME": str(folder)})
        for line in self.process.stderr:
            if "WebDriver BiDi listening on" in line:
                address = line.split()[-1]
                break
        else:
            raise AssertionError("Firefox did not start")
        # What it says further is not read by anybody, and must not fill the pipe.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.stack = contextlib.ExitStack()
        self.socket = self.stack.enter_context(connect(address + "/session", max_size=None, proxy=None))
        self.number = 0
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        self.context = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def call(self, method, **parameters):
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=60))
            if message.get("id") == self.number:
                assert message["type"] == "success", message
                return message["result"]
            if message.get("method") == "log.entryAdded":
                self.complaints.append(message["params"]["text"])

    def open(self, address):
        self.call("browsingContext.navigate", context=self.context, url=address, wait="complete")

    def evaluate(self, expression):
        result = self.call("script.evaluate", expression=expression, target={"context": self.context}, awaitPromise=True)
        assert result["type"] == "success", result
        return result["result"]

    def wait_for(self, expression, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.evaluate(expression).get("value") is True:
                return
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {expression}")

    def stop(self):
        self.stack.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def firefox(tmp_path):
    browser = Firefox(tmp_path)
    yield browser
    browser.stop()


def test_an_image_and_the_camera(server, firefox):
    firefox.open(server.origin)
    file = firefox.evaluate("document.getElementById('file')")["sharedId"]
    firefox.call("input.setFiles", context=firefox.context, element={"sharedId": file},
                 files=[str(SAMPLES / "single-banana.jpg")])
    firefox.wait_for("document.getElementById('status').textContent.includes('is chosen')")
    firefox.evaluate("document.getElementById('ask').click()")
    firefox.wait_for(f"document.getElementById('answer').textContent === {json.dumps(BANANA)}")
    firefox.wait_for("document.querySelectorAll('#legend div').length >= 6")
    firefox.evaluate("document.querySelector('input[value=camera]').click()")
    firefox.wait_for("document.getElementById('video').videoWidth > 0")
    firefox.evaluate("document.getElementById('ask').click()")
    firefox.wait_for("document.querySelectorAll('#history li').length === 2")
    assert firefox.complaints == []
