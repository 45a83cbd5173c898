"""Strictness and validators: rules that a type cannot express."""

from pydantic import BaseModel


class Range(BaseModel):
    """Pages of a document, counted from 1."""

    # TODO: Refuse unknown fields, and numbers in texts ("3").
    #       拒绝未知字段，也拒绝写成文本的数字（"3"）。

    title: str
    first: int
    last: int

    # TODO: A field validator takes the white space from around the title; an empty title is then an error.
    #       字段校验器：去掉 title 两端的空白；去掉之后为空就是错误。

    # TODO: A model validator refuses a `first` that is larger than `last`.
    #       模型校验器：first 大于 last 时拒绝。
