from langgraph.graph import MessagesState


class State(MessagesState):
    is_last_step: bool
