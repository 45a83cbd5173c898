"""The embedded language model against the rules: `python -m bench.embedded_models [MODEL]`.

Forty questions in English and Chinese each: twenty with tools, twenty with numbered passages. Each goes to the embedded
model server twice, once with the rules and once with the model alone. The result decides which of them answers in
`local/model_server/language_models.py:EMBEDDED_MODELS`.
"""

import argparse
import asyncio
import json
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx2

from bench.report import table
from local.model_server.app import create_app
from local.model_server.language_models import EMBEDDED_MODELS, QWEN, weights_of
from project3_rag_docs.answers.chain import SYSTEM_PROMPT

_LANGUAGES = ("English", "Chinese")
_KINDS = ("tools", "passages")
_NO_ANSWER = re.compile(r"do(?:es)? not (?:say|contain|mention|provide)|没有|未提|无法|不包含", re.IGNORECASE)
_MARKER = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True)
class Question:
    """A request, and the properties of a right answer.

    Attributes:
        language: Index into `_LANGUAGES`.
        messages: The conversation.
        tools: Whether the tools are offered.
        tool: Name of the tool to call.
        says: Texts of which the answer, or the call's arguments, must contain one (without regard to case or spaces).
        marker: Number of the passage to cite; None if no passage answers the question.
    """

    language: int
    messages: Sequence[Mapping[str, Any]]
    tools: bool
    tool: str | None = None
    says: Sequence[str] = ()
    marker: int | None = None

    @property
    def kind(self) -> str:
        """The group in the report."""
        return "tools" if self.tools else "passages"

    def accepts(self, message: Mapping[str, Any]) -> bool:
        """Return whether an answer is right."""
        calls = [call["function"] for call in message.get("tool_calls") or []]
        content = message.get("content") or ""
        if self.tool:
            return [call["name"] for call in calls] == [self.tool] and self._said(calls[0]["arguments"])
        if calls:
            return False
        if self.tools:
            return bool(content.strip()) and "{" not in content and self._said(content)
        cited = {int(number) for number in _MARKER.findall(content)}
        if self.marker is None:
            return not cited and bool(_NO_ANSWER.search(content))
        return cited == {self.marker} and self._said(content)

    def _said(self, text: str) -> bool:
        text = re.sub(r"[\s,]", "", text).lower()
        return not self.says or any(re.sub(r"[\s,]", "", word).lower() in text for word in self.says)


