"""OpenAI's client for Python: a tool that the client executes, while the run waits on the server."""

import os

from openai import OpenAI

client = OpenAI(base_url=f"{os.environ['AGENT_API_URL']}/v1", api_key=os.environ["AGENT_API_KEY"])

tool = {
    "type": "function",
    "name": "read_thermometer",
    "description": "Read the thermometer of a room.",
    "parameters": {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]},
}
response = client.responses.create(model="agent", input="How warm is it in the kitchen?", tools=[tool])
while results := [
    {"type": "function_call_output", "call_id": item.call_id, "output": "21 degrees"}
    for item in response.output
    if item.type == "function_call"
]:
    response = client.responses.create(model="agent", previous_response_id=response.id, input=results, tools=[tool])
print(response.output_text)
