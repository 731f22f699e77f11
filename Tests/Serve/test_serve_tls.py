"""Certificates (make test-tls): a program that was built with the trait TLS, named by FASTVLM_TLS."""

import os
import pathlib
import signal
import socket
import ssl
import subprocess
import time

import httpx
import openai
import pytest

import serving

PROGRAM = os.environ.get("FASTVLM_TLS")
if not PROGRAM:
    pytest.skip("make test-tls builds what this needs", allow_module_level=True)


def certificate(folder, name, number):
    """A chain of one certificate for this machine, and its key."""
    chain, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-set_serial", str(number), "-keyout", key, "-out", chain], check=True, capture_output=True)
    return chain, key


class SecureServer(serving.Server):
    def __init__(self, chain, key, *arguments):
        self.chain = chain
        serving.FASTVLM, plain = pathlib.Path(PROGRAM), serving.FASTVLM
        try:
            super().__init__("--tls-certificate", chain, "--tls-key", key, *arguments, wait=False)
        finally:
            serving.FASTVLM = plain
        self.origin = f"https://localhost:{self.port}"
        end = time.monotonic() + 120
        while time.monotonic() < end:
            assert self.process.poll() is None, self.words()
            try:
                if self.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("not ready: " + self.words())

    def get(self, path):
        return httpx.get(self.origin + path, verify=ssl.create_default_context(cafile=str(self.chain)), trust_env=False)

    def serial(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.port)) as plain, context.wrap_socket(plain) as secure:
            seen = ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True))
            self.version = secure.version()
        answer = subprocess.run(["openssl", "x509", "-noout", "-serial"], input=seen, text=True, capture_output=True)
        return int(answer.stdout.strip().removeprefix("serial="), 16)


@pytest.fixture
def server(tmp_path):
    with SecureServer(*certificate(tmp_path, "one", 17)) as running:
        yield running


def test_clients_over_https(server):
    client = openai.OpenAI(
        base_url=server.origin + "/v1", api_key="none", max_retries=0,
        http_client=httpx.Client(verify=ssl.create_default_context(cafile=str(server.chain)), trust_env=False))
    answer = client.chat.completions.create(model="default", messages=serving.messages(), temperature=0)
    assert answer.choices[0].message.content == serving.BANANA
    chunks = client.chat.completions.create(model="default", messages=serving.messages(), temperature=0, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == serving.BANANA
    command = ["curl", "-sS", "--noproxy", "*", "--cacert", server.chain, server.origin + "/healthz"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout == "ok\n"
    # Nobody is trusted without a reason, and nothing is spoken in the clear.
    untrusted = subprocess.run(command[:4] + command[-1:], capture_output=True, timeout=60)
    assert untrusted.returncode == 60
    with pytest.raises((httpx.TransportError, OSError)):
        httpx.get(f"http://127.0.0.1:{server.port}/healthz", trust_env=False)
    assert server.get("/healthz").status_code == 200
    server.serial()
    assert server.version in ("TLSv1.2", "TLSv1.3")


def test_a_client_that_leaves_is_noticed_through_tls(server):
    context = ssl.create_default_context(cafile=str(server.chain))
    with httpx.Client(verify=context, trust_env=False) as client:
        body = serving.body(stream=True, **serving.LONG)
        with client.stream("POST", server.origin + "/v1/chat/completions", json=body) as response:
            assert response.status_code == 200
            lines = response.iter_lines()  # its end would be the connection's
            next(lines)
            assert server.is_busy()
    assert server.is_idle_within(3)


def test_a_renewed_certificate_is_read_at_sighup(server, tmp_path):
    assert server.serial() == 17
    key = tmp_path / "one-key.pem"
    chain, new_key = certificate(tmp_path, "two", 18)
    server.chain.write_bytes(chain.read_bytes())
    key.write_bytes(new_key.read_bytes())
    # Not before it is asked to.
    assert server.serial() == 17
    server.signal(signal.SIGHUP)
    end = time.monotonic() + 10
    while server.serial() != 18 and time.monotonic() < end:
        time.sleep(0.05)
    assert server.serial() == 18 and server.get("/healthz").status_code == 200
    # What cannot be used leaves the old one in place.
    server.chain.write_text("no certificate")
    server.signal(signal.SIGHUP)
    time.sleep(0.5)
    assert server.serial() == 18 and "cannot read the certificate" in server.words()


@pytest.mark.parametrize("fault", ["no chain", "no key", "garbage", "another key"])
def test_what_is_wrong_with_a_certificate_is_said(tmp_path, fault):
    chain, key = certificate(tmp_path, "one", 17)
    if fault == "no chain":
        chain = tmp_path / "none.pem"
    elif fault == "no key":
        key = tmp_path / "none.pem"
    elif fault == "garbage":
        chain.write_text("no certificate")
    else:
        key = certificate(tmp_path, "other", 18)[1]
    result = subprocess.run([PROGRAM, "serve", "--lazy", "--port", str(serving.free_port()), "--tls-certificate", chain,
                             "--tls-key", key], capture_output=True, text=True, timeout=60)
    assert result.returncode == 64, result.stderr
    assert "cannot listen" not in result.stderr and str(tmp_path) in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
