import pytest

import serving


@pytest.fixture(scope="session")
def server():
    """One server for all tests that change nothing about it."""
    with serving.Server() as running:
        yield running
        # Whatever was sent to it, it is alive.
        assert running.process.poll() is None, running.words()
        assert running.chat().json["choices"][0]["message"]["content"] == serving.BANANA
