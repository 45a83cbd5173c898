"""llama.cpp's own OpenAI-compatible server, with Qwen2.5-Coder-0.5B-Instruct."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import httpx2
import xllamacpp

from local.model_server.language_models import EMBEDDED_MODELS, QWEN, WEIGHTS, weights_of
from local.model_server.llama import server_params

MODEL = EMBEDDED_MODELS[QWEN]
ROOT = Path(__file__).parents[2]
CONTEXT = 8192  # tokens
SLOTS = 4  # concurrent requests
MAX_TOKENS = 400  # of an answer, unless the request says otherwise


@contextmanager
def llama_server(template: str = "", context: int = CONTEXT) -> Iterator[str]:
    """Serve the model while the block runs, and give the base URL of its API.

    Args:
        template: The chat template (Jinja); the model's own by default.
        context: Tokens that all slots share.
    """
    params = server_params(QWEN, weights_of(MODEL, {}, ROOT / WEIGHTS))
    params.use_jinja = True
    params.chat_template = template
    params.n_ctx = context
    params.n_parallel = SLOTS
    params.kv_unified = True
    params.n_predict = MAX_TOKENS
    params.sampling.temp = 0
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"


def busy_slots(base_url: str) -> int:
    """Return the number of requests that are being computed."""
    slots = httpx2.get(f"{base_url.removesuffix('/v1')}/slots", timeout=60, trust_env=False).json()
    return sum(slot["is_processing"] for slot in slots)


@cache
def own_template() -> str:
    """Return the chat template in the model's file, which describes calls as `<tool_call>{…}</tool_call>`."""
    with llama_server(context=256) as base_url:
        properties = httpx2.get(f"{base_url.removesuffix('/v1')}/props", timeout=60, trust_env=False).json()
    template: str = properties["chat_template"]
    return template


def fenced_template() -> str:
    """Return a template that describes tool calls as this model writes them: JSON in a fenced block.

    llama.cpp derives the form of calls from the template, so it finds them with this one, and not with the model's own.
    """
    return _replaced(
        own_template(),
        ("<tool_call>\\n", "```json\\n"),
        ("\\n</tool_call>", "\\n```"),
        ("within <tool_call></tool_call> XML tags", "in a fenced block"),
    )


def thinking_template() -> str:
    """Return a template of a model that thinks first: its prompt ends with `<think>`."""
    return _replaced(
        own_template(),
        (
            "{{- '<|im_start|>assistant\\n' }}\n{%- endif %}",
            "{{- '<|im_start|>assistant\\n<think>\\n' }}\n{%- endif %}",
        ),
        (
            "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}",
            (
                "{{- '<|im_start|>' + message.role + '\\n' }}"
                "{%- if message.reasoning_content %}"
                "{{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}"
                "{%- endif %}{{- message.content + '<|im_end|>' + '\\n' }}"
            ),
        ),
    )


# The model cannot think by itself. A grammar makes it write a sentence, the end of its thoughts, and an answer.
THOUGHTS = r'root ::= [a-zA-Z ,.]{10,60} "\n</think>\n\n" [a-zA-Z ,.]{10,60}'
ONLY_THOUGHTS = r"root ::= [a-zA-Z ,.]{10,60}"


def extra_body(grammar: str, reasoning_format: str) -> str:
    """Return `LLM_EXTRA_BODY` with llama.cpp's own parameters."""
    return json.dumps({"grammar": grammar, "reasoning_format": reasoning_format})


def _replaced(template: str, *replacements: tuple[str, str]) -> str:
    for old, new in replacements:
        assert old in template, f"the model's chat template has no {old!r}"
        template = template.replace(old, new)
    return template
