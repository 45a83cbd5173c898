"""Join a prompt, a model and a parser with `|`: the simplest LCEL chain."""

from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable


def build_chain(model: BaseChatModel) -> Runnable[dict[str, str], str]:
    """Return a chain that answers `question` in `language`, as text.

    The system message is "Answer in {language}, in one sentence."
    """
    # TODO: a prompt of a system message and a human message
    #       由一条 system 消息和一条 human 消息组成的提示词
    # TODO: prompt | model | parser
    #       prompt | model | parser 三步相连
    raise NotImplementedError
