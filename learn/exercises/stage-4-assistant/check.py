import asyncio

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

NOTES = ["My dentist is Dr. Hall in Mill Street", "The bike is blue", "Dentist appointment on Friday at nine"]


def call(words, identifier="c1"):
    return AIMessage("", tool_calls=[{"name": "search_notes", "args": {"words": words}, "id": identifier}])


class Model:
    """Answers with given messages in turn, and records the messages that it received."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.shown = []

    def __call__(self, messages):
        self.shown.append(list(messages))
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


def ask(assistant, question):
    async def collect():
        return [part async for part in assistant.ask(question)]

    return asyncio.run(collect())


def test_tool_finds_and_numbers_notes(exercise):
    tool = exercise.search_tool(NOTES)
    assert tool.name == "search_notes"
    assert len(tool.description) > 20, "the model chooses by the description / 模型靠描述选择工具"
    found = tool.invoke({"words": "dentist friday"}).splitlines()
    assert found == ["[1] Dentist appointment on Friday at nine", "[2] My dentist is Dr. Hall in Mill Street"]
    assert tool.invoke({"words": "tax"}) == "Nothing found."


def test_answer_without_a_tool(exercise):
    assistant = exercise.Assistant(Model(AIMessage("Hello!")), exercise.search_tool(NOTES))
    assert ask(assistant, "Hi") == ["Hello!"]


def test_tool_result_goes_back_to_the_model(exercise):
    model = Model(call("dentist"), AIMessage("Dr. Hall [1]"))
    assistant = exercise.Assistant(model, exercise.search_tool(NOTES))
    assert ask(assistant, "Who is my dentist?") == ["searching: dentist", "Dr. Hall [1]"]
    last = model.shown[1][-1]
    assert isinstance(last, ToolMessage)
    assert last.tool_call_id == "c1"
    assert "Dr. Hall" in last.text


def test_endless_loop_ends(exercise):
    model = Model(call("x"))
    assistant = exercise.Assistant(model, exercise.search_tool(NOTES), max_steps=3)
    assert ask(assistant, "?")[-1] == "I do not know."
    assert len(model.shown) == 3


def test_conversation_is_remembered(exercise):
    model = Model(AIMessage("Hello Ada!"), AIMessage("Ada"))
    assistant = exercise.Assistant(model, exercise.search_tool(NOTES))
    ask(assistant, "I am Ada")
    ask(assistant, "Who am I?")
    assert [message.text for message in model.shown[1]][1:] == ["I am Ada", "Hello Ada!", "Who am I?"]
    assert isinstance(model.shown[1][0], SystemMessage)


def test_window_is_short_and_begins_with_a_question(exercise):
    assistant = exercise.Assistant(Model(AIMessage("x")), exercise.search_tool(NOTES), limit=3)
    assistant.messages = [
        HumanMessage("a"),
        call("b"),
        ToolMessage("c", tool_call_id="c1"),
        AIMessage("d"),
        HumanMessage("e"),
    ]
    assert [type(message) for message in assistant.window()] == [SystemMessage, HumanMessage]
    assistant.limit = 5
    assert len(assistant.window()) == 1 + 5
