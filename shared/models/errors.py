"""Failures of the model endpoint as errors of the service."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import openai
from loguru import logger

from shared.errors import InputTooLongForModel, ModelTimeout, ModelUnavailable, ServiceError
from shared.models.client import retry_after_seconds

INVALID_RESPONSE = "The model endpoint sent an invalid response. Try again shortly."
_UNREACHABLE = "The model endpoint could not be reached. Try again shortly."
_CONTEXT_EXCEEDED = {
    "context_length_exceeded",  # OpenAI, vLLM
    "exceed_context_size_error",  # llama.cpp
}


@contextmanager
def endpoint_errors(model: str) -> Iterator[None]:
    """Raise a `ServiceError` for any failure of a call to the endpoint.

    The text of a library's exception may quote the request, the response or a part of the API key, so it is neither
    returned nor logged.
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
    except openai.APIStatusError as error:
        logger.warning("{} answered {} ({})", model, error.status_code, error.code)
        raise _error_for_status(error) from error
    except (openai.APIConnectionError, httpx2.TransportError) as error:
        cause = error.__cause__ or error
        logger.warning("{}: {}", model, type(cause).__name__)
        raise ModelUnavailable(_UNREACHABLE) from error
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


def _error_for_status(error: openai.APIStatusError) -> ServiceError:
    body = error.body if isinstance(error.body, dict) else {}
    if error.status_code in (400, 413, 422) and {str(body.get("code")), str(body.get("type"))} & _CONTEXT_EXCEEDED:
        return InputTooLongForModel("The request does not fit into the model's context. Make it shorter.")
    if error.status_code == 429:
        return ModelUnavailable("The model endpoint is busy.", retry_after=retry_after_seconds(error.response) or 5)
    if error.status_code >= 500:
        return ModelUnavailable("The model endpoint failed.", retry_after=retry_after_seconds(error.response) or 5)
    # A rejected key, an unknown model or an unsupported parameter, which the operator has to fix.
    logger.error("the model endpoint refuses this service's calls with {}", error.status_code)
    return ModelUnavailable("The model endpoint refused the call.", retry_after=60)
