import itertools


def test_text_is_cut(exercise):
    assert list(exercise.chunks("abcdefgh", 3)) == ["abc", "def", "gh"]
    assert list(exercise.chunks("", 3)) == []


def test_blank_lines_are_left_out(exercise):
    assert list(exercise.without_blank_lines([" a \n", "\n", "b", "  "])) == ["a", "b"]


def test_endless_lines_are_read_one_by_one(exercise):
    read = []

    def endless():
        for number in itertools.count():
            read.append(number)
            yield f"line {number}\n"

    assert list(itertools.islice(exercise.without_blank_lines(endless()), 2)) == ["line 0", "line 1"]
    assert len(read) <= 3
