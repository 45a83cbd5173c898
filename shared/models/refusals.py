"""Classify the errors of OpenAI-compatible endpoints by status, code, type and words.

Each server has its own form: OpenAI's `{"error": {…}}`, the same in a list (Gemini), `{"object": "error", …}` (vLLM,
Mistral), `{"detail": …}` (FastAPI), `{"error": "…"}` (Ollama, TEI), `{"code", "message"}` (SiliconFlow), JSON in a
string (OpenRouter's `metadata.raw`), plain text, a proxy's HTML; with a status of its own, or inside a response that
began with 200. `docs/model-errors.md` says what follows from each kind.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import openai

from shared.models import signs
from shared.models.error_facts import (
    MAX_BODY,
    ErrorFacts,
    error_facts,
    named_parameter,
    retry_seconds,
    stated_limit,
)
from shared.models.signs import Kind


@dataclass(frozen=True)
class Refusal:
    """A classified refusal. Nothing in it quotes the request, the key or the endpoint's text.

    Attributes:
        status: Status of the response, or the one that an error in a stream states.
        code: The endpoint's code or type.
        parameter: Name of the refused parameter.
        unsupported: Whether the endpoint does not support that parameter at all, and not only its value.
        limit: The stated maximum of a batch.
        retry_after: Seconds after which the endpoint allows a retry.
    """

    kind: Kind
    status: int | None = None
    code: str | None = None
    parameter: str | None = None
    unsupported: bool = False
    limit: int | None = None
    retry_after: int | None = None

    def __str__(self) -> str:
        """Return the facts for the log."""
        facts = (str(self.status or ""), self.code, f"parameter {self.parameter}" if self.parameter else "")
        return f"{self.kind} ({', '.join(filter(None, facts)) or 'no code'})"


def refusal_of(error: openai.APIError, sent: Collection[str] = ()) -> Refusal:
    """Classify an error of the openai client.

    Args:
        error: An error response, or an error event in a stream.
        sent: Names of the parameters of the request.
    """
    if isinstance(error, openai.APIStatusError):
        return classify(error.status_code, response_body(error.response), sent, error.response.headers)
    return classify(None, error.body, sent)


def refusal_in(error: openai.APIError) -> Refusal:
    """Return the refusal that a deeper layer has classified, which knows the parameters; or classify the error."""
    refusal = getattr(error, "refusal", None)
    return refusal if isinstance(refusal, Refusal) else refusal_of(error)


def error_in(body: object, client: openai.AsyncOpenAI) -> openai.APIError:
    """Return the exception for an error in a successful response."""
    request = httpx2.Request("POST", client.base_url)
    return openai.APIError("an error in a successful response", request, body=body)


def response_body(response: httpx2.Response) -> object:
    """Return the JSON of a response that has been read, or its text."""
    try:
        return json.loads(response.content[:MAX_BODY])
    except (ValueError, RecursionError):
        return response.text[:MAX_BODY]


def is_error(body: object) -> bool:
    """Return whether the JSON of a successful response, or of an event in a stream, is an error."""
    match body:
        case [dict(first), *_]:  # Gemini
            return "error" in first
        case dict():
            return _states_error(body) or (not (body.get("choices") or body.get("data")) and _looks_like_error(body))
        case _:
            return False


def _states_error(body: Mapping[str, Any]) -> bool:
    """Return whether a field states an error; the same field may be in an answer, and empty."""
    match body.get("choices"):
        case [{"error": error}, *_] if error:  # OpenRouter
            return True
    match body.get("base_resp"):
        case {"status_code": code} if code:  # MiniMax
            return True
    return bool(body.get("error"))


def _looks_like_error(body: Mapping[str, Any]) -> bool:
    if body.get("object") in ("error", "Error") or body.get("success") is False:
        return True
    return any(name in body for name in ("detail", "error_code", "error_msg")) or {"code", "message"} <= body.keys()


def classify(
    status: int | None, body: object, sent: Collection[str] = (), headers: Mapping[str, str] | None = None
) -> Refusal:
    """Classify an error response, or an error in a successful one.

    Args:
        status: None for an error in a stream or in a successful response.
        body: The response's JSON or text.
        sent: Names of the parameters of the request.
    """
    facts = error_facts(body)
    words = facts.words
    status = status if status and status >= 400 else facts.inner_status()
    wait = retry_seconds(headers or {}, words)
    kind = _kind_of_input(status, facts) or _kind_of_account(status, facts, wait) or _kind_of_status(status, facts)
    unsupported = signs.UNSUPPORTED.found(facts.codes, words)
    parameter = None
    if kind is Kind.INVALID_REQUEST or (kind is Kind.FAILURE and status is None and unsupported):
        parameter = named_parameter(facts, sent)
    if parameter and (kind is Kind.INVALID_REQUEST or parameter in sent):
        kind = Kind.PARAMETER
    return Refusal(
        kind,
        status,
        facts.code(),
        parameter if kind is Kind.PARAMETER else None,
        unsupported=unsupported,
        limit=stated_limit(words) if kind is Kind.BATCH_TOO_LARGE else None,
        retry_after=wait if kind.waiting_helps else None,
    )


def _kind_of_input(status: int | None, facts: ErrorFacts) -> Kind | None:
    codes, words = facts.codes, facts.words
    if signs.FILTERED.found(codes, words):
        return Kind.FILTERED
    if signs.CONTENT.found(codes, words):
        return Kind.CONTENT
    if signs.TOO_LARGE_AT_ANY_TIME.found(codes, words):
        return Kind.TOO_LONG
    if status in (401, 402, 403, 404, 429):
        return None
    if signs.BATCH_TOO_LARGE.found(codes, words):
        return Kind.BATCH_TOO_LARGE
    # Also with 500 (llama.cpp); 413 has no words if it comes from a proxy.
    return Kind.TOO_LONG if status == 413 or signs.TOO_LONG.found(codes, words) else None


def _kind_of_account(status: int | None, facts: ErrorFacts, wait: int | None) -> Kind | None:
    codes, words = facts.codes, facts.words
    if signs.GENERATION_FAILED.found(codes, words):
        return Kind.FAILURE
    # Gemini calls the quota of a minute "your current quota" too, but says when to ask again.
    if status == 402 or signs.QUOTA.found(codes, "") or (wait is None and signs.QUOTA_WORDS.found(codes, words)):
        return Kind.QUOTA
    if status == 401 or signs.AUTHENTICATION.found(codes, words):
        return Kind.AUTHENTICATION
    return Kind.MODEL_NOT_FOUND if signs.MODEL_NOT_FOUND.found(codes, words) else None


_KINDS = {403: Kind.PERMISSION, 404: Kind.MODEL_NOT_FOUND, 408: Kind.FAILURE, 409: Kind.FAILURE, 425: Kind.FAILURE}


def _kind_of_status(status: int | None, facts: ErrorFacts) -> Kind:
    codes, words = facts.codes, facts.words
    of_server = status is None or status >= 500
    if of_server and signs.INVALID_REQUEST.found(codes, "") and signs.UNSUPPORTED.found(codes, words):
        return Kind.INVALID_REQUEST  # gateways send a provider's 400 as 500
    if of_server or status == 429:
        if status in (503, 529) or signs.OVERLOADED.found(codes, words):
            return Kind.OVERLOADED
        return Kind.RATE_LIMIT if status == 429 or signs.RATE_LIMIT.found(codes, words) else Kind.FAILURE
    if not facts.parameters and signs.RATE_LIMIT.found(codes, words):
        return Kind.RATE_LIMIT  # with 403, or 400
    return _KINDS.get(status or 0, Kind.INVALID_REQUEST)
