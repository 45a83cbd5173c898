"""OpenAI's client for Python: stream an answer, then continue the conversation on the server."""

import os

from openai import OpenAI

client = OpenAI(base_url=f"{os.environ['AGENT_API_URL']}/v1", api_key=os.environ["AGENT_API_KEY"])

messages = [{"role": "user", "content": "Hello"}]
for chunk in client.chat.completions.create(model="agent", messages=messages, stream=True):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()

first = client.responses.create(model="agent", input="My name is Ada.")
second = client.responses.create(model="agent", input="What is my name?", previous_response_id=first.id)
print(second.output_text)
