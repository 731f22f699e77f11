"""Requests made from docs/openapi.yaml, good and bad: what is answered is what the file says (schemathesis)."""

import re

import hypothesis
import schemathesis
import yaml

from serving import ROOT

DOCUMENT = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())
schema = schemathesis.openapi.from_dict(DOCUMENT)

CHECKS = [
    schemathesis.checks.CHECKS.get_one(name) for name in (
        "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")]


@schema.parametrize()
@hypothesis.settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(hypothesis.HealthCheck))
def test_what_the_file_says(case, server):
    if isinstance(case.body, dict):
        # Answers of few tokens: it is about requests.
        for field in ("max_tokens", "max_completion_tokens"):
            if isinstance(case.body.get(field), int) and case.body[field] > 4:
                case.body[field] = 4
        if "max_tokens" not in case.body and isinstance(case.body.get("messages"), list):
            case.body["max_tokens"] = 4
    case.call_and_validate(base_url=server.origin, checks=CHECKS, timeout=60)


def test_every_route_is_in_the_file():
    source = (ROOT / "Sources/FastVLMServer/Route.swift").read_text()
    routes = set(re.findall(r'Route\(\s*"(\w+)", "([^"]+)"', source))
    listed = {(method.upper(), path.replace("{model}", "*"))
              for path, methods in DOCUMENT["paths"].items() for method in methods}
    # The page, and names that others have for the same thing.
    assert routes - listed <= {("GET", "/"), ("GET", "/healthz")}
    assert listed <= routes
