"""Grammar speech recognition with pocketsphinx: what can be understood is what a JSGF text says, the rest is rejected.

pocketsphinx (https://github.com/cmusphinx/pocketsphinx, BSD) carries its English acoustic model and the CMU
pronouncing dictionary in its wheel. Beside the grammar's own search runs a phone loop, which can follow any speech:
where and how much worse the grammar explains the sound than the loop does says whether the sentence was really spoken
(`evidence.py`). What was tried, and the figures: docs/decisions/0005-speech.md.
"""

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from streams.encoders.recognisers import RATE, GrammarInvalid, Hypothesis
from streams.encoders.recognisers.automaton import Automaton
from streams.encoders.recognisers.evidence import FRAME, confidence, explained, path
from streams.encoders.recognisers.evidence import Path as Heard
from streams.encoders.recognisers.jsgf import pronounce, single_top, words_of
from streams.errors import DependencyMissing
from streams.types import Probability, Samples

WINDOW = 410  # samples of its analysis window
PHONES = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
FRONT = "#JSGF V1.0;\ngrammar front;\npublic <sound> = ah;\n"
ALARM = "#JSGF V1.0;\ngrammar alarm;\npublic <alarm> = {};\n"
SHORT = 100  # frames of speech: an urgent word is said by itself
LOOP = "#JSGF V1.0;\ngrammar phones;\npublic <speech> = ({})+;\n"

# Mean cepstrum of the real recordings it was tuned on (levels from a whisper to full scale differ mostly in the first).
MEAN = np.array([54, 5, -1.4, 9.5, -5.5, -0.6, -8, -2.5, -4, -0.7, -1.3, 1, 1.2])
PARTIAL_COST = 500_000  # ns
MEMORY = 500  # frames by which pocketsphinx weighs a mean that it is given (CMN_WIN in its cmn.h)

# Every senone is scored, so that the two searches can be compared; `lw=1` takes a grammar's alternatives at their
# probability instead of its 6.5th power, which would punish every choice among many numbers; `bestpath` would build a
# lattice that is exponential in a loop.
GRAMMAR = {"lw": 1.0, "bestpath": False, "compallsen": True, "topn": 2, "loglevel": "FATAL"}
PHONE_LOOP = {**GRAMMAR, "beam": 1e-20, "pbeam": 1e-20, "wbeam": 1e-12}


PIECE = RATE // 50  # samples: some 0.8 ms of decoding for each of the searches


class GrammarConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """When a grammar's sentence is believed.

    accept: confidence below which speech is rejected as outside the grammar
    accept_urgent: the same for urgent words ("stop"): to stop for nothing costs less than not to stop
    urgent_margin: short speech is taken for an urgent word also where a sentence explains it better, by no more than
        this (log likelihood per frame); 0 = never
    listen_ms: sound to hear, lead included, before decoding begins: the channel and level are judged from it
    trust_ms: how much sound the expected channel (the usual one, later that of this session) weighs against it
    """

    accept: Probability = 0.6
    accept_urgent: Probability = 0.35
    urgent_margin: Annotated[float, Meta(ge=0, le=5)] = 0.6
    listen_ms: Annotated[int, Meta(ge=100, le=5000)] = 600
    trust_ms: Annotated[int, Meta(ge=0, le=5000)] = 200


