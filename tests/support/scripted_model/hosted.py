"""Profiles of hosted endpoints.

Each rule has its source: a page of the provider, or a report that quotes the endpoint's error, which was true for its
model and its day. Words without a source are OpenAI's.
"""

from collections.abc import Iterator
from dataclasses import replace

from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from tests.support.scripted_model import parameters, strictness
from tests.support.scripted_model.profile import Profile, openai_error, worded
from tests.support.scripted_model.strictness import Body, Message, Violation, calls_of
from tests.support.scripted_model.wire import Wire, signature_of

# The API reference, as the installed client has it: openai/types/chat/completion_create_params.py.
_OPENAI_PARAMETERS = [*CompletionCreateParamsBase.__annotations__, "stream"]

# Words, param and code of the rules, as quoted in reports:
# - "must be followed by tool messages": github.com/BloomLabsInc/genkit-plugins/issues/225
# - "must be a response to a preceeding message" (sic): github.com/miurla/morphic/issues/136
# - "Duplicate value for 'tool_call_id'": github.com/agno-agi/agno/issues/5116
# - names of messages and tools: github.com/FlowiseAI/Flowise/issues/2948, github.com/brekkylab/ailoy/pull/109, of
#   earlier calls: github.com/mcp-use/mcp-use/issues/90
# - null content: github.com/songquanpeng/one-api/issues/784
# - options without tools: github.com/openai/swarm/issues/30, github.com/writer/writer-framework/pull/1013
# - stream_options: github.com/BerriAI/litellm/issues/5803
# - strict schemas: github.com/vercel/ai/issues/6484, github.com/moeru-ai/xsai/issues/202
# - the word JSON: in many public trackers
# - unsupported parameters: github.com/FoundationAgents/OpenManus/issues/555
# - "Unknown parameter: 'messages[…]…'": github.com/pydantic/pydantic-ai, tests/models/test_openai.py (the words)
# From memory: the empty string, the length of ids, empty arrays, and that ids are unique within a message.
OPENAI_RULES = (
    strictness.roles_are_known(),
    strictness.content_is_complete,
    strictness.tool_results_follow_their_calls,
    strictness.call_ids_are_unique_strings,
    strictness.calls_are_functions,
    strictness.names_match,
    strictness.messages_have_known_fields(),
    parameters.parameters_are(_OPENAI_PARAMETERS, "Unrecognized request argument supplied: {}", param=None),
    parameters.tools_are_functions,
    parameters.tool_options_need_tools,
    parameters.stream_options_need_a_stream,
    parameters.strict_schemas_are_closed,
    parameters.json_mode_is_announced,
)

OPENAI = Profile(
    "openai",
    OPENAI_RULES,
    Wire(call_id=lambda number: f"call_{number:024d}"),
    openai_error,
    too_long=Violation(
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 10240 tokens. Please "
        "reduce the length of the messages.",
        "messages",
        "context_length_exceeded",
    ),
    refused=Violation("Unsupported parameter: '{}' is not supported with this model.", "{}", "unsupported_parameter"),
    filters=True,
)

# An older API version, or a model before its parameters: github.com/Azure/azure-rest-api-specs/issues/29545 (param is
# null there), github.com/microsoft/semantic-kernel/issues/10113. The filter: github.com/compl-ai/compl-ai/issues/20.
# Chunks without choices are Azure's `prompt_filter_results`; a choice without delta comes with its asynchronous filter.
AZURE = replace(
    OPENAI,
    name="azure",
    wire=replace(OPENAI.wire, filter_results=True),
    filtered=Violation(
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. "
        "Please modify your prompt and retry. To learn more about our content filtering policies please read our "
        "documentation: https://go.microsoft.com/fwlink/?linkid=2198766",
        "prompt",
        "content_filter",
    ),
    refused=Violation(
        "Unrecognized request argument supplied: {}. Please contact us through an Azure support request at: "
        "https://go.microsoft.com/fwlink/?linkid=2213926 for further questions."
    ),
)


