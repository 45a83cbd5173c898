def mentions(text: str, word: str) -> bool:
    return word in text
