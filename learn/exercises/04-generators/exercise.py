"""Generators: values one after the other, each made when it is needed."""


def chunks(text, size):
    """Yield the pieces of a text, each of `size` characters, the last one perhaps shorter."""
    # TODO: Yield the pieces. `range(start, stop, step)` and slices help.
    #       依次产出各个片段，可以用 range(start, stop, step) 和切片。
    return iter(())


def without_blank_lines(lines):
    """Yield the lines that have text, without the white space around it. Reads no more lines than needed."""
    # TODO: Write the generator. `lines` may be endless.
    #       写出这个生成器。lines 可能无穷无尽。
    return lines
