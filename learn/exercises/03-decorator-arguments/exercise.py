"""A decorator with arguments, for functions of every signature."""


def retry(times):
    """Return a decorator that calls a function again when it raises ConnectionError, up to `times` calls in all."""
    # TODO: Write the decorator and its wrapper. The last error is raised. The wrapped function keeps its name and its
    #       docstring, and takes any arguments.
    #       写出装饰器和包装函数：最后一次的错误要抛出；包装后的函数保留原来的名字和文档字符串，可以接受任意参数。
    raise NotImplementedError
