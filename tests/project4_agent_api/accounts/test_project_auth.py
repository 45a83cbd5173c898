"""The `Auth` object of a project: its handlers' parameters, return values and precedence."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langgraph_sdk import Auth
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import Message

from project4_agent_api.accounts.principals import Principal
from project4_agent_api.accounts.project_auth import ProjectAuth
from project4_agent_api.core.project_user import ProjectUser
from project4_agent_api.core.visibility import Access, is_project_user, owner_of_identity
from project4_agent_api.crons.firing import DueRun
from project4_agent_api.graphs import langgraph_json
from project4_agent_api.models import AccountRole
from shared.errors import ConfigurationError, Forbidden, Unauthorized

HEADER = "from langgraph_sdk import Auth\nauth = Auth()\n"


def load(folder: Path, source: str, *, header: str = HEADER, production: bool = False, **part: Any) -> ProjectAuth:
    (folder / f"auth_{folder.name}.py").write_text(header + source)
    path = folder / "langgraph.json"
    file = {"graphs": {"a": "./a.py:a"}, "auth": {"path": f"./auth_{folder.name}.py:auth", **part}}
    path.write_text(json.dumps(file))
    loaded = ProjectAuth.load(langgraph_json.read(path), production=production)
    assert loaded
    return loaded


def connection(body: bytes = b"", client: str = "203.0.113.7", **headers: str) -> tuple[HTTPConnection, Any]:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/threads",
        "query_string": b"a=1",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "client": (client, 1),
    }
    waiting: list[Message] = [
        {"type": "http.request", "body": body[:2], "more_body": True},
        {"type": "http.request", "body": body[2:], "more_body": False},
    ]

    async def receive() -> Message:
        return waiting.pop(0)

    return HTTPConnection(scope), receive


RETURNED: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ('return "ada"', {"identity": "ada", "display_name": "ada", "permissions": [], "is_authenticated": True}),
    "mapping": (
        'return {"identity": "ada", "display_name": "Ada", "permissions": ["a"], "org": {"id": 5}}',
        {"identity": "ada", "display_name": "Ada", "permissions": ["a"], "is_authenticated": True, "org": {"id": 5}},
    ),
    "tuple": ('return ["a"], "ada"', {"identity": "ada", "permissions": ["a"]}),
    "object": (
        "import types\n    return types.SimpleNamespace(identity='ada', permissions=('a',), age=3)",
        {"identity": "ada", "permissions": ["a"], "age": 3},
    ),
}


@pytest.mark.parametrize("kind", RETURNED)
@pytest.mark.parametrize("define", ["def", "async def"])
async def test_users_of_all_forms_are_accepted(tmp_path: Path, kind: str, define: str) -> None:
    source, expected = RETURNED[kind]
    auth = load(tmp_path, f"@auth.authenticate\n{define} authenticate(authorization):\n    {source}\n")
    principal, _ = await auth.authenticate(*connection(authorization="Bearer x"))
    assert principal.project_user
    assert expected.items() <= principal.project_user.to_json().items()
    assert principal.account_id == owner_of_identity("ada")
    assert is_project_user(principal.account_id)
    user = principal.project_user
    assert (user.identity, user["identity"], user.get("nothing", 1), "identity" in user) == ("ada", "ada", 1, True)


async def test_handler_gets_the_parameters_it_names(tmp_path: Path) -> None:
    source = (
        "@auth.authenticate\nasync def authenticate(request, headers, authorization, path, method, query_params, body,"
        " path_params, other=1):\n    assert request.headers['x-a'] == 'b' and headers[b'x-a'] == b'b'\n"
        "    return {'identity': 'ada', 'seen': [authorization, path, method, query_params['a'], body, other]}\n"
    )
    auth = load(tmp_path, source)
    principal, receive = await auth.authenticate(*connection(b'{"a": 2}', authorization="Bearer x", x_a="b"))
    assert principal.project_user
    assert principal.project_user["seen"] == ["Bearer x", "/threads", "POST", "1", {"a": 2}, 1]
    # The route still receives the whole body.
    assert [(await receive())["body"] for _ in range(2)] == [b'{"', b'a": 2}']


DEPENDENCIES = """
from __future__ import annotations
from typing import Annotated
from fastapi import Depends, Header, HTTPException, Query, Request
from langgraph_sdk import Auth