def _reasoning_comes_back(body: Body) -> Iterator[Violation]:
    """Require `reasoning_content` in each message of the assistant, in turns in which it has called tools."""
    turn: list[Message] = []
    for message in [*body["messages"], {"role": "user"}]:
        if message.get("role") != "user":
            turn.append(message)
            continue
        replies = [one for one in turn if one.get("role") == "assistant"]
        if any(map(calls_of, replies)) and not all(isinstance(one.get("reasoning_content"), str) for one in replies):
            yield Violation(
                "The `reasoning_content` in the thinking mode must be passed back to the API.",
                code="invalid_request_error",
            )
        turn = []


# Thinking mode, the default of its models: api-docs.deepseek.com/guides/thinking_mode says that between two messages of
# the user, if the model has called tools, its `reasoning_content` has to be passed back in all later requests, and is
# ignored otherwise. Reports want it in each message after the first call (github.com/MoonshotAI/kimi-cli/issues/2141,
# github.com/openclaw/openclaw/issues/73417), also if it was empty (github.com/deepseek-ai/deepseek-harness/discussions/
# 1850). Errors' shape and order of messages: github.com/FoundationAgents/OpenManus/issues/744,
# github.com/ThinkInAIXYZ/deepchat/issues/1078. The filter ("Content Exists Risk") and the refusal of JSON schemas: the
# words are in many public trackers. Keep-alive comments and empty lines: api-docs.deepseek.com/quick_start/rate_limit.
DEEPSEEK = Profile(
    "deepseek",
    (
        strictness.roles_are_known(("system", "user", "assistant", "tool")),
        strictness.content_is_complete,
        worded(
            strictness.tool_results_follow_their_calls,
            {
                "must be followed": "An assistant message with 'tool_calls' must be followed by tool messages "
                "responding to each 'tool_call_id'. (insufficient tool messages following tool_calls message)",
                "must be a response": "Messages with role 'tool' must be a response to a preceding message with "
                "'tool_calls'",
            },
            "invalid_request_error",
        ),
        strictness.call_ids_are_unique_strings,
        parameters.tools_are_functions,
        parameters.no_json_schema,
        parameters.json_mode_is_announced,
        _reasoning_comes_back,
    ),
    Wire(
        call_id=lambda number: f"call_00_{number:024d}",
        reasoning="reasoning_content",
        empty_content="",
        usage="last chunk",
        comment="keep-alive",
    ),
    openai_error,
    too_long=Violation(
        "This model's maximum context length is 131072 tokens. However, you requested 140000 tokens (140000 in the "
        "messages, 0 in the completion). Please reduce the length of the messages or completion.",
        code="invalid_request_error",
    ),
    filtered=Violation("Content Exists Risk", code="invalid_request_error"),
)


def _google_error(violation: Violation) -> object:
    return [{"error": {"code": violation.status, "message": violation.message, "status": "INVALID_ARGUMENT"}}]


def _signatures_come_back(body: Body) -> Iterator[Violation]:
    """Require the signature of the first call of each message, unchanged."""
    for place, message in enumerate(body["messages"]):
        for call in calls_of(message)[:1]:
            name = call["function"].get("name")
            given = ((call.get("extra_content") or {}).get("google") or {}).get("thought_signature")
            if given != signature_of(name, call["function"].get("arguments")):
                yield Violation(
                    "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                    "work correctly, and missing thought_signature may lead to degraded model performance. Additional "
                    f"data, function call `default_api:{name}` , position {place + 1}. Please refer to "
                    "https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
                )


# generativelanguage.googleapis.com/v1beta/openai: signatures in `extra_content` of a call, to be sent back:
# ai.google.dev/gemini-api/docs/thought-signatures, github.com/securo-finance/securo/issues/884 (errors are a list); no
# `index`: github.com/THU-MAIC/OpenMAIC/issues/1556; `stop` at the end of streamed calls:
# github.com/googleapis/python-genai/issues/2868; unknown parameters: github.com/jackmpcollins/magentic/pull/382;
# calls follow the user or a tool: the words are in many public trackers; too long: the words likewise.
GEMINI = Profile(
    "gemini",
    (
        strictness.roles_are_known(("system", "user", "assistant", "tool")),
        strictness.content_is_complete,
        strictness.tool_results_follow_their_calls,
        strictness.calls_follow_user_or_tool,
        parameters.tools_are_functions,
        _signatures_come_back,
    ),
    Wire(
        call_id=lambda number: f"function-call-{number:020d}",
        call_index="none",
        whole_calls=True,
        signature=True,
        call_finish="stop",
        usage="last chunk",
    ),
    _google_error,
    too_long=Violation("The input token count (1048600) exceeds the maximum number of tokens allowed (1048576)."),
    refused=Violation('Invalid JSON payload received. Unknown name "{}": Cannot find field.'),
    filters=True,
)


