"""Join a prompt, a model and a parser with `|`: the simplest LCEL chain."""

from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable


def build_chain(model: BaseChatModel) -> Runnable[dict[str, str], str]:
    """Return a chain that answers `question` in `language`, as text.

    The system message is "Answer in {language}, in one sentence."
    """
    prompt = ChatPromptTemplate([("system", "Answer in {language}, in one sentence."), ("human", "{question}")])
    return prompt | model | StrOutputParser()
