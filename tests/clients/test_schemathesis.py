"""R17: thousands of requests made of the API's own description, valid ones and others; none is a fault of the server.

$POCKETLLAMA_CASES says how many in all; CI asks for 10,000.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest

from tests.py.serve.server import Server

schemathesis = pytest.importorskip("schemathesis", reason="the clients are installed in CI only: .ci/clients.txt")

CASES = int(os.environ.get("POCKETLLAMA_CASES", "300"))


def test_no_request_is_a_fault_of_the_server(server: Server) -> None:
    import hypothesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    wanted = [not_a_server_error, checks.status_code_conformance, checks.content_type_conformance]
    wanted += [checks.response_schema_conformance]
    operations = [result.ok() for result in schema.get_all_operations()]
    # A path without a body has few different requests.
    posts = sum(operation.method.upper() == "POST" for operation in operations)
    asked: Counter[int] = Counter()
    for operation in operations:
        most = CASES // posts // 2 if operation.method.upper() == "POST" else 20
        for mode in schemathesis.GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)

            @hypothesis.given(case=strategy)
            @hypothesis.settings(
                max_examples=most + most // 8,  # some of them it makes twice
                deadline=None,
                suppress_health_check=list(hypothesis.HealthCheck),
                derandomize=True,
                database=None,
            )
            def run(case: Any) -> None:
                if isinstance(case.body, dict):
                    case.body = {**case.body, **_small(case.body)}
                    if isinstance(case.body.get("model"), str) and len(case.body["model"]) % 4:
                        case.body["model"] = "tales"
                response = case.call_and_validate(base_url=server.url, checks=wanted, timeout=60)
                asked[response.status_code] += 1

            try:
                run()
            except hypothesis.errors.Unsatisfiable:
                pass  # there is nothing invalid to send to an operation without parameters
    print(f"{sum(asked.values())} requests: {dict(asked)}")
    assert sum(asked.values()) >= CASES and asked[200] > CASES // 20 and asked[400] > CASES // 20
    assert server.process.poll() is None


def _small(body: dict[str, Any]) -> dict[str, Any]:
    """Texts as short as a test can wait for, where a number is asked for at all."""
    short: dict[str, Any] = {}
    for name, most in (("max_tokens", 2), ("max_completion_tokens", 2), ("n", 2)):
        value = body.get(name)
        if name != "max_completion_tokens" and ("prompt" in body or "messages" in body):
            value = most if value is None else value
        if isinstance(value, int) and not isinstance(value, bool) and value > most:
            value = most
        if value is not None:
            short[name] = value
    return short
