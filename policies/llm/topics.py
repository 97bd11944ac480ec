"""Topics that are not talked about: the last look at what is about to be said."""

import re
from collections.abc import Sequence


def touches(text: str, topics: Sequence[str]) -> bool:
    """Whether `text` names one of `topics`, as whole words, in any case.

    It is a list of words and nothing more: the model is asked not to talk of them (`prompt.py`), and this stops what
    it says in plain words all the same.
    """
    return any(re.search(rf"(?<!\w){re.escape(topic.strip())}(?!\w)", text, re.IGNORECASE) for topic in topics)
