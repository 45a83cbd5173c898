"""OpenAI's client for Python: approve the tool calls that an assistant asks about."""

import os

from openai import OpenAI

client = OpenAI(base_url=f"{os.environ['AGENT_API_URL']}/v1", api_key=os.environ["AGENT_API_KEY"])

response = client.responses.create(model="agent", input="What is six times seven?")
while requests := [item for item in response.output if item.type == "mcp_approval_request"]:
    for request in requests:
        print(f"approving {request.name} {request.arguments}")
    approvals = [
        {"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True} for request in requests
    ]
    response = client.responses.create(model="agent", input=approvals, previous_response_id=response.id)
print(response.output_text)
