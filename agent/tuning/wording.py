"""Words by which people correct, thank and agree, and those whose exchange makes another request. Per language.

The lists need not be complete: what they do not have is not told, or told by something else.
"""

from functools import cache

from msgspec import Struct

from policies.templates import plain_words

_CORRECTING = {
    "en": """no i meant|no i mean|i meant|no i said|i said|that's not what i|that is not what i|not what i asked|
        that's wrong|that is wrong|no that's not|no that is not|you misunderstood|you got me wrong|no not that|
        not that one|wrong one|no the other|i didn't mean|i did not mean|i didn't ask|i did not ask|no wrong""",
    "de": """nein ich meinte|ich meinte|nein ich meine|nein ich habe gesagt|ich habe gesagt|ich sagte|das ist falsch|
        das stimmt nicht|das meinte ich nicht|nein das andere|nein nicht das|du hast mich falsch|falsch""",
    "fr": """non je voulais dire|je voulais dire|non j'ai dit|j'ai dit|c'est faux|ce n'est pas ce que|non pas ça|
        non l'autre|vous m'avez mal|tu m'as mal""",
    "es": """no quise decir|quise decir|no quería decir|no dije|dije|eso está mal|no es lo que|no eso no|no el otro|
        no la otra|me has entendido mal|te equivocas""",
}
_THANKING = {
    "en": """thank you|thanks|thank you very much|thank you so much|thanks a lot|many thanks|cheers|perfect|great|
        excellent|wonderful|well done|good job|very good|brilliant|nice one|that's great|that's perfect|lovely""",
    "de": "danke|danke schön|vielen dank|danke dir|danke sehr|perfekt|super|prima|wunderbar|sehr gut|toll",
    "fr": "merci|merci beaucoup|merci bien|parfait|super|génial|excellent|très bien|formidable",
    "es": "gracias|muchas gracias|mil gracias|perfecto|genial|estupendo|excelente|muy bien|buenísimo",
}
_AGREEING = {
    "en": """yes|yeah|yep|okay|ok|all right|alright|right|exactly|that's right|that is right|correct|sure|good|fine|
        i see|got it|sounds good|of course|oh|ah|so|then|very much|please""",
    "de": "ja|jep|okay|ok|gut|genau|richtig|stimmt|alles klar|in ordnung|verstehe|ach so|na dann|bitte",
    "fr": "oui|ouais|d'accord|ok|exact|exactement|c'est ça|bien|je vois|entendu|ah|bon",
    "es": "sí|si|vale|ok|de acuerdo|exacto|correcto|bien|claro|entiendo|ya veo|ah|bueno",
}
_GREETING = {
    "en": "hello|hello there|hi|hi there|hey|good morning|good evening|good afternoon|good night|goodbye|bye|bye bye",
    "de": "hallo|hi|guten morgen|guten tag|guten abend|gute nacht|tschüss|auf wiedersehen|servus|moin",
    "fr": "bonjour|salut|bonsoir|bonne nuit|au revoir|coucou",
    "es": "hola|buenos días|buenas tardes|buenas noches|adiós|hasta luego|buenas",
}
_NUMBERS = {
    "en": """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million half
        quarter first second third""",
    "de": """null ein eins eine zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn
        sechzehn siebzehn achtzehn neunzehn zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig hundert
        tausend million halb viertel""",
    "fr": """zéro un une deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize vingt
        trente quarante cinquante soixante cent mille million demi quart""",
    "es": """cero uno una dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce quince dieciséis
        veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa cien mil millón medio cuarto""",
}
_CONTRASTS = {
    "en": """left right forward forwards back backward backwards up down on off in out plus minus times divided more
        less louder quieter open close start stop today tomorrow yesterday monday tuesday wednesday thursday friday
        saturday sunday""",
    "de": """links rechts vor vorwärts zurück rückwärts hoch runter an aus plus minus mal geteilt mehr weniger lauter
        leiser auf zu heute morgen gestern montag dienstag mittwoch donnerstag freitag samstag sonntag""",
    "fr": """gauche droite avant arrière haut bas plus moins fois divisé ouvre ferme aujourd'hui demain hier lundi
        mardi mercredi jeudi vendredi samedi dimanche""",
    "es": """izquierda derecha adelante atrás arriba abajo más menos por dividido abre cierra hoy mañana ayer lunes
        martes miércoles jueves viernes sábado domingo""",
}
_NEGATING = {
    "en": "not never don't without no",
    "de": "nicht nie ohne kein keine",
    "fr": "pas jamais sans non",
    "es": "no nunca sin",
}
_PLAIN = {
    "en": """a an the is are was be do does did can could would will please me my i you your it its this that to of for
        in at on and or so what who how tell say give hey now then there we us let's just""",
    "de": """der die das ein eine einen ist sind war kannst könntest würdest bitte mir mich ich du dein es dies zu von
        für im am und oder was wer wie sag sage gib mal jetzt dann wir""",
    "fr": """le la les un une des est sont peux pourrais peut s'il te plaît vous moi me mon je tu ton il ce cette à de
        du pour en et ou que qui quoi comment dis donne maintenant alors nous""",
    "es": """el la los las un una es son puedes podrías favor por me mi yo tú tu lo este esta a de del para en y o qué
        que quién cómo di dime da ahora entonces nos""",
}
Phrases = frozenset[tuple[str, ...]]


