"""The default agent on person.wav (any recording of speech), put together by hand: who said what."""

from agent import assembly, config
from agent.session import Log, Session
from streams.devices.files import AudioFile
from streams.types import Say, TurnCommitted

settings, log = config.load(), Log()
session = Session(
    sources=[AudioFile("person.wav")],
    encoders=assembly.hearing(settings),  # voice activity, words, end of turn
    conductor=assembly.conductor(settings),  # turn-taking, policy, stop reflex
    body=assembly.AgentBody(settings),  # voice, tools, what moves
    taps=[log],
)
session.run(speed=None)  # None: as fast as it goes, on the virtual clock; 1.0: in real time
for turn in log.of(TurnCommitted, Say):
    print(turn.turn, turn.text)
