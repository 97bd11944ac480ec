"""A conversation with everything in it that a terminal shows: real parts and a voice of tones."""

from collections.abc import Sequence
from typing import Any

from agent.conductor import Conductor
from agent.session import Log, Session
from embodied.body import Body
from embodied.speech import SpeechActuator
from embodied.voices.scripted import ToneVoice
from policies.reflex import Reflex, stop_words
from policies.turns import TurnTaker
from streams.bus import Lane
from streams.clock import Clock
from streams.devices.speaker import SimulatedSpeaker
from streams.ports import Publisher, Tap
from streams.types import Command, Say, TurnCommitted
from tests.scenes import Percepts, spoken

SCENE: list[Any] = [
    *spoken(1, 1000, 2000, "what time is it"),
    *spoken(2, 3400, 3700, "uh huh"),
    *spoken(3, 5200, 5900, "go and", complete=False, p_end=0.1),
    *spoken(4, 6700, 7500, "turn left", confidence=0.83),
    *spoken(5, 12000, 13000, "tell me a story"),
    *spoken(6, 15000, 15400, "stop"),
    *spoken(7, 18000, 19500, "", guess="what time is it", p_end=0.8),
    *spoken(8, 22200, 22450, "", p_end=None),
]


class Clerk:
    """Answers by the first word that it knows."""

    wants_floor = False

    def observe(self, packet: Any) -> None:
        pass

    async def reply(self, turn: TurnCommitted) -> Any:
        if "time" in turn.text:
            yield Say("It is ten past four in the afternoon, and it will be a quarter past four in five minutes.")
        elif "left" in turn.text:
            yield Command("turn", {"angle_rad": 1.57}, confidence=turn.confidence)
            yield Say("Turning left.")
        elif not turn.text:
            yield Say("I did not understand that.")
        else:
            yield Say("All right. I am going to tell you a long story, until you say that I should stop.")
            yield Say("And then another.")


class Mouth:
    """A body with a voice and nothing else."""

    async def run(self, lane: Lane, publisher: Publisher, clock: Clock) -> None:
        voice = ToneVoice(word_ms=220, gap_ms=60)
        speaker = SimulatedSpeaker(publisher, clock, voice.rate)
        async with speaker.device():
            await Body([SpeechActuator(voice, speaker, publisher, clock)]).run(lane, publisher, clock)


def talk(taps: Sequence[Tap] = (), scene: Sequence[Any] = SCENE) -> tuple[Session, Log]:
    """Hold the conversation, with `taps` watching."""
    words, log = stop_words("en"), Log()
    conductor = Conductor(TurnTaker(stop_words=words), Clerk(), Reflex(words))
    session = Session(sources=[Percepts(scene)], encoders=[], conductor=conductor, body=Mouth(), taps=[*taps, log])
    session.run(speed=None)
    return session, log