class GrammarModel:
    """A checked grammar and what pocketsphinx needs for it. Shared; searches are made per session (about 40 ms).

    urgent: words that are believed sooner, where a sentence begins with one
    words: all words of the grammar
    guessed: those the dictionary lacks, with the pronunciation made up for them (a caller may warn about them)
    Raises `GrammarInvalid` for a grammar that cannot be compiled, `DependencyMissing` without pocketsphinx.
    """

    name = "pocketsphinx-grammar"

    def __init__(self, jsgf: str, config: GrammarConfig | None = None, urgent: Collection[str] = ()) -> None:
        self.config = config or GrammarConfig()
        self.urgent = frozenset(word.lower() for word in urgent)
        self._ps = _pocketsphinx()
        self.jsgf = single_top(jsgf)
        self.words = words_of(self.jsgf)
        self._lines, self.guessed = pronounce(self.words, Path(self._ps.get_model_path("en-us/cmudict-en-us.dict")))
        self._grammar = self._compiled()
        self._alarm = self._alarming() if self.urgent and self.config.urgent_margin else None

    def search(self) -> Any:
        """A decoder for the grammar."""
        return self._decoder(self._grammar, self._lines, GRAMMAR)

    def alarm(self) -> Any:
        """A decoder that knows the urgent words and nothing else; None without any."""
        return self._decoder(*self._alarm, GRAMMAR) if self._alarm is not None else None

    def loop(self) -> Any:
        """A decoder that follows any speech, phone by phone."""
        lines = [f"{phone.lower()} {phone}" for phone in PHONES.split()]
        return self._decoder(LOOP.format(" | ".join(phone.lower() for phone in PHONES.split())), lines, PHONE_LOOP)

    def front(self) -> Any:
        """A decoder whose cepstra are wanted and nothing else: it searches for one word, at next to no cost."""
        return self._decoder(FRONT, ["ah AH"], {"loglevel": "FATAL", "bestpath": False})

    def recogniser(self) -> "GrammarRecogniser":
        """The searches of one session."""
        return GrammarRecogniser(self)

    def _alarming(self) -> tuple[str, list[str]]:
        """The grammar of the urgent words alone, and the lines of its dictionary."""
        words = sorted(self.urgent & set(self.words)) or sorted(self.urgent)
        lines, _ = pronounce(" ".join(words).split(), Path(self._ps.get_model_path("en-us/cmudict-en-us.dict")))
        return ALARM.format(" | ".join(words)), lines

    def _compiled(self) -> str:
        """The grammar as a small automaton. Raises `GrammarInvalid`."""
        decoder = self._decoder(self.jsgf, self._lines, GRAMMAR)
        with tempfile.TemporaryDirectory(prefix="visavis-") as folder:
            return Automaton.of(decoder.get_fsg("grammar"), Path(folder, "grammar.fsg")).minimal().text()

    def _decoder(self, grammar: str, lines: list[str], options: dict[str, Any]) -> Any:
        # grammar: JSGF, or the text of an `Automaton`.
        # pocketsphinx reads dictionaries from files only, at once; with its own of 134,000 words it takes 80 MB more.
        with tempfile.TemporaryDirectory(prefix="visavis-") as folder:
            path = Path(folder, "words.dict")
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            hmm = self._ps.get_model_path("en-us/en-us")
            decoder = self._ps.Decoder(hmm=hmm, dict=str(path), lm=None, **options)
            if grammar.startswith("FSG"):
                automaton = Path(folder, "grammar.fsg")
                automaton.write_text(grammar, encoding="utf-8")
                decoder.add_fsg("grammar", decoder.read_fsg(str(automaton)))
                decoder.activate_search("grammar")
                return decoder
        try:
            decoder.add_jsgf_string("grammar", grammar)
        except (RuntimeError, ValueError) as error:
            raise GrammarInvalid(f"pocketsphinx cannot compile the grammar ({error}): {grammar[:200]!r}…") from error
        decoder.activate_search("grammar")
        return decoder


