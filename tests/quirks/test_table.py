"""The table of docs/models.md: it has a row for each profile, and says of it what the profile does."""

import re

import pytest

from learn.stages import ROOT
from tests.support.scripted_model import PROFILES, Profile
from tests.support.scripted_model.parameters import no_json_schema

NAMES = {
    "openai": r"OpenAI",
    "azure": r"Azure OpenAI",
    "deepseek": r"DeepSeek",
    "gemini": r"Gemini",
    "mistral": r"Mistral",
    "anthropic": r"Anthropic.*LiteLLM.*",
    "openrouter": r"OpenRouter",
    "vllm": r"vLLM",
    "vllm-plain": r"vLLM.+",
    "ollama": r"Ollama",
    "llamacpp": r"llama\.cpp",
    "gateway": r"other gateways|其他网关",
}


def reasoning(profile: Profile) -> str:
    if profile.wire.signature or profile.wire.reasoning == "no opening think":
        return "○"
    return "✓" if profile.wire.reasoning else "—"


@pytest.mark.parametrize("page", ["models.md", "models.zh.md"])
def test_table_agrees_with_the_profiles(page: str) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in re.findall(r"^\|.*[✓○—].*\|$", text, re.MULTILINE)
    ]

    assert list(NAMES) == [name for name in PROFILES if name != "strictest"]
    assert [bool(re.fullmatch(pattern, row[0])) for pattern, row in zip(NAMES.values(), table, strict=True)] == [
        True
    ] * 12
    for name, row in zip(NAMES, table, strict=True):
        profile = PROFILES[name]
        schema = "○" if no_json_schema in profile.rules else "✓"
        assert (name, row[2:5]) == (name, ["✓", reasoning(profile), schema])
