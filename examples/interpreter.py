"""A policy that asks a language model: an interpreter. Without a server it asks a scripted one, to show how it works.

With one: python interpreter.py http://localhost:11434/v1 qwen3
"""

import sys
from collections.abc import AsyncGenerator

from agent import assembly, config
from agent.session import Log
from policies.llm.asking import Asking
from policies.models.chat import ChatModel
from policies.models.scripted import ScriptedModel
from streams.devices.lines import Lines
from streams.types import Action, Ask, Outcome, TurnCommitted

SCRIPT = {"good morning": "Guten Morgen.", "where is the station": "Wo ist der Bahnhof?"}


class Interpreter(Asking):
    """Says in German what it hears, clause by clause while the model still translates."""

    language = "de"

    async def reply(self, turn: TurnCommitted) -> AsyncGenerator[Action, None]:
        """Everything the model says is recorded, and so is replayed."""
        order = {"role": "system", "content": "Translate what the user says into German. Say nothing else."}
        yield Ask({"messages": [order, {"role": "user", "content": turn.text}]})
        async for say in self.answer():
            yield say


live = len(sys.argv) > 1
url, name = (*sys.argv[1:], "", "")[:2]
settings = config.load(None, ["voice.espeak.language=de", *([f"llm.url={url}", f"llm.model={name}"] if live else [])])
body = assembly.AgentBody(
    settings,
    model=lambda publisher, clock, pictures: (
        ChatModel(settings.llm, publisher, clock, pictures) if live else ScriptedModel(SCRIPT, publisher, clock)
    ),
)
log = Log()
session = assembly.assemble(settings, [Lines(list(SCRIPT))], policy=Interpreter(), body=body, taps=[log])
session.run(speed=1.0 if live else None)
for outcome in log.of(Outcome):
    if outcome.action == "Say":
        print(outcome.turn, outcome.result)