class GrammarRecogniser:
    """One session's stream: the grammar's search, the phone loop, and the mean cepstrum of this session's speech."""

    feed_cost = 80_000_000
    finish_cost = 3_000_000
    joins = True

    def __init__(self, model: GrammarModel) -> None:
        self.model = model
        self._listen = model.config.listen_ms * RATE // 1000
        self.reset()

    def start(self) -> None:
        """A stretch of speech begins."""
        self._end()
        self._early: list[Samples] = []
        self._fed = 0
        self._urged = ""

    def feed(self, samples: Samples) -> None:
        """The first `listen_ms` are kept and decoded together, the rest as it comes."""
        self._fed += len(samples)
        if self._open:
            self._decode(samples)
            return
        self._early.append(samples)
        if self._fed >= self._listen:
            self._begin()

    def due(self, samples: int, *, last: bool) -> int:
        """Nothing until `listen_ms` are there, then all of them at once."""
        heard = self._fed + samples
        if not self._open and not last and heard < self._listen:
            return 0
        sound = samples if self._open else heard
        return self.feed_cost * sound // RATE + (self.finish_cost if last else PARTIAL_COST)

    def partial(self) -> Hypothesis:
        """What the grammar makes of the speech so far, if it is likely enough. `complete` is not known yet."""
        return self._heard(complete=False) if self._open else Hypothesis()

    def finish(self) -> Hypothesis:
        """The sentence, or a rejection with the nearest one as its guess."""
        if not self._open:
            if self._fed < 2 * WINDOW:
                return Hypothesis()
            self._begin()
        before = self._heard(complete=False)
        self._end()
        heard = self._heard(complete=True)
        if not heard.text and not heard.guess:  # no sentence ends here: an unfinished one is the nearest there is
            return Hypothesis(guess=before.text or before.guess, half=bool(before.text))
        if heard.text:
            self._usual = self._mean
        return heard

    def reset(self) -> None:
        """Forget the channel. The searches are made anew: what they know of the noise cannot be taken back."""
        self._searches = (self.model.search(), self.model.loop())
        self._alarm = self.model.alarm()
        self._front = self.model.front()  # computes cepstra only
        self._open = False
        self._usual = self._mean = MEAN
        self._early, self._fed, self._urged = [], 0, ""

    def renew(self) -> None:
        """As in `Renewable`: takes 0.2 ms, where new searches take 120."""
        self._end()
        for decoder in (*self._all, self._front):
            decoder.reinit_feat()
        self._usual = self._mean = MEAN

    # --- decoding

    @property
    def _all(self) -> tuple[Any, ...]:
        return self._searches if self._alarm is None else (*self._searches, self._alarm)

    def _begin(self) -> None:
        samples = np.concatenate(self._early)
        self._early = []
        trust = self.model.config.trust_ms / 10
        mean, frames = _mean_cepstrum(self._front, samples)
        self._mean = (mean * frames + self._usual * trust) / (frames + trust)
        for search in self._all:
            search.set_cmn(_text(self._mean))
            search.start_utt()
        self._open = True
        self._decode(samples)

    def _decode(self, samples: Samples) -> None:
        # pocketsphinx keeps Python's lock while it works: small pieces, so that the sound card gets its turn.
        for begin in range(0, len(samples), PIECE):
            data = samples[begin : begin + PIECE].tobytes()
            for search in self._all:
                search.process_raw(data, False, False)

    def _end(self) -> None:
        if self._open:
            for search in self._all:
                search.end_utt()
            self._open = False

    def _settled(self, urgent: str) -> bool:
        """Whether an urgent word of unfinished speech was heard the last time too: others begin like it ("please")."""
        before, self._urged = self._urged, urgent
        return urgent in ("", before)

    def _alarmed(self, grammar: Heard | None, loop: Heard | None) -> Heard | None:
        """The path of an urgent word in place of `grammar`, where short speech is nearly as well explained by it."""
        if self._alarm is None or loop is None or np.count_nonzero(loop.spoken) > SHORT:
            return grammar
        if grammar is not None and grammar.words and grammar.words[0].text in self.model.urgent:
            return grammar
        alarm = path(self._alarm)
        if alarm is None or not alarm.words or confidence(alarm, loop) < self.model.config.accept_urgent:
            return grammar
        worse = 0.0 if grammar is None else (grammar.score - alarm.score) / max(loop.frames, 20)
        return alarm if worse <= self.model.config.urgent_margin else grammar

    def _heard(self, *, complete: bool) -> Hypothesis:
        grammar, loop = (path(search) for search in self._searches)
        grammar = self._alarmed(grammar, loop)
        if grammar is None or not grammar.words:
            return Hypothesis()
        config, sure = self.model.config, confidence(grammar, loop)
        urgent = len(grammar.words) <= 2 and grammar.words[0].text in self.model.urgent
        if complete and not urgent:  # to stop at "stop, please" does no harm
            sure = min(sure, explained(grammar, loop))
        text = " ".join(word.text for word in grammar.words)
        if not complete and not self._settled(text if urgent else ""):
            return Hypothesis(confidence=sure, guess=text)
        if sure < (config.accept_urgent if urgent else config.accept):
            return Hypothesis(confidence=sure, guess=text)
        words = tuple(word._replace(confidence=sure) for word in grammar.words)
        return Hypothesis(text, words, sure, complete, half=True)


def _mean_cepstrum(front: Any, samples: Samples) -> tuple[NDArray[np.float64], int]:
    """Mean of the cepstra of `samples`, float64[13], and how many frames they are.

    pocketsphinx only tells its running mean, in which the mean it was given counts as `MEMORY` frames: solved for ours.
    """
    front.set_cmn(_text(MEAN))
    front.start_utt()
    front.process_raw(samples.tobytes(), True, False)
    running = np.array([float(value) for value in front.get_cmn(True).split(",")])
    front.end_utt()
    frames = 1 + (len(samples) - WINDOW) // FRAME
    return ((MEMORY + frames) * running - MEMORY * MEAN) / frames, frames


def _text(mean: NDArray[np.float64]) -> str:
    return ",".join(f"{value:.4f}" for value in mean)


def _pocketsphinx() -> Any:
    try:
        import pocketsphinx  # noqa: PLC0415 - optional, and heavy
    except ImportError as error:
        raise DependencyMissing("pocketsphinx", "speech", "grammar speech recognition") from error
    return pocketsphinx
