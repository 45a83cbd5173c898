"""Assistants as tools of MCP, and the search in documents as another one."""

import re
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from fastapi.exceptions import RequestValidationError
from mcp import types
from mcp.shared.exceptions import McpError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from project3_rag_docs.answers.answering import DocumentAnswerer
from project3_rag_docs.schemas import HitRead, SearchRequest, SearchResponse
from project4_agent_api.accounts.oauth.authorization import ASSISTANTS, DOCUMENTS
from project4_agent_api.models import Assistant
from project4_agent_api.wires.conversations import Conversations
from project4_agent_api.wires.graph_inputs import InputForm, input_form
from project4_agent_api.wires.items import Citation, Ended, Interrupt, Item, Text, ToolCall, ToolResult
from project4_agent_api.wires.mcp.approval import Form
from project4_agent_api.wires.mcp.exchange import Exchange
from project4_agent_api.wires.mcp.names import SEARCH, ToolNames
from project4_agent_api.wires.mcp.resources import document_uri
from shared.errors import InvalidRequest, NotFound, ServiceError

_PAGE = 50


class Question(BaseModel):
    """A question of the graph that waits for an answer."""

    id: str
    value: Any


class RunResult(BaseModel):
    """The structured result of an assistant's tool."""

    status: Literal["success", "interrupted", "stopped", "error"] = Field(
        description="`interrupted`: the run waits for answers to `questions`."
    )
    answer: str = Field(description="The assistant's last message.")
    thread_id: str
    run_id: str
    citations: list[dict[str, Any]] = Field(default=[], description="The passages behind markers such as `[1]`.")
    questions: list[Question] = []
    output: Any = Field(default=None, description="The state of a graph that takes no messages.")


_RESULT_SCHEMA = RunResult.model_json_schema()
_SEARCH_TOOL = types.Tool(
    name=SEARCH,
    title="Search documents",
    description="Find passages in the user's documents, by keywords and by meaning.",
    inputSchema=SearchRequest.model_json_schema(),
    outputSchema=SearchResponse.model_json_schema(),
    annotations=types.ToolAnnotations(readOnlyHint=True, openWorldHint=False),
)


