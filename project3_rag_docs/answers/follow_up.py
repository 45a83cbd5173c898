"""Whether a question refers to the conversation before it."""

import re

from project3_rag_docs.search.lexical import analyse

_FEW_TERMS = 1
# "And on Sundays?", "What about books?", "Is it free?"; 那周日呢？它要多少钱？
_REFERS = re.compile(
    r"^\W*(?:and|but|or|so|then|also|why|(?:what|how) (?:about|if))\b"
    r"|\b(?:it|its|they|them|their|he|him|his|she|her|that|those|this|these|ones|former|latter|else)\b"
    r"|\b(?:there|one|same)\W*$"
    r"|^\W*(?:那|还有|另外|然后|为什么|如果)|呢\W*$"
    r"|[它她这]|(?<!其)他|其(?![他实中余次])|(?<!应)该|那[么个些里儿样时种家]|上述|前者|后者|同样",
    re.IGNORECASE,
)


def refers_back(question: str) -> bool:
    """Return whether a question is incomplete without the conversation before it, by its words."""
    return _REFERS.search(question) is not None or len(analyse(question).terms) <= _FEW_TERMS
