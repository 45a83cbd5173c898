"""Chunking: invariants of every chunk, and the positions of the cuts."""

import re
import time
from collections.abc import Iterator
from itertools import count, islice, pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document

from project3_rag_docs.ingestion.chunking import Chunk, chunk_spans, split_sections, split_sentences
from project3_rag_docs.ingestion.noise import remove_noise


def section(text: str, page: int | None = None, heading: str | None = None) -> Document:
    return Document(page_content=text, metadata={"page": page, "heading": heading})


def weight(text: str) -> int:
    return sum(3 if 0xE00 <= ord(c) < 0x1E00 or ord(c) >= 0x2E80 else 1 for c in text)


def cut(text: str, size: int, overlap: int = 0) -> list[str]:
    return [text[start:end] for start, end in chunk_spans(text, size, overlap)]


_PIECES = st.sampled_from(
    [
        "word",
        "A sentence ends. ",
        "Is it? ",
        "Dr. Who, e.g., ",
        "你好，世界。",
        "没有标点的一段文字",
        "“好！”",
        "3.5",
        "e\u0301" * 9,
        " ",
        "\n",
        "\n\n",
        "\r\n \r\n",
        "\t",
        "\u3000",
        " " * 40,
        "x" * 90,
        "👩\u200d👩\u200d👧",
        "。",
        ".",
        "!?",
        "\x00",
        "ก็",
    ]
)
_TEXTS = st.lists(_PIECES | st.text(max_size=5), max_size=40).map("".join)
_SIZES = st.integers(6, 150).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size // 2)))


@settings(derandomize=True, max_examples=1000, deadline=None)
@given(_TEXTS, _SIZES)
@example("ab. " + " " * 40 + "cd. ef.", (10, 5))
@example("中" * 5, (7, 3))
def test_chunks_lose_nothing_and_respect_the_limit(text: str, limits: tuple[int, int]) -> None:
    size, overlap = limits
    found = list(chunk_spans(text, size, overlap))
    for start, end in found:
        assert text[start:end]
        assert text[start:end] == text[start:end].strip()
        assert weight(text[start:end]) <= size
    for (start, end), (next_start, next_end) in pairwise(found):
        assert start < next_start
        assert end < next_end
        assert not text[end:next_start].strip()  # empty where they overlap
        assert weight(text[next_start:end]) <= overlap
    if not found:
        assert not text.strip()
    else:
        assert not text[: found[0][0]].strip()
        assert not text[found[-1][1] :].strip()
    if 0 < weight(text.strip()) <= size:
        assert len(found) == 1


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.lists(st.tuples(_TEXTS, st.sampled_from([None, 1, 2]), st.sampled_from([None, "A"])), max_size=8), _SIZES)
def test_chunks_are_the_sections_pieces_in_order(
    sections: list[tuple[str, int | None, str | None]], limits: tuple[int, int]
) -> None:
    sections = [(remove_noise(text), page, heading) for text, page, heading in sections]
    rest = [(page, heading, text) for text, page, heading in sections]
    for chunk in split_sections((section(*given_section) for given_section in sections), *limits):
        place = (chunk.page, chunk.heading)
        while rest and (rest[0][:2] != place or not _overlaps(rest[0][2], chunk.text)):
            rest.pop(0)
        assert rest, chunk
    written = "".join(_letters(text) for text, _, _ in sections)
    chunks = split_sections((section(*given_section) for given_section in sections), limits[0], 0)
    assert "".join(_letters(chunk.text) for chunk in chunks) == written


def _letters(text: str) -> str:
    return "".join(re.findall(r"[^\W_]", text))


def _overlaps(text: str, chunk: str) -> bool:
    return chunk in text or text.strip() in chunk


def test_fitting_passage_is_one_unchanged_chunk() -> None:
    text = "First.\n\nSecond, and more.  " * 44
    assert list(split_sections([section(f"\n{text}", 3, "Intro")])) == [Chunk(text.strip(), 3, "Intro")]
    assert [chunk.text for chunk in split_sections([section("中" * 400)])] == ["中" * 400]
    assert len(list(split_sections([section("中" * 401)]))) == 2