auth = Auth()
closed = []

async def tenant(request: Request, a: int = Query()):
    yield f"{request.url.path} {a}"
    closed.append("tenant")

def account(x_token: Annotated[str, Header()], tenant: Annotated[str, Depends(tenant)]):
    if x_token == "wrong":
        raise HTTPException(401, "This token is unknown.")
    return f"{x_token} of {tenant}"

@auth.authenticate
DEFINE authenticate(path: str, account: Annotated[str, Depends(account)], other: str = Depends(tenant)):
    assert not closed
    return {"identity": "ada", "seen": [path, account, other], "closed": closed}
"""


@pytest.mark.parametrize("define", ["def", "async def"])
async def test_dependencies_of_the_handler_are_solved_for_each_request(tmp_path: Path, define: str) -> None:
    auth = load(tmp_path, DEPENDENCIES.replace("DEFINE", define), header="")
    principal, _ = await auth.authenticate(*connection(x_token="t"))
    assert principal.project_user
    assert principal.project_user["seen"] == ["/threads", "t of /threads 1", "/threads 1"]
    assert principal.project_user["closed"] == ["tenant"]


@pytest.mark.parametrize(
    ("token", "detail"),
    [("wrong", "This token is unknown."), (None, "The credentials of this request are not complete.")],
)
async def test_dependencies_of_the_handler_may_refuse(tmp_path: Path, token: str | None, detail: str) -> None:
    auth = load(tmp_path, DEPENDENCIES.replace("DEFINE", "def"), header="")
    with pytest.raises(Unauthorized, match=detail):
        await auth.authenticate(*(connection(x_token=token) if token else connection()))


async def test_dependencies_of_the_handler_are_solved_for_websockets(tmp_path: Path) -> None:
    auth = load(tmp_path, DEPENDENCIES.replace("DEFINE", "def"), header="")
    request, receive = connection(x_token="t")
    request.scope["type"] = "websocket"
    del request.scope["method"]
    principal, _ = await auth.authenticate(request, receive)
    assert principal.account_id == owner_of_identity("ada")


@pytest.mark.parametrize(
    ("source", "error", "status"),
    [
        ("raise Auth.exceptions.HTTPException(status_code=401, detail='No.')", Unauthorized, 401),
        ("raise Auth.exceptions.HTTPException(status_code=403, detail='No.')", HTTPException, 403),
        ("raise Auth.exceptions.HTTPException(status_code=429, detail='No.', headers={'Retry-After': '9'})", None, 429),
        ("raise Auth.exceptions.HTTPException(status_code=302, detail='No.')", HTTPException, 500),
        ("return None", Unauthorized, 401),
        ("assert False, 'No.'", Unauthorized, 401),
        ("return {'name': 'ada'}", TypeError, None),
        ("raise KeyError('x')", KeyError, None),
    ],
)
async def test_refusals_keep_their_status(
    tmp_path: Path, source: str, error: type[Exception] | None, status: int | None
) -> None:
    auth = load(tmp_path, f"@auth.authenticate\nasync def authenticate():\n    {source}\n")
    with pytest.raises(error or HTTPException) as refused:
        await auth.authenticate(*connection())
    assert getattr(refused.value, "status_code", getattr(refused.value, "status", None)) == status
    if status == 429:
        assert refused.value.headers == {"Retry-After": "9"}  # type: ignore[attr-defined]  # of an HTTPException


UNUSABLE_DEPENDENCY = """
from fastapi import Depends

def account(key: object()):
    return key

@auth.authenticate
async def authenticate(account=Depends(account)):
    return account
