"""The few sentences that the policy says itself, where the model does not: by language, else in English."""

from msgspec import Struct


class Phrases(Struct, frozen=True):
    """lost: an answer broke off;  unavailable: the model does not answer;  nothing: it has no answer
    rather_not: a forbidden topic;  done, failed: what was called, where the model says nothing of it
    """

    lost: str
    unavailable: str
    nothing: str
    rather_not: str
    done: str
    failed: str


_PHRASES = {
    "en": Phrases(
        "I am sorry, I lost my thread there.",
        "My language model does not answer. I can do simple things meanwhile.",
        "I do not know what to say to that.",
        "I would rather not talk about that.",
        "Done.",
        "That did not work.",
    ),
    "de": Phrases(
        "Entschuldigung, ich habe den Faden verloren.",
        "Mein Sprachmodell antwortet nicht. Einfache Dinge kann ich trotzdem.",
        "Darauf weiß ich nichts zu sagen.",
        "Darüber möchte ich lieber nicht sprechen.",
        "Erledigt.",
        "Das hat nicht geklappt.",
    ),
    "fr": Phrases(
        "Pardon, j'ai perdu le fil.",
        "Mon modèle de langage ne répond pas. Je peux faire des choses simples en attendant.",
        "Je ne sais que répondre à cela.",
        "Je préfère ne pas en parler.",
        "C'est fait.",
        "Cela n'a pas marché.",
    ),
    "es": Phrases(
        "Perdón, he perdido el hilo.",
        "Mi modelo de lenguaje no responde. Mientras tanto puedo hacer cosas sencillas.",
        "No sé qué decir a eso.",
        "Prefiero no hablar de eso.",
        "Hecho.",
        "No ha funcionado.",
    ),
}


def phrases(language: str) -> Phrases:
    """Those of a language such as "de" or "de-AT"."""
    return _PHRASES.get(language.partition("-")[0].lower(), _PHRASES["en"])
