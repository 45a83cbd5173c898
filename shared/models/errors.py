"""Failures of the model endpoint as errors of the service."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import openai
from loguru import logger

from shared.errors import (
    InputFilteredByModel,
    InputKindNotSupported,
    InputTooLongForModel,
    ModelKeyRefused,
    ModelMisconfigured,
    ModelTimeout,
    ModelUnavailable,
    ServiceError,
)
from shared.models.refusals import Refusal, refusal_in
from shared.models.signs import Kind

INVALID_RESPONSE = "The model endpoint sent an invalid response. Try again shortly."
_UNREACHABLE = "The model endpoint could not be reached. Try again shortly."
_RETRY_SECONDS = 5


@contextmanager
def endpoint_errors(model: str) -> Iterator[None]:
    """Raise a `ServiceError` for any failure of a call to the endpoint.

    The text of a library's exception may quote the request, the response or a part of the API key, so it is neither
    returned nor logged; the kind of the refusal, its code and the name of the parameter are logged.
    """
    try:
        yield
    except ServiceError:
        raise
    except (TimeoutError, openai.APITimeoutError, httpx2.TimeoutException) as error:
        if any(isinstance(cause, httpx2.ConnectTimeout) for cause in _causes(error)):
            # The host does not answer, or refuses the connection: the aiohttp transport reports both as a timeout.
            logger.warning("{} cannot be reached", model)
            raise ModelUnavailable(_UNREACHABLE) from error
        raise ModelTimeout("The model took too long. Try again, or ask for a shorter answer.") from error
    except (openai.APIConnectionError, httpx2.TransportError) as error:
        cause = error.__cause__ or error
        logger.warning("{}: {}", model, type(cause).__name__)
        raise ModelUnavailable(_UNREACHABLE) from error
    except openai.APIError as error:
        raise error_for(refusal_in(error), model) from error
    except Exception as error:
        # The client libraries do not validate responses, so an invalid one can raise any exception: a ValueError, a
        # KeyError, aiohttp's RuntimeError("Connection closed.") for a malformed chunk.
        logger.warning("{} sent an invalid response: {}", model, type(error).__name__)
        logger.opt(exception=error).debug("the cause")
        raise ModelUnavailable(INVALID_RESPONSE) from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__


def error_for(refusal: Refusal, model: str) -> ServiceError:
    """Return the error for a refusal, and log it: as an error if an operator has to act."""
    match refusal.kind:
        case Kind.TOO_LONG | Kind.BATCH_TOO_LARGE:
            logger.info("{}: {}", model, refusal)
            return InputTooLongForModel(InputTooLongForModel.example_detail)
        case Kind.FILTERED:
            logger.info("{}: {}", model, refusal)
            return InputFilteredByModel(InputFilteredByModel.example_detail)
        case Kind.CONTENT:
            logger.info("{}: {}", model, refusal)
            return InputKindNotSupported(InputKindNotSupported.example_detail)
        case Kind.RATE_LIMIT | Kind.OVERLOADED | Kind.FAILURE:
            logger.warning("{}: {}", model, refusal)
            words = "failed" if refusal.kind is Kind.FAILURE else "is busy"
            wait = refusal.retry_after or _RETRY_SECONDS
            return ModelUnavailable(f"The model endpoint {words}.", retry_after=wait)
        case _:
            logger.error("{}: {}. {}", model, refusal, _REMEDIES[refusal.kind])
            if refusal.kind is Kind.AUTHENTICATION:
                return ModelKeyRefused(_DETAILS[refusal.kind])
            return ModelMisconfigured(
                _DETAILS[refusal.kind], restart=refusal.kind in (Kind.PARAMETER, Kind.INVALID_REQUEST)
            )


_DETAILS = {
    Kind.AUTHENTICATION: "The model endpoint refuses this service's key.",
    Kind.PERMISSION: "The model endpoint denies this service access.",
    Kind.QUOTA: "This service's quota at the model endpoint is exhausted.",
    Kind.MODEL_NOT_FOUND: "The model endpoint does not have the model.",
    Kind.PARAMETER: "The model endpoint refused the call.",
    Kind.INVALID_REQUEST: "The model endpoint refused the call.",
}
_REMEDIES = {
    Kind.AUTHENTICATION: "Check OPENAI_API_KEY (EMBEDDING_API_KEY for embeddings)",
    Kind.PERMISSION: "Check what the endpoint allows this key",
    Kind.QUOTA: "Check the plan and the balance at the endpoint",
    Kind.MODEL_NOT_FOUND: "Check LLM_MODEL, LLM_FALLBACK_MODELS or EMBEDDING_MODEL",
    Kind.PARAMETER: "LLM_EXTRA_BODY and LLM_MODEL_OPTIONS set or remove (null) parameters of chat calls, "
    "EMBEDDING_EXTRA_BODY of embedding calls",
    Kind.INVALID_REQUEST: "The endpoint names no parameter: its own log may",
}