@pytest.mark.parametrize(
    ("text", "size", "first"),
    [
        ("One two three four.\n\nFive six. Seven eight nine. Ten eleven twelve.", 35, "One two three four."),
        ("One two three.\r\n \r\nFour. Five six seven eight nine ten eleven.", 24, "One two three."),
        ("One two three four. Five, six\nseven eight nine ten eleven twelve thirteen.", 34, "One two three four."),
        ("one two three four\nfive, six seven eight nine ten eleven twelve thirteen", 30, "one two three four"),
        ("one two three four, five six seven eight nine ten eleven twelve", 26, "one two three four,"),
        ("one two three four five six seven eight nine ten eleven twelve", 26, "one two three four five"),
        ("one " + "x" * 60, 26, "one"),
        ("x" * 60, 26, "x" * 26),
        (
            "今天天气很好。我们去公园走走吧，带上孩子和狗。然后回家吃饭睡觉，明天再说。",
            60,
            "今天天气很好。我们去公园走走吧，",
        ),
        ("今天天气很好我们去。公园走走吧带上孩子和狗然后回家吃饭睡觉明天再说", 45, "今天天气很好我们去。"),
        ("今天天气很好我们去，公园走走吧带上孩子和狗然后回家吃饭睡觉明天再说", 45, "今天天气很好我们去，"),
        ("他说：“好的，我们走吧！”然后他们就一起离开了那个地方再也没有回来。", 45, "他说：“好的，我们走吧！”"),
        ("部署应用的时候请使用Kubernetes集群来完成所有的事情不要手动操作服务器", 39, "部署应用的时候请使用"),
        (
            "Ask Mr. Smith or Dr. Who about it, they may well know more than I do.",
            40,
            "Ask Mr. Smith or Dr. Who about it,",
        ),
    ],
)
def test_cut_is_at_the_best_boundary(text: str, size: int, first: str) -> None:
    assert cut(text, size)[0] == first


def test_grapheme_clusters_are_not_split() -> None:
    assert cut("e\u0301" * 20, 7)[0] == "e\u0301" * 3
    assert cut("👩\u200d👧" * 9, 16)[0] == "👩\u200d👧" * 2
    assert all(piece[0] not in "ู็่" for piece in cut("กู่็" * 30, 25))


def test_chunk_overlaps_the_previous_sentences() -> None:
    text = "Alpha one is here. Beta two. Gamma three. Delta four is far longer than that. Epsilon is the fifth of them."
    assert cut(text, 60, 30) == [
        "Alpha one is here. Beta two. Gamma three.",
        "Beta two. Gamma three. Delta four is far longer than that.",
        "Epsilon is the fifth of them.",
    ]
    chinese = "今天天气很好。我们去公园。带上孩子和狗。然后回家吃饭睡觉。明天再说吧好不好。"
    assert cut(chinese, 65, 21)[:2] == ["今天天气很好。我们去公园。带上孩子和狗。", "带上孩子和狗。然后回家吃饭睡觉。"]
    assert cut(chinese, 65, 20)[1].startswith("然后")


def test_overlap_prefers_a_sentence_start_to_a_line_start() -> None:
    text = "A first, far longer sentence\nends. The second\nline is here. " + "Something else follows and is long."
    assert cut(text, 66, 33)[1].startswith("The second\nline is here. Something")
    lines = "apples\npears\nbananas\ncherries\ndates\nelderberries\nfigs\ngrapes"
    assert cut(lines, 32, 10)[1].startswith("cherries\n")


def test_last_chunk_is_not_tiny() -> None:
    text = " ".join(f"Sentence number {number} is here." for number in range(100, 160))
    for length in range(1210, 1500, 7):
        pieces = cut(text[:length], 1200)
        assert len(pieces) == 2
        assert min(map(len, pieces)) > 240


