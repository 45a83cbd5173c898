"""Record answers of llama.cpp's server: `python -m tests.real_model.record` writes them for the tests of the models.

The tests replay them byte by byte, without a model (`tests/shared/models/test_llamacpp_recordings.py`). Record again
after an update of xllamacpp, and look at the difference.
"""

import json
from typing import Any

import httpx2

from tests.real_model.llama import (
    ONLY_THOUGHTS,
    ROOT,
    THOUGHTS,
    fenced_template,
    llama_server,
    own_template,
    thinking_template,
)

RECORDINGS = ROOT / "tests" / "shared" / "models" / "llamacpp_recordings.json"
Body = dict[str, Any]

_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def _says(text: str) -> Body:
    return {"role": "user", "content": text}


def _calls(arguments: str) -> Body:
    function = {"name": "get_weather", "arguments": arguments}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "function", "function": function}]}


_ASKED = [_says("What is the weather in Paris?")]
_TOOL = {"role": "tool", "tool_call_id": "a", "content": "sunny"}
_THINKING = {"messages": [_says("What is HTTP?")], "grammar": THOUGHTS}
_WITH_TOOLS = {"messages": _ASKED, "tools": [_WEATHER]}
# llama.cpp continues this message. Written so, the call is not the JSON that its parser expects.
_MALFORMED = [*_ASKED, {"role": "assistant", "content": '<tool_call>\n{"name": "get_weather", "arg'}]

# Template, then requests by name.
_RECORDED: list[tuple[Any, dict[str, Body]]] = [
    (
        fenced_template,
        {
            "text": {"messages": [_says("Hi")]},
            "text, streamed": {"messages": [_says("你好")], **_USAGE},
            "call": _WITH_TOOLS,
            "call, streamed": {**_WITH_TOOLS, **_USAGE},
            "call cut off": {**_WITH_TOOLS, "max_tokens": 12},
            "call cut off, streamed": {**_WITH_TOOLS, "max_tokens": 12, **_USAGE},
            "context exceeded": {"messages": [_says("word " * 1100)], "stream": True},
            "arguments not JSON": {"messages": [*_ASKED, _calls("{broken"), _TOOL], "tools": [_WEATHER]},
            "arguments empty": {"messages": [*_ASKED, _calls(""), _TOOL], "tools": [_WEATHER]},
            "call without result at the end": {"messages": [*_ASKED, _calls("{}")], "tools": [_WEATHER]},
        },
    ),
    (
        own_template,
        {
            "call as text": _WITH_TOOLS,
            "call as text, streamed": {**_WITH_TOOLS, **_USAGE},
            "required call as text": {**_WITH_TOOLS, "tool_choice": "required", "max_tokens": 40},
            "malformed call": {**_WITH_TOOLS, "messages": _MALFORMED},
            "malformed call, streamed": {**_WITH_TOOLS, "messages": _MALFORMED, **_USAGE},
        },
    ),
    (
        thinking_template,
        {
            "reasoning": _THINKING,
            "reasoning, streamed": {**_THINKING, **_USAGE},
            "reasoning in the text": {**_THINKING, "reasoning_format": "none"},
            "reasoning in the text, streamed": {**_THINKING, "reasoning_format": "none", **_USAGE},
            "only reasoning": {**_THINKING, "grammar": ONLY_THOUGHTS},
        },
    ),
]


def main() -> None:
    """Record all answers."""
    recorded = {}
    for template, requests in _RECORDED:
        with llama_server(template(), context=1024) as base_url:
            for name, request in requests.items():
                body = {"max_tokens": 60, **request}
                answer = httpx2.post(f"{base_url}/chat/completions", json=body, timeout=600, trust_env=False)
                recorded[name] = {
                    "status": answer.status_code,
                    "content_type": answer.headers["content-type"],
                    "body": answer.text,
                }
    RECORDINGS.write_text(json.dumps(recorded, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