"""


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("", "has no @auth.authenticate handler"),
        ("@auth.authenticate\nasync def authenticate(token):\n    pass", "takes an unknown 'token'"),
        (
            UNUSABLE_DEPENDENCY,
            "a dependency of its @auth.authenticate handler",
        ),
        ("auth = 5", "is int, not an Auth of langgraph_sdk"),
        ("del auth", "has no 'auth'"),
    ],
)
def test_unusable_auth_is_one_line(tmp_path: Path, source: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as refused:
        load(tmp_path, source)
    assert "\n" not in str(refused.value)
    assert "auth.path" in str(refused.value)


NOBODY = "@auth.authenticate\nasync def authenticate():\n    return None\n"


@pytest.mark.parametrize(
    ("options", "client", "scheme", "admitted"),
    [
        ({}, "127.0.0.1", "langsmith", True),
        ({}, "203.0.113.7", "langsmith", False),
        ({}, "127.0.0.1", "other", False),
        ({"production": True}, "127.0.0.1", "langsmith", False),
        ({"disable_studio_auth": True}, "127.0.0.1", "langsmith", False),
    ],
)
async def test_studio_is_admitted_on_a_developers_machine_only(
    tmp_path: Path, options: dict[str, Any], client: str, scheme: str, admitted: bool
) -> None:
    auth = load(tmp_path, NOBODY, **options)
    if admitted:
        principal, _ = await auth.authenticate(*connection(client=client, x_auth_scheme=scheme))
        assert principal.project_user
        assert isinstance(principal.project_user.for_handlers(), Auth.types.StudioUser)
    else:
        with pytest.raises(Unauthorized):
            await auth.authenticate(*connection(client=client, x_auth_scheme=scheme))


HANDLERS = """
@auth.on
async def anything(ctx, value):
    return {"from": "anything"}

@auth.on(actions="read")
async def reading(ctx, value):
    return {"from": "reading"}

@auth.on.threads
async def threads(ctx, value):
    return {"from": "threads"}

@auth.on.threads.create
async def first(ctx, value):
    return {"from": "first"}

@auth.on.crons.read
async def crons(ctx, value):
    raise Auth.exceptions.HTTPException(status_code=404)

@auth.on.crons.delete
async def delete_cron(ctx, value):
    assert value.get("mine"), "not yours"

@auth.on.store
async def store(ctx, value):
    value["namespace"] = (ctx.user.identity, *value["namespace"])
    return True
"""


async def test_most_specific_handler_decides(tmp_path: Path) -> None:
    auth = load(tmp_path, NOBODY + HANDLERS)
    user = ProjectUser({"identity": "ada", "permissions": ["a"]})
    ada = Principal(owner_of_identity("ada"), AccountRole.USER, "ada", "project", project_user=user)

    async def asked(resource: str, action: str, **value: Any) -> Any:  # noqa: ANN401  a filter
        return await auth.authorize(ada, resource, action, value)

    assert await asked("threads", "create") == {"from": "first"}
    assert await asked("threads", "read") == {"from": "threads"}
    assert await asked("threads", "create_run") == {"from": "threads"}
    assert await asked("assistants", "read") == {"from": "reading"}
    assert await asked("assistants", "create") == {"from": "anything"}
    with pytest.raises(HTTPException) as missing:
        await asked("crons", "read")
    assert missing.value.status_code == 404
    with pytest.raises(Forbidden, match="not yours"):
        await asked("crons", "delete")
    assert await asked("crons", "delete", mine=True) == {}
    value: dict[str, Any] = {"namespace": ("a",)}
    assert await auth.authorize(ada, "store", "put", value) == {}
    assert value == {"namespace": ("ada", "a")}
    assert auth.shares_store


@pytest.mark.parametrize(
    "filter_", [{"a": {"$gt": 1}}, {"a": {"$eq": 1, "$contains": 2}}, {"a": {}}, {"$or": [{"a": 1}]}, {"$or": "x"}, "x"]
)
def test_malformed_filter_is_an_error_and_never_ignored(filter_: Any) -> None:  # noqa: ANN401  any JSON
    with pytest.raises((TypeError, ValueError)):
        Access(None, filter_).sql("threads")


def test_run_of_a_cron_has_the_user_who_created_it() -> None:
    payload = {"config": {"configurable": {}}, "langgraph_auth_user": {"identity": "ada", "team": "red"}}
    names = ("cron_id", "owner_id", "assistant_id")
    row = dict.fromkeys(("thread_id", "on_run_completed")) | {name: uuid4() for name in names}
    due = DueRun.from_row(row | {"payload": payload, "metadata": {}})
    assert due.user == {"identity": "ada", "team": "red"}
    assert "langgraph_auth_user" not in due.fields
