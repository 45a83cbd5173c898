"""English and Chinese vocabulary of tools and messages: purposes of parameters, and words that introduce values."""

import re
from collections.abc import Mapping, Sequence

from local.model_server.rules.schema import Parameter

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_\-. ]+")
_KINDS: Sequence[tuple[str, str]] = (
    ("place", "time ?zone|时区"),
    ("url", "urls?|uris?|links?|websites?|web address|网址|链接"),
    ("email", "e-?mails?|recipients?|to address|cc|bcc|邮箱|邮件地址|收件人"),
    ("date", "dates?|day|birthday|deadline|check ?in|check ?out|日期"),
    ("time", "times?|时间"),
    ("expression", "expressions?|formula|equation|arithmetic|calculation|算式|表达式"),
    ("code", "code|script|python|sql|command|source|代码|命令"),
    ("currency", "currenc(?:y|ies)|货币"),
    ("symbol", "symbol|ticker|股票代码"),
    ("id", "id|ids|identifier|uuid|(?:tracking|order|invoice|account|ticket|phone) ?number|编号|单号|订单号"),
    ("path", "paths?|files?|file ?names?|directory|folder|路径|文件名?"),
    (
        "place",
        (
            "city|cities|location|place|destination|origin|country|region|town|address|from|to|start|end|departure|arrival|restaurant|hotel|venue"
            "|城市|地点|位置|目的地|出发地"
        ),
    ),
    (
        "text",
        (
            "query|queries|questions?|texts?|input|search|keywords?|prompt|messages?|content|topic|task"
            "|notes?|facts?|memory"
            "|memories|body|description|term|request|q|statement|sentence|instruction|问题|查询|关键词|内容|文本|搜索"
        ),
    ),
)
_BY_NAME = [(kind, re.compile(rf"(?<![a-z])(?:{words})(?![a-z])", re.IGNORECASE)) for kind, words in _KINDS]

SEARCHING = re.compile(
    r"(?<![a-z])(?:query|queries|question|search|keywords?|q|topic|term|问题|查询|关键词|搜索)(?![a-z])", re.IGNORECASE
)
TITLE = re.compile(r"(?<![a-z])(?:titles?|summary|subject|event|name|标题|主题|名称)(?![a-z])", re.IGNORECASE)
CURRENCY = re.compile(
    r"\b(?:usd|eur|gbp|jpy|cny|chf|cad|aud|inr|krw|hkd|us dollars?|dollars?|euros?|pounds?|yen|yuan|francs?"
    r"|rupees?|won)\b"
    "|美元|欧元|英镑|日元|人民币|港币|韩元|瑞士法郎",
    re.IGNORECASE,
)
SYMBOL = re.compile(r"(?<![A-Za-z$])[A-Z]{2,5}(?:\.[A-Z]{1,2})?(?![A-Za-z])")

# Names of places: "in San Francisco", "from Berlin", "weather in paris tomorrow", 从北京到上海, 北京今天.
NAME = r"((?:[A-Z][\w'’.-]{0,40})(?:[ \t](?:de|da|of|del|la|the)?[ \t]?[A-Z][\w'’-]{0,40}){0,4})"
BEFORE_PLACE: Mapping[str, str] = {
    "from": "(?:from|leaving|departing)",
    "to": "(?:to|into|for|visiting|destination)",
    "any": "(?:in|at|for|near|to|of|around|from)",
}
LOWER_PLACE = (
    r"([^\W\d_][\w' -]{1,40}?)(?=\s{0,2}(?:[?.!,;]|$"
    r"|\b(?:today|tomorrow|tonight|now|right now|on|this|next|at|and|for|to|from|please|in|with|by|is)\b))"
)
CHINESE_PLACE: Mapping[str, str] = {
    "from": r"(?:从|由)([\u4e00-\u9fff]{2,6}?)(?=到|飞|去|出发|至|前往|的|[，,。？?！!]|$)",
    "to": r"(?:到|去|飞往|飞|前往|至)([\u4e00-\u9fff]{2,6}?)"
    r"(?=的|今天|明天|后天|玩|旅|出差|[机车]票|航班|怎么|需|要|[，,。？?！!]|\d|$)",
    "any": r"(?:在|去|到|查询|查一下|查|看看|告诉我|请问|帮我)?([\u4e00-\u9fff]{2,6}?)(?:市|这边)?"
    "(?=的|今天|明天|后天|现在|今晚|当前|这周|周末|天气|气温|温度|会|下雨|下雪|热|冷)",
}
CHINESE_QUESTION = re.compile("什么|怎么|怎样|如何|为何|哪|谁|多少|是不是|有没有")  # no name of a place contains one
NOT_A_PLACE = frozenset(
    [
        *(
            "i",
            "i'm",
            "what",
            "what's",
            "how",
            "who",
            "when",
            "where",
            "why",
            "is",
            "are",
            "was",
            "the",
            "a",
            "an",
            "and",
        ),
        *(
            "or",
            "please",
            "can",
            "could",
            "will",
            "would",
            "tell",
            "show",
            "give",
            "get",
            "today",
            "tomorrow",
            "celsius",
        ),
        *("fahrenheit", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "hi", "hello"),
    ]
)

