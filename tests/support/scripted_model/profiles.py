"""All profiles, by name, and the strictest one."""

from collections.abc import Mapping
from dataclasses import replace

from tests.support.scripted_model import strictness
from tests.support.scripted_model.hosted import (
    ANTHROPIC,
    AZURE,
    DEEPSEEK,
    GEMINI,
    MISTRAL,
    OPENAI,
    OPENAI_RULES,
    OPENROUTER,
)
from tests.support.scripted_model.profile import Profile
from tests.support.scripted_model.servers import GATEWAY, LLAMACPP, OLLAMA, VLLM, VLLM_PLAIN

# All rules that one request can fulfil. Not those of one provider's own fields (`reasoning_content`, signatures), which
# contradict each other: Mistral refuses what DeepSeek requires.
STRICTEST = replace(
    OPENAI,
    name="strictest",
    rules=(
        strictness.roles_are_known(("system", "user", "assistant", "tool")),
        *OPENAI_RULES[1:6],
        strictness.messages_have_known_fields("reasoning_content", "reasoning", "reasoning_details"),
        *OPENAI_RULES[7:],
        strictness.call_ids_are_unique_in_the_thread,
        strictness.call_ids_match(
            "[a-zA-Z0-9]{9}", "Tool call id was {} but must be a-z, A-Z, 0-9, with a length of 9."
        ),
        strictness.arguments_are_objects,
        strictness.system_message_is_first,
        strictness.roles_alternate,
        strictness.no_user_after_tool,
        strictness.last_message_asks,
        strictness.calls_follow_user_or_tool,
        strictness.content_is_not_empty,
        strictness.nobody_has_a_name,
    ),
)

PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        OPENAI,
        AZURE,
        DEEPSEEK,
        GEMINI,
        MISTRAL,
        ANTHROPIC,
        OPENROUTER,
        VLLM,
        VLLM_PLAIN,
        OLLAMA,
        LLAMACPP,
        GATEWAY,
        STRICTEST,
    )
}