def _tool(name: str, description: str, parameter: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {parameter: {"type": "string"}}, "required": [parameter]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


TOOLS = [
    _tool("get_weather", "Get the current weather in a city.", "city"),
    _tool("calculator", "Calculate the result of an arithmetic expression.", "expression"),
    _tool("search_documents", "Search the user's documents and company policies for passages.", "query"),
    _tool("remember", "Store a fact about the user for later conversations.", "fact"),
    _tool("send_email", "Send an e-mail.", "recipient"),
]

# Question in English and Chinese, tool, texts of which the arguments contain one.
_CALLS: Sequence[tuple[str, str, str, Sequence[str]]] = (
    ("What's the weather in Paris?", "巴黎现在天气怎么样？", "get_weather", ("paris", "巴黎")),
    ("Do I need an umbrella in Beijing today?", "今天在北京出门要带伞吗？", "get_weather", ("beijing", "北京")),
    ("How warm is it in Shanghai?", "上海现在多少度？", "get_weather", ("shanghai", "上海")),
    ("What is 17 * 23?", "17乘以23等于多少？", "calculator", ("17*23", "17×23")),
    ("Calculate (128 + 256) / 3.", "计算 (128 + 256) / 3", "calculator", ("(128+256)/3",)),
    (
        "How much is 15 % of 2400?",
        "2400的15%是多少？",
        "calculator",
        ("2400*15", "15*2400", "*0.15", "0.15*", "15/100*"),
    ),
    (
        "Search my documents for the refund policy.",
        "在我的文档里查一下退款政策。",
        "search_documents",
        ("refund", "退款"),
    ),
    (
        "How many vacation days does the handbook grant?",
        "员工手册规定年假有几天？",
        "search_documents",
        ("vacation", "年假", "假期"),
    ),
    (
        "What do our policies say about remote work?",
        "公司制度对远程办公是怎么规定的？",
        "search_documents",
        ("remote", "远程"),
    ),
    ("Please remember that I am allergic to peanuts.", "请记住我对花生过敏。", "remember", ("peanut", "花生")),
    ("Note that my favourite colour is green.", "记一下，我最喜欢的颜色是绿色。", "remember", ("green", "绿")),
    ("Write an e-mail to ada@example.com.", "给 ada@example.com 发一封邮件。", "send_email", ("ada@example.com",)),
)
_TALK = (
    ("Hello! Who are you?", "你好！你是谁？"),
    ("Thank you, that was helpful.", "谢谢，你帮了大忙。"),
    ("Tell me a joke about cats.", "给我讲个关于猫的笑话。"),
    ("Why is the sky blue?", "天空为什么是蓝色的？"),
)
# Question, tool, argument, result; then texts of which the answer contains one.
_RESULTS: Sequence[tuple[str, str, str, str, str, Sequence[str]]] = (
    ("What's the weather in Oslo?", "奥斯陆天气怎么样？", "get_weather", "Oslo", "snow, -4 °C", ("-4",)),
    ("What is 91 * 37?", "91乘以37等于多少？", "calculator", "91*37", "3367", ("3367",)),
    (
        "When does the cafeteria open?",
        "食堂几点开门？",
        "search_documents",
        "cafeteria",
        "The cafeteria is open from 11:30 to 14:00. 食堂营业时间为 11:30 至 14:00。",
        ("11:30",),
    ),
    ("Remember that I live in Rome.", "记住我住在罗马。", "remember", "lives in Rome", "Stored.", ()),
)

_PASSAGES = (
    (
        "Employees get 25 days of paid vacation a year. Unused days expire on 31 March of the following year.",
        "员工每年享有25天带薪年假。未使用的年假于次年3月31日失效。",
    ),
    (
        "On business trips the daily meal allowance is 120 yuan. Expense reports are due within 14 days.",
        "出差期间每日餐补为120元。报销单须在14天内提交。",
    ),
    (
        "Goods can be returned within 45 days. The customer pays for the shipping unless the item is faulty.",
        "商品可在45天内退货。除非商品有质量问题，否则运费由顾客承担。",
    ),
    (
        "The VPN listens on port 1194. Passwords have at least 16 characters and are changed every 90 days.",
        "VPN 使用1194端口。密码至少16个字符，每90天更换一次。",
    ),
    (
        "The cafeteria on the third floor is open from 11:30 to 14:00. On Fridays it serves fish.",
        "三楼食堂的营业时间为11:30至14:00。每周五供应鱼。",
    ),
    (
        "The bridge was opened in 1932. Its main span is 503 metres long.",
        "这座大桥于1932年通车。主跨长503米。",
    ),
    (
        "A K-12 filter costs 39.50 euros. It must be replaced every six months.",
        "K-12 滤芯的价格为39.50欧元。每六个月必须更换一次。",
    ),
    (
        "The library opens at nine. Members may borrow up to eight books for four weeks.",
        "图书馆九点开门。会员最多可借八本书，借期四周。",
    ),
    (
        "A full charge of the battery lasts for 18 hours. Charging to 80 percent takes 40 minutes.",
        "电池充满后可使用18小时。充电至80%需要40分钟。",
    ),
    (
        "New colleagues are trained by a mentor for two weeks. The training ends with an exam in Munich.",
        "新同事由导师培训两周。培训以在慕尼黑举行的考试结束。",
    ),
)
# Index of the passage with the answer, or None; question in English and Chinese; texts of which the answer has one.
_ASKED: Sequence[tuple[int | None, str, str, Sequence[str]]] = (
    (0, "How many days of vacation do I get?", "我每年有几天年假？", ("25",)),
    (0, "When do unused vacation days expire?", "没休完的年假什么时候作废？", ("31 March", "March 31", "3月31日")),
    (1, "How much is paid for meals on a business trip?", "出差时吃饭补贴多少钱？", ("120",)),
    (1, "What is the deadline for expense reports?", "报销单要在几天内交？", ("14",)),
    (2, "Within how many days can I send something back?", "买的东西几天内可以退？", ("45",)),
    (2, "Who pays for shipping a return?", "退货的运费谁来付？", ("customer", "顾客")),
    (3, "Which port does the VPN use?", "VPN 用哪个端口？", ("1194",)),
    (3, "How long must a password be?", "密码至少要多长？", ("16",)),
    (4, "When can I have lunch in the cafeteria?", "食堂几点可以吃午饭？", ("11:30",)),
    (4, "What is there to eat on Fridays?", "星期五吃什么？", ("fish", "鱼")),
    (5, "In which year was the bridge opened?", "大桥是哪一年通车的？", ("1932",)),
    (6, "What does a K-12 filter cost?", "K-12 滤芯多少钱？", ("39.5",)),
    (6, "How often do I have to change the filter?", "滤芯多久换一次？", ("six months", "6 months", "六个月", "6个月")),
    (7, "How many books can I borrow?", "我最多能借几本书？", ("eight", "8", "八")),
    (8, "How long does the battery last?", "电池能用多久？", ("18",)),
    (9, "Where does the exam take place?", "考试在哪里举行？", ("Munich", "慕尼黑")),
    (None, "Who won the chess world cup?", "国际象棋世界杯谁赢了？", ()),
    (None, "What is the name of the managing director?", "总经理叫什么名字？", ()),
    (None, "How much does a parking space cost per month?", "停车位每月多少钱？", ()),
    (None, "Which programming language is used for the website?", "网站用的是哪种编程语言？", ()),
)
_SHOWN = 4


def questions() -> list[Question]:
    """Return all questions, the languages one after the other."""
    return [
        question for language in range(len(_LANGUAGES)) for question in [*_with_tools(language), *_passages(language)]
    ]


def _with_tools(language: int) -> list[Question]:
    calls = [
        Question(language, [{"role": "user", "content": asked[language]}], True, tool, says)
        for *asked, tool, says in _CALLS
    ]
    talk = [Question(language, [{"role": "user", "content": asked[language]}], True) for asked in _TALK]
    return calls + talk + [_after_result(language, *rest) for rest in _RESULTS]


def _after_result(
    language: int, english: str, chinese: str, tool: str, argument: str, result: str, says: Sequence[str]
) -> Question:
    specification = next(spec["function"] for spec in TOOLS if spec["function"]["name"] == tool)
    arguments = json.dumps({specification["parameters"]["required"][0]: argument})
    call = {"id": "call_1", "type": "function", "function": {"name": tool, "arguments": arguments}}
    messages: list[Mapping[str, Any]] = [
        {"role": "user", "content": (english, chinese)[language]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": result},
    ]
    return Question(language, messages, True, says=says)


def _passages(language: int) -> list[Question]:
    asked = []
    for number, (passage, *texts, says) in enumerate(_ASKED):
        others = [index for index in range(len(_PASSAGES)) if index != passage]
        shown = [others[(number + step) % len(others)] for step in range(_SHOWN)]
        position = number % _SHOWN
        if passage is not None:
            shown[position] = passage
        listed = "\n".join(
            f'<passage number="{place}" source="handbook.md">\n{_PASSAGES[index][language]}\n</passage>'
            for place, index in enumerate(shown, 1)
        )
        prompt = f"<passages>\n{listed}\n</passages>\n\nQuestion: {texts[language]}"
        messages = [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": prompt}]
        marker = None if passage is None else position + 1
        asked.append(Question(language, messages, False, says=says, marker=marker))
    return asked


async def measure(name: str, *, verbose: bool) -> str:
    """Ask all questions, and return the report."""
    model = EMBEDDED_MODELS[name]
    gguf = weights_of(model, {})
    right: dict[str, Counter[tuple[str, int]]] = {}
    seconds: dict[str, list[float]] = {}
    asked = questions()
    with tempfile.TemporaryDirectory() as cache:
        for side, rules in (("rules", frozenset(_KINDS)), (name, frozenset[str]())):
            app = create_app(replace(model, rules_for=rules), gguf, Path(cache))
            right[side], seconds[side] = Counter(), []
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(app.router.lifespan_context(app))
                transport = httpx2.ASGITransport(app)
                http = await stack.enter_async_context(
                    httpx2.AsyncClient(base_url="http://model", transport=transport, timeout=None)
                )
                for question in asked:
                    body: dict[str, Any] = {"messages": question.messages, "temperature": 0, "max_tokens": 200}
                    if question.tools:
                        body["tools"] = TOOLS
                    start = perf_counter()
                    answer = (await http.post("/v1/chat/completions", json=body)).raise_for_status().json()
                    seconds[side].append(perf_counter() - start)
                    message = answer["choices"][0]["message"]
                    accepted = question.accepts(message)
                    right[side][question.kind, question.language] += accepted
                    if verbose and not accepted:
                        wrong = json.dumps(message, ensure_ascii=False)
                        print(f"{side}: {question.messages[-1]['content'][-60:]!r}: {wrong}", flush=True)
    total = Counter((question.kind, question.language) for question in asked)
    rows = [
        [
            f"{kind}, {language}",
            *(f"{right[side][kind, number]} of {total[kind, number]}" for side in right),
        ]
        for kind in _KINDS
        for number, language in enumerate(_LANGUAGES)
    ]
    rows.append(["seconds for an answer", *(f"{sum(times) / len(times):.1f}" for times in seconds.values())])
    return table(["right answers", *right], rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.embedded_models", description=__doc__)
    parser.add_argument("model", nargs="?", default=QWEN, choices=EMBEDDED_MODELS)
    parser.add_argument("--verbose", action="store_true", help="print wrong answers")
    arguments = parser.parse_args()
    print(asyncio.run(measure(arguments.model, verbose=arguments.verbose)))
