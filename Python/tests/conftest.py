import pathlib

import pytest

import fastvlm

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def model():
    return fastvlm.Model(threads=2)


@pytest.fixture
def samples():
    return REPOSITORY / "Samples"


@pytest.fixture
def banana(samples):
    return samples / "single-banana.jpg"