def _mistral_error(violation: Violation) -> object:
    kind, code = violation.type or "invalid_request_error", violation.code
    words: object = violation.message
    if violation.param:  # Pydantic refuses it
        words, code = {"detail": [{"type": code, "loc": violation.param.split("/"), "msg": words}]}, None
    return {"object": "error", "message": words, "type": kind, "param": None, "code": code}


# api.mistral.ai. Ids: github.com/nearai/ironclaw/issues/1241 (code 3280). Order:
# github.com/datapizza-labs/datapizza-ai/issues/98 (3230). The same number of calls and results:
# github.com/NousResearch/hermes-agent/pull/11722. The last role: github.com/0xPlaygrounds/rig/pull/1130. Fields and
# parameters that it does not know (422): github.com/Gage-Technologies/mistral-go/pull/2 (`name`),
# github.com/charmbracelet/crush/issues/1590 (`reasoning_content`), github.com/editor-code-assistant/eca/issues/231
# (`max_completion_tokens`). Thinking as parts of the content: docs.mistral.ai/inference/conversations/reasoning. Too
# long: the words are in many public trackers.
MISTRAL = Profile(
    "mistral",
    (
        strictness.roles_are_known(("system", "user", "assistant", "tool")),
        strictness.content_is_complete,
        worded(
            strictness.tool_results_follow_their_calls,
            {"": "Not the same number of function calls and responses"},
            "3230",
        ),
        strictness.call_ids_match(
            "[a-zA-Z0-9]{9}",
            "Tool call id was {} but must be a-z, A-Z, 0-9, with a length of 9.",
            code="3280",
            type="invalid_function_call",
        ),
        strictness.no_user_after_tool,
        strictness.last_message_asks,
        strictness.nobody_has_a_name,
        parameters.mistral_fields_are_known,
        parameters.tools_are_functions,
    ),
    Wire(
        call_id=lambda number: f"{number:09d}",
        whole_calls=True,
        empty_content="",
        reasoning="parts",
        usage="last chunk",
    ),
    _mistral_error,
    too_long=Violation(
        "Prompt contains 300000 tokens, too large for model with 131072 maximum context length",
        code="3051",
        type="invalid_request_prompt",
    ),
    refused=strictness.forbidden_field("{}"),
)

# Anthropic's and Bedrock's models behind a converter, as LiteLLM. No empty text:
# github.com/anomalyco/opencode/issues/15715, beside calls too: github.com/vercel/ai/pull/13744. Alphabet of ids:
# github.com/tailcallhq/forgecode/issues/1142. A result for each call: github.com/aliasrobotics/cai/issues/182. From
# memory: thinking as `reasoning_content` (LiteLLM), ids unique in the thread, and the words for a long prompt.
ANTHROPIC = Profile(
    "anthropic",
    (
        *OPENAI_RULES[:2],
        strictness.tool_results_follow_their_calls,
        strictness.content_is_not_empty,
        strictness.call_ids_match("[a-zA-Z0-9_-]+", "tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"),
        strictness.call_ids_are_unique_in_the_thread,
        parameters.tools_are_functions,
    ),
    Wire(call_id=lambda number: f"toolu_{number:024d}", reasoning="reasoning_content", empty_content=""),
    openai_error,
    too_long=Violation("prompt is too long: 208310 tokens > 200000 maximum", type="invalid_request_error"),
)

# Comments: github.com/openai/openai-go/issues/227; errors in a stream, with the status 200: openrouter.ai/docs,
# "mid-stream errors", github.com/damianvtran/local-operator/pull/223. Reasoning: `reasoning` and `reasoning_details`.
OPENROUTER = replace(
    OPENAI,
    name="openrouter",
    rules=(
        *OPENAI_RULES[:6],
        strictness.messages_have_known_fields("reasoning", "reasoning_details"),
        *OPENAI_RULES[8:],
    ),
    wire=replace(OPENAI.wire, reasoning="details", comment="OPENROUTER PROCESSING", empty_content=""),
    refused=None,
    filters=False,
)
