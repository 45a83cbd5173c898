"""The terms of a text."""

import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from project3_rag_docs.search import lexical
from project3_rag_docs.search.lexical import Language, analyse, language_of


def terms(text: str) -> Mapping[str, int]:
    return analyse(text).terms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("running Connections", "RUN connected"),
        ("naïve café Müller", "naive cafe\u0301 muller"),
        ("ＡＢＣ　１２３", "abc 123"),
        ("max_tokens", "max tokens"),
        ("the company's policy", "company’s policies"),
        ("co\u00adoperate", "cooperate"),
        ("the U.S. of A.", "US a"),
        ("1,000,000 users", "1000000 user"),
        ("ё", "е"),
        ("مُحَمَّد", "محمد"),
        ("中国\n人民", "中国人民"),
        ("ﾃｽﾄ", "テスト"),
    ],
)
def test_equivalent_spellings_have_the_same_terms(one: str, other: str) -> None:
    assert set(terms(one)) - {"a"} == set(terms(other)) - {"a"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C++ and C# in Python 3.5", {"c++": 1, "c#": 1, "python": 1, "3.5": 1}),
        ("C++11, g++", {"c++": 1, "11": 1, "g++": 1}),
        ("1,2,3", {"1": 1, "2": 1, "3": 1}),
        ("2024-01-15", {"2024": 1, "01": 1, "15": 1}),
        ("l'homme", {"l": 1, "homm": 1, "lhomm": 1}),
        ("They don't; we've, it's 5", {"5": 1}),
        ("They, e.g., left at 5 a.m.", {"left": 1, "5": 1, "am": 1}),
        ("हिन्दी में", {"हिन्दी": 1, "में": 1}),
        ("北京烤鸭", {"北京": 1, "京烤": 1, "烤鸭": 1}),
        ("中，国。", {"中": 1, "国": 1}),
        ("中国中国", {"中国": 2, "国中": 1}),
        ("用Kubernetes部署", {"用": 1, "kubernet": 1, "部署": 1}),
        ("ภาษาไทย", {"ภา": 1, "าษ": 1, "ษา": 1, "าไ": 1, "ไท": 1, "ทย": 1}),
        ("검색 엔진", {"검색": 1, "엔진": 1}),
        ("中国\n\n人民", {"中国": 1, "人民": 1}),
        ("", {}),
        ("… — 🙂 \ud800\x00", {}),
    ],
)
def test_text_has_its_terms(text: str, expected: dict[str, int]) -> None:
    assert terms(text) == expected


@pytest.mark.parametrize(
    ("document", "question"),
    [
        ("Send an e-mail", "email"),
        ("Send an email", "e-mail"),
        ("GPT-4 models", "GPT4"),
        ("GPT-4 models", "gpt"),
        ("the imple-\nmentation", "implementations"),
        ("state-of-the-art", "art"),
        ("see https://docs.example.com/setup_guide", "setup"),
        ("O'Neil", "Neil"),
        ("python3.11", "Python3.11"),
        ("使用 PostgreSQL 数据库", "postgresql"),
    ],
)
def test_question_shares_a_term_with_the_document(document: str, question: str) -> None:
    assert set(terms(document)) & set(terms(question))


def test_contractions_are_stop_words() -> None:
    assert terms("the dog isn't what it's called, they'll say") == terms("dog called say")


def test_stop_words_are_kept_only_without_other_words() -> None:
    assert terms("the WHO report") == {"report": 1}
    assert terms("What is the Who? The Who!") == {"what": 1, "is": 1, "the": 2, "who": 2}
    assert terms("don't") == {"don't": 1}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", Language.EN),
        ("42", Language.EN),
        ("How do I roll out?", Language.EN),
        ("Как обновить?", Language.EN),
        ("Who is 习近平?", Language.EN),
        ("What does 的 mean?", Language.EN),
        ("In 1994 the company (华为技术有限公司) opened an office in Shenzhen with 30 people.", Language.EN),
        ("滚动更新", Language.ZH),
        ("Kubernetes 的滚动更新", Language.ZH),
        ("FastAPI PostgreSQL Docker 部署", Language.ZH),
        ("Let It Be 的歌词是什么", Language.ZH),
        ("约翰·史密斯 (John Smith) 在 Google Cloud Platform 工作", Language.ZH),
        ("配置 2024 1 2 3 4 5 6 7 8", Language.ZH),
        ("東京タワーの高さ", Language.ZH),
        ("쿠버네티스 업데이트", Language.ZH),
        ("ภาษาไทย", Language.ZH),
    ],
)
def test_language_is_detected(text: str, language: Language) -> None:
    assert language_of(text) is language
    assert analyse(text).language is language


def test_terms_fit_their_column() -> None:
    text = " ".join(["x" * 65, "y" * 100_000, "a-" * 50 + "z", "1." * 100 + "1", "é" * 70, "ﷺ" * 30, "x" * 90 + "n't"])
    found = terms(text)
    assert "x" * 64 in found
    assert "z" in found
    assert max(map(len, found)) == 64


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.text(st.sampled_from("aA'’-.,#+_1 \n中ーん한ก\u0301\u00adéẞİ½ﷺ。🙂") | st.characters(), max_size=60))
def test_terms_are_well_formed(text: str) -> None:
    found = terms(text)
    assert all(0 < len(term) <= 64 and count > 0 and not any(map(str.isspace, term)) for term, count in found.items())
    assert bool(found) == bool(terms(f"{text} the")) - (not found)
    assert language_of(text) in Language


def test_analysis_is_thread_safe() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        _stem_in_threads()
    finally:
        sys.setswitchinterval(interval)


def _stem_in_threads() -> None:
    words = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}relationalization{'s' * (i % 2)}" for i in range(600)]
    lexical._cached_word_terms.cache_clear()
    alone = [terms(word) for word in words]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            lexical._cached_word_terms.cache_clear()
            assert list(pool.map(terms, words)) == alone


@pytest.mark.parametrize(
    "unit", ["a\u0300\u0316" + "\u0316\u0300" * 20, "a.", "a-", "a'", "中\n", "x", " ", "-\n", "\u0300\u0316", "1."]
)
def test_time_is_proportional_to_the_length(unit: str) -> None:
    started = time.process_time()
    analyse(unit * (200_000 // len(unit)))
    assert time.process_time() - started < 5  # half a second here; a quadratic algorithm takes a minute
