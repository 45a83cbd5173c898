from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI


def load_model(config: RunnableConfig) -> BaseChatModel:
    configurable = config.get("configurable", {})
    return ChatOpenAI(model=configurable.get("model", "m"), base_url=configurable["base_url"], api_key="unused")
