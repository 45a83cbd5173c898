"""LangChain's chat model, with an assistant as its model."""

import os

from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model="agent",
    base_url=f"{os.environ['AGENT_API_URL']}/v1",
    api_key=os.environ["AGENT_API_KEY"],
    stream_usage=True,
)
for chunk in model.stream("Hello"):
    print(chunk.text, end="", flush=True)
print()
