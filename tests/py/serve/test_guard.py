"""Who is let in (R18), and what every answer carries."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pocketllama.errors import UsageError
from pocketllama.serve.settings import Settings

from .server import Server

BODY = '{"prompt":"Once","max_tokens":1}'
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "[::2]",
        "",
        "a b",
    ],
)
def test_a_foreign_host_is_refused(server: Server, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/v1/models"), ("POST", "/v1/completions"), ("GET", "/health")):
        response = server.http.request(method, path, headers={"host": host, **JSON}, content=BODY)
        assert response.status_code in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.9:80", "[::1]:8080"])
def test_its_own_names_are_not(server: Server, host: str) -> None:
    assert server.http.get("/v1/models", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "chrome-extension://abc"]
)
def test_a_foreign_origin_is_refused(server: Server, origin: str) -> None:
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/completions"), ("OPTIONS", "/v1/completions")):
        headers = {"origin": origin, "access-control-request-method": "POST", **JSON}
        response = server.http.request(method, path, headers=headers, content=BODY)
        assert response.status_code == 403 and response.json()["error"]["code"] == "origin_not_allowed"
        assert not [name for name in response.headers if name.startswith("access-control")]


def test_the_page_may_ask(server: Server) -> None:
    headers = {"origin": server.url, "sec-fetch-site": "same-origin", **JSON}
    assert server.http.post("/v1/completions", content=BODY, headers=headers).status_code == 200
    # A picture or a script of another page, which sends no Origin; and a link to the page.
    assert server.http.get("/v1/models", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert server.http.get("/", headers=link).status_code == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "text/json"]
)
def test_only_json_is_read(server: Server, kind: str) -> None:
    for path in ("completions", "chat/completions", "embeddings"):
        response = server.http.post(f"/v1/{path}", content=BODY, headers={"content-type": kind})
        assert response.status_code == 415
    ok = server.http.post("/v1/completions", content=BODY, headers={"content-type": "Application/JSON; charset=utf-8"})
    assert ok.status_code == 200


def test_the_page_is_alone(server: Server) -> None:
    page = server.http.get("/")
    policy = page.headers["content-security-policy"]
    assert page.status_code == 200 and "default-src 'none'" in policy and "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert server.http.get("/../app.py").status_code == 404 == server.http.get("/%2e%2e/app.py").status_code
    missing = server.http.get("/nothing")
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "not_found"
    assert server.http.get("/v1/completions").status_code == 405


def test_a_request_has_an_id(server: Server) -> None:
    own = server.http.get("/v1/models", headers={"x-request-id": "mine-1"}).headers["x-request-id"]
    made = server.http.get("/v1/models", headers={"x-request-id": "a b\\n"}).headers["x-request-id"]
    assert own == "mine-1" and made.startswith("req-")
    assert server.logged("mine-1") and server.logged(made)


def test_the_log_tells_nothing_that_was_said(server: Server) -> None:
    server.chat("The password is swordfish", max_tokens=2)
    server.http.get("/v1/models", headers={"x-request-id": "behind-it"})
    assert server.logged("behind-it") and not any("swordfish" in line for line in server.lines)


def test_an_api_key(start: Callable[..., Server]) -> None:
    server = start("--host", "127.0.0.1", "--cors", "https://app.example", POCKETLLAMA_API_KEY="secret")
    assert server.http.get("/health").status_code == server.http.get("/").status_code == 200
    for path in ("/v1/models", "/metrics"):
        assert server.http.get(path).status_code == 401
        assert server.http.get(path, headers={"authorization": "Bearer secre"}).status_code == 401
        assert server.http.get(path, headers={"authorization": "Bearer secret"}).status_code == 200
    refused = server.post("completions", {"prompt": "x"})
    assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
    assert refused.json()["error"]["type"] == "authentication_error"
    assert not any("secret" in line for line in server.lines)
    # The page that was named may call, from its own origin.
    asked = server.http.options(
        "/v1/models", headers={"origin": "https://app.example", "access-control-request-method": "POST"}
    )
    assert asked.status_code == 204 and asked.headers["access-control-allow-origin"] == "https://app.example"
    headers = {"origin": "https://app.example", "authorization": "Bearer secret"}
    assert server.http.get("/v1/models", headers=headers).headers["vary"] == "Origin"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_other_machines_need_a_key(host: str) -> None:
    with pytest.raises(UsageError, match="API key"):
        Settings(host=host)
    open_to_all = Settings(host=host, api_key="k", allow_hosts=("models.example",))
    assert open_to_all.knows_host("192.168.1.7:8080") and open_to_all.knows_host("models.example")
    assert not open_to_all.knows_host("evil.example")


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 70000},
        {"parallel": 0},
        {"queue": -1},
        {"api_key": ""},
        {"api_key": "a b"},
        {"cors": ("*",)},
        {"host": ""},
    ],
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Settings(**wrong)  # type: ignore[arg-type]
