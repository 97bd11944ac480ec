"""The errors of the policies.

VisavisError
└── PolicyError             a policy cannot be set up or go on
    ├── SentencesError      a file of sentences is wrong; names file, intent and sentence
    └── ModelUnavailable    a language model did not answer, and something else did in its place
"""

from streams.errors import VisavisError


class PolicyError(VisavisError):
    """A policy cannot be set up or go on."""


class SentencesError(PolicyError):
    """A file of sentences is wrong.

    file, intent, sentence: where ("" = the fault is not inside one)
    """

    def __init__(self, problem: str, file: str, intent: str = "", sentence: str = "") -> None:
        self.file, self.intent, self.sentence = file, intent, sentence
        where = f"{file}" + (f", intent {intent!r}" if intent else "")
        quote = f" in the sentence {sentence!r}" if sentence else ""
        super().__init__(f"{where}: {problem}{quote}.")


class ModelUnavailable(PolicyError):
    """A language model did not answer, and something else did in its place."""
