"""`fastvlm pull` beside the hub's own Python client, against a hub on this machine (make test-pull)."""

import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time
import zipfile

import pytest

import local_hub

ROOT = pathlib.Path(__file__).resolve().parents[2]
FASTVLM = pathlib.Path(os.environ.get("FASTVLM", ROOT / ".build/release/fastvlm"))
MODEL = ROOT / "Tests/Fixtures/models/tiny-hf"
IMAGE = ROOT / "Tests/Fixtures/models/images/image-0.png"


def model_files(folder):
    """The small model of the fixtures as a repository, its weights in the store, with what nobody needs."""
    files = {path.name: path.read_bytes() for path in MODEL.iterdir() if path.is_file()}
    weights = folder / "model.safetensors"
    weights.write_bytes(files.pop("model.safetensors"))
    return files | {"model.safetensors": local_hub.Large(weights), "README.md": b"# A model\n", "picture.png": b"no",
                    "sub dir/a+b.txt": b"quoted", "onnx/model.onnx": b"no"}


class Machine:
    """A cache of its own."""

    def __init__(self, hub, folder):
        self.hub, self.folder = hub, folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | {
            "HOME": str(folder), "HF_HOME": str(folder / "hf"), "HF_ENDPOINT": hub.address, "HF_TOKEN": "secret",
            "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    @property
    def snapshot(self):
        return self.folder / "hf/hub/models--owner--model/snapshots" / local_hub.COMMIT

    def fastvlm(self, *arguments, check=True, **environment):
        result = subprocess.run([FASTVLM, *arguments], env=self.environment | environment, text=True, timeout=900,
                                stdin=subprocess.DEVNULL, capture_output=True)
        assert not check or result.returncode == 0, result.stderr
        return result

    def python(self, call, **environment):
        """What a line of Python says that uses the client."""
        code = f"from huggingface_hub import *; print({call})"
        result = subprocess.run([sys.executable, "-c", code], env=self.environment | environment, text=True,
                                timeout=300, capture_output=True)
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()


@pytest.fixture
def machine(tmp_path):
    hub = local_hub.Hub(model_files(tmp_path), page=4)
    yield Machine(hub, tmp_path)
    hub.stop()


def test_python_finds_what_we_pulled(machine):
    report = json.loads(machine.fastvlm("pull", "owner/model", "--json").stdout)
    assert pathlib.Path(report["folder"]) == machine.snapshot
    assert machine.python("snapshot_download('owner/model', local_files_only=True)") == str(machine.snapshot)
    path = machine.python("hf_hub_download('owner/model', 'model.safetensors')", HF_HUB_OFFLINE="1")
    assert path == str(machine.snapshot / "model.safetensors")
    # Nor does it download them again.
    before = machine.hub.sent
    machine.python("snapshot_download('owner/model', allow_patterns=['*.json', '*.safetensors'])")
    assert machine.hub.sent == before
    assert machine.python("len(HfApi().verify_repo_checksums('owner/model').mismatches)") == "0"
    assert machine.python("[r.repo_id for r in scan_cache_dir().repos]") == "['owner/model']"


def test_we_use_what_python_pulled(machine):
    machine.python("snapshot_download('owner/model')")
    before = machine.hub.sent
    answer = machine.fastvlm("describe", IMAGE, "What?", "--model", "owner/model", "-n", "4", HF_HUB_OFFLINE="1")
    assert answer.stdout
    report = json.loads(machine.fastvlm("pull", "owner/model", "--json").stdout)
    assert report["downloaded_bytes"] == 0 and machine.hub.sent == before
    assert "owner/model" in machine.fastvlm("list").stdout
    assert "model.safetensors" in machine.fastvlm("show", "owner/model").stdout


def test_a_folder_of_ours_is_one_of_theirs(machine):
    target = machine.folder / "there"
    machine.fastvlm("pull", "owner/model", "--local-dir", target)
    before = machine.hub.sent
    machine.python(f"snapshot_download('owner/model', local_dir={str(target)!r}, allow_patterns='*.safetensors')")
    assert machine.hub.sent == before


def test_the_token_stays_at_the_hub(machine):
    machine.fastvlm("pull", "owner/model")
    assert all(("Authorization" in headers) == (server == "hub") for server, _, _, headers in machine.hub.seen)


def test_a_flipped_bit_is_refused(machine):
    machine.hub.wrong.add("model.safetensors")
    result = machine.fastvlm("pull", "owner/model", check=False)
    assert result.returncode == 69 and "its hash differs" in result.stderr
    assert not (machine.snapshot / "model.safetensors").exists()
    # The client takes it; we see it and fetch the right bytes.
    machine.python("snapshot_download('owner/model')")
    doctor = machine.fastvlm("doctor", "owner/model", check=False)
    assert doctor.returncode == 69 and "hash differs" in doctor.stdout
    machine.hub.wrong.clear()
    machine.fastvlm("pull", "owner/model")
    assert machine.python("len(HfApi().verify_repo_checksums('owner/model').mismatches)") == "0"


def test_signed_addresses_that_are_over(machine):
    machine.hub.expired = 2
    machine.fastvlm("pull", "owner/model")
    assert (machine.snapshot / "model.safetensors").exists()


def test_both_at_once(machine):
    code = "from huggingface_hub import *; snapshot_download('owner/model')"
    others = [subprocess.Popen([sys.executable, "-c", code], env=machine.environment) for _ in range(2)]
    machine.fastvlm("pull", "owner/model")
    assert [other.wait(timeout=300) for other in others] == [0, 0]
    assert (machine.snapshot / "model.safetensors").read_bytes() == machine.hub.files["model.safetensors"].path.read_bytes()


def test_rm_removes_nothing_else(machine):
    machine.fastvlm("pull", "owner/model")
    assert machine.fastvlm("rm", "owner/model", check=False).returncode == 64
    machine.fastvlm("rm", "owner/model", "--yes")
    assert not machine.snapshot.exists()
    for name in ["../..", "owner/..", "/etc/passwd", ".."]:
        assert machine.fastvlm("rm", name, "--yes", check=False).returncode == 64


def archive(hub, folder, name, files, tag="a"):
    """A zip archive in the store, as a model's publisher has one."""
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for file, data in files.items():
            packed.writestr(file, data)
    hub.files[name] = local_hub.Large(path)
    return f"http://127.0.0.1:{hub.store.server_port}/{name}?signature=1"


def test_an_archive_is_unpacked_and_found(machine):
    files = {f"tiny_stage3/{path.name}": path.read_bytes() for path in MODEL.iterdir()}
    address = archive(machine.hub, machine.folder, "tiny_stage3.zip",
                      files | {"tiny_stage3/training_args.bin": b"no", "__MACOSX/tiny_stage3/._config.json": b"no"})
    # Nobody named a licence, so it has to be accepted.
    assert machine.fastvlm("pull", address, check=False).returncode == 64
    report = json.loads(machine.fastvlm("pull", address, "--yes", "--json").stdout)
    assert "training_args.bin" not in report["files"] and "config.json" in report["files"]
    folder = pathlib.Path(report["folder"])
    assert folder == machine.folder / "hf/fastvlm/tiny_stage3"
    assert (folder / "model.safetensors").read_bytes() == (MODEL / "model.safetensors").read_bytes()
    for name in ["tiny_stage3", address]:
        assert machine.fastvlm("describe", IMAGE, "What?", "--model", name, "-n", "4").stdout
    for command in [["inspect", "tiny_stage3"], ["doctor", "tiny_stage3"], ["show", "tiny_stage3"],
                    ["tokenize", "--model", "tiny_stage3", "a b"]]:
        assert machine.fastvlm(*command).stdout, command
    listed = json.loads(machine.fastvlm("list", "--json").stdout)
    assert [(line["name"], line["is_ready"]) for line in listed] == [("tiny_stage3", True)]
    before = machine.hub.sent
    assert json.loads(machine.fastvlm("pull", address, "--json").stdout)["downloaded_bytes"] == 0
    assert machine.hub.sent - before < 10
    machine.fastvlm("rm", "tiny_stage3", "--yes")
    assert not folder.exists() and machine.fastvlm("show", "tiny_stage3", check=False).returncode != 0


def test_a_bomb_of_an_archive(machine):
    files = {f"tiny/{path.name}": path.read_bytes() for path in MODEL.iterdir()}
    address = archive(machine.hub, machine.folder, "tiny.zip", files | {"tiny/more.safetensors": bytes(1 << 30)})
    result = machine.fastvlm("pull", address, "--yes", check=False)
    assert result.returncode == 69 and "would become" in result.stderr, result.stderr
    assert not [path for path in (machine.folder / "hf/fastvlm").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert list((machine.folder / "hf/fastvlm/.downloads").glob("*")) == []


def test_names_of_the_cache_go_everywhere(machine):
    machine.fastvlm("pull", "owner/model")
    machine.fastvlm("inspect", "owner/model")
    machine.fastvlm("doctor", "owner/model")
    machine.fastvlm("quantize", "owner/model", "--output", machine.folder / "int8", "--no-calibration")
    assert (machine.folder / "int8/config.json").exists()
    # A token that cannot be sent is no reason not to look at what is here.
    assert "owner/model" in machine.fastvlm("list", HF_TOKEN="ü", HF_ENDPOINT="nowhere").stdout
    machine.fastvlm("rm", "owner/model", "--yes", HF_TOKEN="ü")


def test_a_gigabyte_broken_twenty_times(tmp_path):
    size = 1_000_000_000
    block = random.Random(1).randbytes(1 << 20)
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        left, number = size, 0
        while left > 0:
            part = (number.to_bytes(8, "little") + block[8:])[:left]
            file.write(part)
            left -= len(part)
            number += 1
    hub = local_hub.Hub(model_files(tmp_path) | {"model.safetensors": local_hub.Large(path)})
    machine = Machine(hub, tmp_path)
    try:
        # Twenty of its sixteen parts' requests end in the middle.
        hub.breaks = [40_000_000, 20_000_000] * 10
        kills = 0
        command = [FASTVLM, "pull", "owner/model", "--quiet", "--yes"]
        # Killed where it stands, and cut by the server, in turns.
        while True:
            process = subprocess.Popen(command, env=machine.environment, stdin=subprocess.DEVNULL)
            goal = hub.sent + 60_000_000
            while process.poll() is None and (kills >= 5 or hub.sent < goal):
                time.sleep(0.005)
            if process.poll() is not None:
                assert process.returncode == 0
                break
            process.kill()
            process.wait()
            kills += 1
        assert kills == 5 and hub.broken + kills >= 20, (kills, hub.broken)
        assert hub.most_open > 1, "several parts come at once"
        assert local_hub.Large(machine.snapshot / "model.safetensors").sha256 == hub.files["model.safetensors"].sha256
        assert hub.sent < 1.1 * size, hub.sent
        print(f"{hub.sent / 1e9:.3f} GB transferred for {size / 1e9:.3f}")
    finally:
        hub.stop()
        shutil.rmtree(tmp_path, ignore_errors=True)
