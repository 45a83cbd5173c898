def said(word: str) -> str:
    return f"said {word}"
