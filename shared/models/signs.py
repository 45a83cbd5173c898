"""Codes and words by which servers name the reason of a refusal. Words are lower-case regular expressions."""

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Why an endpoint refuses a call."""

    TOO_LONG = "input too long"
    BATCH_TOO_LARGE = "batch too large"
    FILTERED = "content filtered"
    CONTENT = "kind of content not supported"
    PARAMETER = "parameter refused"
    MODEL_NOT_FOUND = "model not found"
    QUOTA = "quota exhausted"
    AUTHENTICATION = "key refused"
    PERMISSION = "permission denied"
    INVALID_REQUEST = "request refused"
    RATE_LIMIT = "rate limit"
    OVERLOADED = "overloaded"
    FAILURE = "server failure"

    @property
    def waiting_helps(self) -> bool:
        """Whether the same call can succeed a little later."""
        return self in (Kind.RATE_LIMIT, Kind.OVERLOADED, Kind.FAILURE)


@dataclass(frozen=True)
class Sign:
    """Signs of one kind of refusal: a code, or words."""

    codes: frozenset[str]
    words: re.Pattern[str]

    def found(self, codes: frozenset[str], words: str) -> bool:
        """Return whether one of them is among the codes or in the words of an error."""
        return bool(codes & self.codes or self.words.search(words))


def _sign(codes: str, *words: str) -> Sign:
    return Sign(frozenset(codes.split()), re.compile("|".join(words) or "(?!)"))


FILTERED = _sign(
    # Azure and Moonshot, Azure's inner error, DashScope, OpenAI's reasoning models, one-api, StepFun, OpenAI, Zhipu,
    # MiniMax
    "content_filter responsibleaipolicyviolation content_policy_violation data_inspection_failed datainspectionfailed "
    "invalid_prompt sensitive_words_detected prompt_blocked censorship_blocked moderation_blocked 1301 1026 1027",
    r"content exists risk",  # DeepSeek
    r"considered high risk",  # Moonshot
    r"content management policy",  # Azure
    r"inappropriate content|data_?inspection_?failed",  # DashScope
    r"sensitive (information|content)|new_sensitive",  # Ark, MiniMax
    r"(was|were|been) flagged",  # OpenRouter, OpenAI
    r"usage (polic|guideline)|content ?policy|safety (system|filter|polic|model)|content[ _-]filter|prohibited_content",
    r"blocked by .{0,30}(policy|moderation|guardrail)|violated guardrail",  # Bedrock, LiteLLM
    r"violates? (our|the) [^.]{0,20}polic",  # Vertex AI
    r"敏感|不安全|违规|安全审核|内容审核|风险内容|安全风险",
)
# A rate limit that a single request exceeds (Groq's 413, OpenAI's 429), which it will in a minute too; and llama.cpp,
# whose words for a text that is too long for its physical batch name the batch.
TOO_LARGE_AT_ANY_TIME = _sign("", r"request too large|too large to process")
# OpenAI, llama.cpp (with 500), DeepSeek, vLLM, OpenRouter (with 404), Groq, Ollama, Mistral, Gemini, SiliconFlow
CONTENT = _sign(
    "",
    r"(image|vision|audio|video|multi-?modal)[^.]{0,40}(not (supported|enabled|allowed)|unsupported|only supported by)",
    r"(not|n't) support (image|vision|audio|video|multi-?modal)|support image input|unsupported mime type",
    r"unknown variant `(image_url|input_audio|file)`|at most 0 (image|audio|video)",
    r"missing data required for image input|not (a )?(multi-?modal|vlm\b)|content['`\"]? must be a string",
    r"不支持.{0,4}(图片|图像|音频|视频|多模态)|content\.type 参数非法",  # Zhipu
)
TOO_LONG = _sign(
    # OpenAI, llama.cpp, gateways, OpenAI, Anthropic, Zhipu, Mistral
    "context_length_exceeded exceed_context_size_error context_window_exceeded string_above_max_length "
    "request_too_large 1261 3051",
    r"context[ _](length|size|window|limit)|maximum context|max_model_len|max_seq_len|n_ctx",  # most servers
    r"(prompt|input|request|text|message|token)s? (is |are |was |tokens? )?(length )?too long",
    r"maximum (prompt|input|sequence|model) (token )?length",  # xAI
    r"exceeds? (the )?max(imum)? (allowed )?((input|prompt|token) )?(length|size)",  # Ark, NIM, Replicate
    r"max input characters",  # Baidu
    r"max_(completion_)?tokens must be at least 1, got -",  # vLLM, if nothing is left for the answer
    r"(must|should) have (less|fewer)( than)? \d+ (tokens|characters)",  # TEI, SiliconFlow
    r"max_new_tokens`? must be <=|expected maxlength",  # TGI, Together; Bedrock
    r"must match the size of tensor b",  # Xinference and others, of an embedding model's positions
    r"reduce (the length|your prompt|the (input|prompt|number of tokens))",
    r"exceed(s|ed|ing)? [^.]{0,60}token(s| limit| length)",  # Moonshot
    r"tokens? ((count|limit|total length) )?exceed|model token limit|max tokens of \d+ exceeded",  # SGLang, GigaChat
    r"number of (input )?tokens must be no more",  # YandexGPT
    r"(cannot|must not) exceed \d+ tokens|exceeding max \d+ tokens|too many (input )?tokens",  # Cohere, Mistral
    r"input token count|maximum number of (input )?tokens|exceeds the limit of \d+",  # Gemini, Copilot
    r"range of input length",  # DashScope
    r"too large for model|string too long|request entity too large|payload too large",
    r"超长|过长|太长|(超过|超出).{0,12}(长度|上下文|token)|最大长度|上下文长度",
)
BATCH_TOO_LARGE = _sign(
    "max_tokens_per_request array_above_max_length",  # OpenAI
    r"batch size|tokens in batch|batch .{0,20}(too large|too big|exceed|limit)",  # TEI, DashScope, SiliconFlow, Mistral
    r"too many (inputs|texts)|(number of|at most \d+) (texts|inputs|requests)",  # Mistral, Cohere, Gemini
    r"array too long|tokens per (request|submitted batch)|list should have at most",  # OpenAI, Voyage, Infinity
    r"数组最大|批量.{0,10}(超过|最大)",  # Zhipu
)
# Groq: the model's output was invalid
GENERATION_FAILED = _sign("tool_use_failed json_validate_failed output_parse_failed")
QUOTA = _sign(
    # OpenAI, Moonshot, one-api, LiteLLM, Zhipu, DashScope, SiliconFlow
    "insufficient_quota exceeded_current_quota_error insufficient_user_quota pre_consume_token_quota_failed "
    "insufficient_balance billing_hard_limit_reached billing_not_active creditserror arrearage budget_exceeded "
    "allocationquota.freetieronly 1113 30001 30011",
)
QUOTA_WORDS = _sign(
    "",
    r"insufficient[ _](account )?(balance|credit|quota|fund)|balance is (insufficient|too low)",  # DeepSeek
    r"exceeded (your )?current quota|check your plan and billing|billing hard limit|(spend|spending) limit",
    r"requires more credits|payment required|out of (credits|funds)|credits .{0,20}exhausted|in arrears|overdue",
    r"(n(o|')t have any|purchase (more )?|included) credits|budget has been exceeded",  # xAI, Hugging Face, LiteLLM
    r"key limit exceeded|^quota exceeded",  # OpenRouter
    r"余额不足|额度不足|额度已用尽|欠费",
)
AUTHENTICATION = _sign(
    "invalid_api_key incorrect_api_key_error invalid_authentication_error authentication_error unauthenticated",
    r"api[ _-]?key[^.]{0,60}(invalid|not valid|incorrect|expired|missing|required)",  # Gemini: with 400
    r"(invalid|incorrect) api[ _-]?key",
    r"access token[^.]{0,20}(invalid|expired)|login fail: please carry",  # Baidu, MiniMax
)
MODEL_NOT_FOUND = _sign(
    # OpenAI, Azure, Moonshot, Together, gateways, Hugging Face, Groq, Zhipu, SiliconFlow
    "model_not_found deploymentnotfound resource_not_found_error model_not_available model_not_exist invalid_model "
    "model_not_supported model_decommissioned 1211 20012",
    r"model[^.]{0,80}(not found|not exist|not a valid|not loaded|not available|unknown)",
    r"is not a valid model|(no such|unknown|invalid) model",  # OpenRouter
    r"no models? (is )?loaded|no endpoints found|模型不存在",  # LM Studio, OpenRouter
)
OVERLOADED = _sign(
    # Anthropic, Moonshot, gateways, Groq, llama.cpp, Gemini, gateways, Zhipu
    "overloaded_error engine_overloaded_error server_overloaded capacity_exceeded unavailable_error unavailable "
    "service_unavailable 1305",
    r"overloaded|(at|over) capacity|loading model|model .{0,40}loading|server (is )?busy|service .{0,20}unavailable",
    r"负载|拥挤|繁忙",
)
RATE_LIMIT = _sign(
    # OpenAI, Moonshot, gateways, Gemini, DashScope, Zhipu
    "rate_limit_exceeded rate_limit_reached_error rate_limit_error too_many_requests resource_exhausted "
    "limit_burst_rate throttling 1302 1303",
    r"rate[ _-]?limit|too many (requests|concurrent)|throttl|per (minute|min|second|day)\b|max (rpm|tpm|concurrency)",
    r"allocated quota|increased too quickly|request limit reached",  # DashScope, Baidu
    r"频率|并发|限流|限速",
)
INVALID_REQUEST = _sign("invalid_request_error badrequesterror invalid_parameter_error invalid_argument")
UNSUPPORTED = _sign(
    "extra_forbidden unsupported_parameter unknown_parameter unsupported_value",
    r"unsupported|unrecognized|unknown|unexpected|unavailable|n(o|')t support|不支持",
    r"not (currently )?(supported|permitted|allowed|available)|extra (inputs|fields)|cannot find field",
    r"only the default|is allowed for this model|requires --",
)