_SAYING = (
    "(?:saying that|saying|that says|says|with the message|with the text|telling (?:him|her|them) that|to say that"
    "|内容是?|说|告诉(?:他|她|他们))"
)
_ABOUT = "(?:subject|about|titled|regarding|主题是?|标题是?|关于)"
INTRODUCTIONS: Mapping[str, str] = {  # word of a parameter name: pattern before its value
    "subject": _ABOUT,
    "topic": _ABOUT,
    "title": "(?:titled|called|named|title|标题是?|名为|叫做?)",
    "name": "(?:named|called|name is|名叫|名为|叫做?|名字是)",
    "body": _SAYING,
    "message": _SAYING,
    "content": _SAYING,
    "text": _SAYING,
    "language": "(?:into|to|in|成|为)",
}

COURTESY = re.compile(
    r"^\W{0,4}(?:(?:please|hey|hi|hello|ok|okay|now|also|then|and|can you|could you|would you|will you|i want you to"
    "|i want to|i'd like to|i would like to|i need to|i need you to|let's|请你?|麻烦你?|帮我|帮忙|你?能不能"
    "|可以|你?能|然后|再|并且?"
    r"|我想|我要)[ \t,，]{0,3}){1,5}",
    re.IGNORECASE,
)
COMMAND = re.compile(
    "^(?:search(?: (?:the web|the internet|online|google|my documents|the documents))?(?: for| about)?|look up|look for"
    "|find(?: out)?(?: about| me)?|google|query|play|open|call|book|schedule|create|add|put|remember|memori[sz]e"
    "|note(?: down)?|save|store|write down|run|execute|calculate|compute|evaluate|translate|summari[sz]e"
    "|播放|打开|安排|创建|添加|预订|(?:上网|在网上)?搜索一?下?|搜一?下?|查找一?下?|查询一?下?|查一?下|记住"
    "|记下来?|记录|保存|运行|执行"
    r"|计算一?下?|翻译一?下?)(?![a-z])[ \t:：,，]{0,3}(?:that\b[ \t]?|this\b[ \t]?[:,]?[ \t]?"
    r"|the following\b[ \t]?[:：]?[ \t]?)?",
    re.IGNORECASE,
)
# Remains of "on my calendar for" after the date was removed.
LEFT_OVER = re.compile(
    r"\b(?:on|at|for|in|by|to)(?= {0,2}(?:$|[.,!?]))|\b(?:on my|to my|in my) (?:calendar|agenda)\b", re.IGNORECASE
)
SIGNS: Mapping[str, Sequence[str]] = {
    "+": ("add", "plus", "addition", "sum", "加"),
    "-": ("subtract", "minus", "subtraction", "difference", "减"),
    "*": ("multiply", "times", "multiplication", "product", "乘"),
    "/": ("divide", "division", "quotient", "除"),
    "^": ("power", "exponent"),
}
NEGATED = re.compile(
    r"\b(?:no|not|without|don't|dont|never|disable|exclude|skip|off)\b|不要?|没有|关闭|别", re.IGNORECASE
)


def split_name(name: str) -> list[str]:
    """Split a parameter's name into lower-case words: `fromCity` and `from_city` into `from`, `city`."""
    return [word.lower() for word in _CAMEL.split(name[:80]) if word]


def classify(parameter: Parameter) -> str:
    """Return the purpose of a string parameter, by its format, its name, then its description.

    Returns:
        url, email, date, time, expression, code, currency, symbol, id, path, place, text, or nothing.
    """
    if parameter.format in {"uri", "url"}:
        return "url"
    if parameter.format in {"email", "date", "time"}:
        return parameter.format
    name = " ".join(split_name(parameter.name))
    description = parameter.description[:300]
    if "expression" in description.lower() or "算式" in description or "表达式" in description:
        return "expression"
    kind = next((kind for kind, pattern in _BY_NAME if pattern.search(name)), "")
    if name in {"to", "from"} and re.search("e-?mail|邮箱|邮件", description, re.IGNORECASE):
        return "email"
    return kind or next((kind for kind, pattern in _BY_NAME if pattern.search(description)), "")