@dataclass(frozen=True)
class Tools:
    """The tools of a request's user."""

    conversations: Conversations
    names: ToolNames

    @classmethod
    def from_conversations(cls, conversations: Conversations) -> "Tools":
        """Return the tools of a request's user."""
        return cls(conversations, ToolNames.for_graphs(conversations.assistants.graph_ids))

    async def list(self, cursor: str | None) -> types.ListToolsResult:
        """Return a page of tools: the search, then the assistants.

        Raises:
            InvalidRequest: if the cursor is not one of an earlier page.
        """
        scopes = self.conversations.connection.state.principal.scopes
        visible = await self.conversations.list_assistants() if scopes is None or ASSISTANTS in scopes else []
        start = _offset(cursor)
        tools = [_SEARCH_TOOL] if start == 0 and (scopes is None or DOCUMENTS in scopes) else []
        for assistant in visible[start : start + _PAGE]:
            try:
                form = await input_form(self.conversations, assistant)
            except ServiceError:
                continue  # its configuration does not fit its graph: no client could call it
            tools.append(_tool(self.names.name(assistant), assistant, form))
        following = str(start + _PAGE) if len(visible) > start + _PAGE else None
        return types.ListToolsResult(tools=tools, nextCursor=following)

    async def call(self, params: types.CallToolRequestParams, exchange: Exchange) -> types.CallToolResult:
        """Call a tool. An error of the tool is a result with `isError`, which a model can read.

        Raises:
            McpError: if there is no tool with this name.
        """
        arguments = params.arguments or {}
        try:
            if params.name == SEARCH:
                return await self._search(arguments)
            assistant = await self._find(params.name)
            call = AssistantCall(self.conversations, assistant, exchange)
            return await call.execute(arguments)
        except (ServiceError, HTTPException) as error:  # the latter by a project's own authorization
            return _error(error.detail)
        except RequestValidationError as error:
            return _error("; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()))

    async def _search(self, arguments: dict[str, Any]) -> types.CallToolResult:
        try:
            request = SearchRequest.model_validate(arguments)
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from None
        answerer: DocumentAnswerer = self.conversations.connection.scope["app"].state.document_answerer
        hits = await answerer.search(self.conversations.connection.state.principal.account_id, request)
        found = SearchResponse(hits=[HitRead.model_validate(hit) for hit in hits])
        return types.CallToolResult(
            content=[_text(found.model_dump_json())], structuredContent=found.model_dump(mode="json")
        )

    async def _find(self, name: str) -> Assistant:
        assistant_id = self.names.assistant_id(name)
        with suppress(NotFound):
            if assistant_id and self.names.name(found := await self.conversations.get_assistant(assistant_id)) == name:
                return found
        raise McpError(types.ErrorData(code=types.INVALID_PARAMS, message=f"Unknown tool: {name[:100]!a}"))


@dataclass
class AssistantCall:
    """A call of an assistant's tool: a run, and those that continue it after its questions were answered."""

    conversations: Conversations
    assistant: Assistant
    exchange: Exchange
    _texts: dict[str, str] = field(default_factory=dict, init=False)
    _citations: list[Citation] = field(default_factory=list, init=False)
    _questions: list[Interrupt] = field(default_factory=list, init=False)

    async def execute(self, arguments: dict[str, Any]) -> types.CallToolResult:
        """Run the assistant until it has finished, or waits for an answer that this client cannot give."""
        form = await input_form(self.conversations, self.assistant)
        run_input, thread_id = form.read(arguments)
        body: dict[str, Any] = {"input": run_input}
        thread_id = thread_id or await self.conversations.create_thread({})
        while True:
            run_id, ended = await self._run(body, thread_id)
            answers = await self._ask() if not ended.error and self._questions else None
            if not answers:
                return self._result(form, thread_id, run_id, ended)
            body = {"command": {"resume": answers}, "strict_resume": True}

    async def _run(self, body: dict[str, Any], thread_id: UUID) -> tuple[UUID, Ended]:
        """Start a run, and follow it to its end. The client's cancellation stops it; a lost connection does not."""
        self._questions.clear()
        given = {"assistant_id": str(self.assistant.assistant_id), "on_disconnect": "continue", **body}
        async with (
            self.conversations.start(given, thread_id) as run,
            self.exchange.stopping(lambda: self.conversations.stop(thread_id, run.key.run_id)),
            aclosing(run.items()) as items,
        ):
            async for item in items:
                if isinstance(item, Ended):
                    return run.key.run_id, item
                await self._add(item)
        raise RuntimeError("the items of a run end with `Ended`")

    async def _add(self, item: Item) -> None:
        match item:
            case Text():
                self._texts[item.message_id] = self._texts.get(item.message_id, "") + item.text
                await self.exchange.report("writing", often=True)
            case ToolCall():
                await self.exchange.report(f"calling {item.name}")
            case ToolResult():
                await self.exchange.report("received a result")
            case Citation():
                self._citations.append(item)
            case Interrupt():
                self._questions.append(item)

    async def _ask(self) -> dict[str, Any] | None:
        """Ask the client's user the graph's questions. None if one of them stays open."""
        forms = {question.id: Form.from_interrupt(question) for question in self._questions}
        if not self.exchange.can_ask or None in forms.values():
            return None
        answers: dict[str, Any] = {}
        for question_id, form in forms.items():
            answer = form.answer(await self.exchange.ask(form.message, form.schema)) if form else None
            if answer is None:
                return None
            answers[question_id] = answer
        return answers

    def _result(self, form: InputForm, thread_id: UUID, run_id: UUID, ended: Ended) -> types.CallToolResult:
        answer = next(reversed(self._texts.values()), "")
        result = RunResult(
            status=_status(ended, waits=bool(self._questions)),
            answer=answer,
            thread_id=str(thread_id),
            run_id=str(run_id),
            citations=[_citation(citation) for citation in self._citations],
            questions=[Question(id=question.id, value=question.value) for question in self._questions],
            output=None if form.kind == "message" else ended.state,
        )
        return types.CallToolResult(
            content=[_text(_describe(result, ended)), *_links(self._citations)],
            structuredContent=result.model_dump(mode="json"),
            isError=bool(ended.error),
        )


def _tool(name: str, assistant: Assistant, form: InputForm) -> types.Tool:
    return types.Tool(
        name=name,
        title=assistant.name,
        description=assistant.description or f"Run the assistant {assistant.name}.",
        inputSchema=form.schema,
        outputSchema=_RESULT_SCHEMA,
        _meta={"assistant_id": str(assistant.assistant_id), "graph_id": assistant.graph_id},
    )


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not re.fullmatch(r"[1-9]\d{0,5}", cursor, re.ASCII):
        raise InvalidRequest("The cursor is not one of an earlier page.")
    return int(cursor)


def _status(ended: Ended, *, waits: bool) -> Literal["success", "interrupted", "stopped", "error"]:
    if ended.stopped:
        return "stopped"
    if ended.error:
        return "error"
    return "interrupted" if waits else "success"


def _describe(result: RunResult, ended: Ended) -> str:
    """Return the result as text for a model."""
    if ended.error:
        return f"{ended.error.get('error')}: {ended.error.get('message')}"
    if result.questions:
        return (
            f"The run {result.run_id} on thread {result.thread_id} waits for a person's answer, and has done nothing "
            "that needs one. The user can answer on the page of this service, or resume the thread with its API. "
            f"The questions are: {result.model_dump_json(include={'questions'})}"
        )
    return result.answer or result.model_dump_json(include={"output"})


def _citation(citation: Citation) -> dict[str, Any]:
    return {name: getattr(citation, name) for name in Citation.__dataclass_fields__}


def _links(citations: Sequence[Citation]) -> list[types.ResourceLink]:
    names = {citation.document_id: citation.filename for citation in citations}
    return [
        types.ResourceLink(type="resource_link", uri=document_uri(document_id), name=name)
        for document_id, name in names.items()
    ]


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


def _error(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[_text(text)], isError=True)
