"""Chapter 6.2: operations. `make run-project4 CHAPTER=operations` runs it: the whole stage, as `main.py` builds it.

It adds schedules, metrics, traces, and what keeps a service running for years: retention, commands for operators, and
the identity that LangGraph's clients ask for.
"""

from project4_agent_api.chapters import ChapterSettings
from project4_agent_api.main import create_app
from shared.serve import serve

if __name__ == "__main__":
    serve(ChapterSettings, create_app)