class Wording(Struct, frozen=True):
    """The lists of one language, as plain words.

    plain: words that a request does not hang on;  numbers, negating: words that make it another one
    contrasts: words whose exchange does ("left" for "right")
    """

    correcting: Phrases
    thanking: Phrases
    agreeing: Phrases
    greeting: Phrases
    numbers: frozenset[str]
    contrasts: frozenset[str]
    negating: frozenset[str]
    plain: frozenset[str]

    def corrects(self, text: str) -> bool:
        """Whether `text` begins by taking something back."""
        return self.opening(text) > 0

    def opening(self, text: str) -> int:
        """With how many words `text` takes something back in the beginning."""
        words = plain_words(text)
        return max((len(each) for each in self.correcting if words[: len(each)] == each), default=0)

    def thanks(self, text: str) -> bool:
        """Whether `text` is thanks or praise, and nothing else but agreement."""
        words = plain_words(text)
        some = any(words[at : at + len(each)] == each for each in self.thanking for at in range(len(words)))
        return some and _made_of(words, self.thanking | self.agreeing)

    def greets(self, text: str) -> bool:
        """Whether `text` is nothing but a greeting."""
        words = plain_words(text)
        return bool(words) and _made_of(words, self.greeting)

    def agrees(self, text: str) -> bool:
        """Whether `text` is nothing but agreement."""
        words = plain_words(text)
        return bool(words) and _made_of(words, self.agreeing)


@cache
def wording(language: str) -> Wording:
    """The lists of `language`; empty ones for a language without."""

    def phrases(table: dict[str, str]) -> Phrases:
        return frozenset(plain_words(each) for each in table.get(language, "").split("|") if each.strip())

    def words(table: dict[str, str]) -> frozenset[str]:
        return frozenset(table.get(language, "").split())

    return Wording(
        phrases(_CORRECTING),
        phrases(_THANKING),
        phrases(_AGREEING),
        phrases(_GREETING),
        words(_NUMBERS),
        words(_CONTRASTS),
        words(_NEGATING),
        words(_PLAIN),
    )


def _made_of(words: tuple[str, ...], phrases: Phrases) -> bool:
    fits = [True] + [False] * len(words)
    for end in range(1, len(words) + 1):
        fits[end] = any(fits[end - size] and words[end - size : end] in phrases for size in range(1, min(5, end) + 1))
    return fits[-1]