def test_chunks_are_well_filled() -> None:
    text = " ".join(f"Sentence number {number} is here." for number in range(10_000))
    pieces = cut(text, 1200, 150)
    assert min(map(len, pieces)) > 600
    assert sum(map(len, pieces)) / len(pieces) > 1100


def test_only_small_neighbours_are_merged() -> None:
    sections = [
        section("one", 1, "A"),
        section(" \n", 2, "A"),
        section("two", 1, "A"),
        section("x" * 20, 1, "A"),
        section("three", 2, "A"),
        section("four", 2, "B"),
        section("five", 2, None),
        Document(page_content="six"),
        section("中中", 4),
        section("文文", 4),
        section("字字", 4),
    ]
    assert list(split_sections(sections, 20, 0)) == [
        Chunk("one\n\ntwo", 1, "A"),
        Chunk("x" * 20, 1, "A"),
        Chunk("three", 2, "A"),
        Chunk("four", 2, "B"),
        Chunk("five", 2, None),
        Chunk("six", None, None),
        Chunk("中中\n\n文文", 4, None),
        Chunk("字字", 4, None),
    ]


def test_chunks_do_not_overlap_across_pages() -> None:
    assert [chunk.text for chunk in split_sections([section("One. Two.", 1), section("Three.", 2)], 30, 15)] == [
        "One. Two.",
        "Three.",
    ]


def test_sections_are_read_lazily() -> None:
    taken = 0

    def endless() -> Iterator[Document]:
        nonlocal taken
        for page in count():
            taken += 1
            yield section("A sentence. " * 300, page)

    assert [chunk.page for chunk in islice(split_sections(endless()), 5)] == [0, 0, 0, 0, 1]
    assert taken <= 3


@pytest.mark.parametrize(("size", "overlap"), [(5, 0), (100, 51), (100, -1)])
def test_impossible_limits_are_rejected(size: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="cannot split"):
        list(chunk_spans("text", size, overlap))


@pytest.mark.parametrize(
    "pieces",
    [
        ["One. ", "Two! ", "Three? ", "Four"],
        ["He paid 3.5 (e.g. in the U.S. market). ", '"Why?" ', "Because."],
        [
            "Dr. A. Smith, Ph.D., came at 5 p.m. with apples, pears etc. in a bag. ",
            "It was in the U.S. ",
            "He left etc. ",
            "End",
        ],
        ["The answer is no. ", "See No. 5 and Fig. 3.\n", "Visit example.com. ", "Or not."],
        ["  Heading\n\n", "1. First point\n ", "2. Second. ", "More"],
        ["Contents ........ 5\n", "Wait... ", "Really?! ", "(Yes.) ", "End… ", "of it"],
        ["你好。", "“再见！”", "他走了；", "她说……", "真的?", "是（对。）", "版本3.5发布。\n", "完"],
        ["क्या? ", "यह है। ", "हाँ"],
        ["\r\n\tx"],
        ["  \n"],
        [],
    ],
)
def test_text_is_split_into_sentences(pieces: list[str]) -> None:
    assert split_sentences("".join(pieces)) == pieces


@settings(derandomize=True, max_examples=500, deadline=None)
@given(_TEXTS)
def test_sentences_join_to_the_text(text: str) -> None:
    found = split_sentences(text)
    assert "".join(found) == text
    assert all(piece.strip() for piece in found) or not text.strip()
    assert not any(piece[0].isspace() for piece in found[1:])


@pytest.mark.parametrize(
    "unit",
    [
        "x",
        ".",
        ". ",
        "中",
        "中。",
        "e\u0301",
        "etc. ",
        "a\n",
        "\n",
        '"',
        "\u0301",
        "😀",
        "a " + " " * 3000,
        "etc." + " " * 3000,
    ],
)
def test_time_is_proportional_to_the_length(unit: str) -> None:
    text = unit * (400_000 // len(unit))
    started = time.process_time()
    list(chunk_spans(text, 1200, 150))
    split_sentences(text)
    assert time.process_time() - started < 8  # under a second here; a quadratic algorithm takes minutes
