"""`visavis replay`: a recorded session through the same program, and what came of it."""

import argparse
from collections.abc import Collection, Sequence
from typing import Any

from msgspec.structs import replace

from agent import assembly, config, parts
from agent.errors import ConfigError, ReplayEnded
from agent.execution import OK, fetch
from agent.outputs import Terminal
from agent.recalled import recalled_tools
from agent.replay import Difference, Replay
from agent.robots.choosing import factsheets
from agent.robots.recalled import recalled_robots
from agent.session import Log, Session
from agent.view import TerminalView
from embodied.ports import Actuator
from policies.cassette import Cassette, exchanges
from policies.models.pictures import Pictures
from policies.ports import Policy
from streams import clock
from streams.pictures import anonymous
from streams.ports import Publisher, Tap
from streams.recording import Recording
from streams.topics import ACTION, FEEDBACK
from streams.types import Outcome

DIFFERENT = 1
REPLAY = "-replay"
"""After the agent's id, when a replay moves robots."""


def replay(arguments: argparse.Namespace) -> int:
    """`visavis replay`: a recording through the real encoders and policy; identical, or different where."""
    console = Terminal()
    recording = Recording.open(arguments.recording)
    if recording.torn:
        console.print(
            f"{arguments.recording} is torn: {recording.torn}; replaying what is whole", markup=False, soft_wrap=True
        )
    if lost := recording.header.extra.get("lost"):
        note = f"{arguments.recording} lost {len(lost)} piece(s) to damage: what is decided after them may differ"
        console.print(note, markup=False, soft_wrap=True)
    settings = config.reload(
        recording.header.config, arguments.set, lambda line: console.print(line, markup=False, soft_wrap=True)
    )
    for line in parts.changed(settings):
        console.print(line, markup=False, soft_wrap=True)
    keys = {assignment.partition("=")[0].strip() for assignment in arguments.set}
    changed = {key.partition(".")[0] for key in keys}
    live, cassette = arguments.live_model, Cassette(exchanges(recording.packets((ACTION, FEEDBACK))))
    if live and (arguments.check or not parts.has_model(settings)):
        raise ConfigError("--live-model is for a session with a language model, and does not go with --check")
    moves = live_body(arguments, settings)
    body = settings
    if moves:
        body = as_replay(settings, keys)
        clock.run(factsheets(body.robot), virtual=False)  # raises for a broker or a robot that is not there
    what_if = (bool(changed) or live or moves) and not arguments.check
    if arguments.mode == "media":
        settings = fetch(settings, console)
    performance = Replay(
        recording,
        mode=arguments.mode,
        shadow=_shadow(body, recording, None if live else cassette, moves=moves) if what_if else None,
        free=bool(changed & config.OF_THE_SENSES or keys & config.KEYS_OF_THE_SENSES),
        embodied=live or moves or bool(changed & config.OF_THE_BODY),
    )
    log = Log(FEEDBACK)
    taps: list[Tap] = [log, *([TerminalView(console)] if arguments.show else ())]
    with clock.Stopwatch() as timing:
        perform(
            performance,
            settings,
            recording,
            taps,
            1.0 if live or arguments.speed == "1" else None,
            virtual=not (live or moves),
        )
    seconds = performance.replayed[-1].at / 1e9 if performance.replayed else 0.0
    console.print(
        f"replayed {seconds:.1f} s from {arguments.mode} in {timing.wall:.2f} s"
        f" ({seconds / timing.wall:.0f}x real time), {len(performance.replayed)} decisions and actions",
        markup=False,
        soft_wrap=True,
    )
    for difference in performance.percepts[:10]:
        console.print(f"percept differs: {_difference(difference)}", markup=False, soft_wrap=True)
    for assignment in _idle(arguments.set, arguments.mode, arguments.check):
        console.print(assignment, markup=False, soft_wrap=True)
    if performance.identical and not performance.expected and not performance.replayed:
        console.print("nothing to compare: the recording holds no decision or action, and the replay made none")
        return OK
    if performance.identical:
        if performance.torn:
            console.print(f"up to {seconds:.3f} s, where the recording ends in the middle:", soft_wrap=True)
        console.print(f"identical: sha256 {performance.digest}", markup=False, soft_wrap=True)
        return OK
    if what_if:
        asked = ["the model is asked again"] if live else []
        asked += [f"{', '.join(settings.robot.ids)} moves again"] if moves else []
        console.print(f"what if {', '.join([*arguments.set, *asked])}:", markup=False, soft_wrap=True)
        changes = performance.compare()
        for line in [*(changes or ["nothing is said or done otherwise"]), *([] if live else _mismatches(cassette))]:
            console.print(line, markup=False, soft_wrap=True)
        return _unanswered(log, console) if live else OK
    first = performance.first
    assert first is not None
    console.print(f"different: {_difference(first)}", markup=False, soft_wrap=True)
    return DIFFERENT


def _unanswered(log: Log, console: Terminal) -> int:
    """Say which questions the model did not answer: what is told of those is not its own."""
    ends = [outcome for outcome in log.of(Outcome) if outcome.action == "Ask" and outcome.status != "cut"]
    failed = [outcome for outcome in ends if outcome.status != "done"]
    for outcome in failed:
        console.print(f"turn {outcome.turn}: the model did not answer: {outcome.detail}", markup=False, soft_wrap=True)
    if failed:
        console.print(f"{len(failed)} of {len(ends)} question(s) failed: what is told of them is the fallback's")
    return DIFFERENT if failed else OK


def live_body(arguments: argparse.Namespace, settings: config.Config) -> bool:
    """Whether the robots of the configuration are to move for this replay. Raises `ConfigError`.

    A recording that moves a robot is a thing to be sure of: the option has to be given twice, and nothing else will do.
    """
    if not arguments.live_body:
        return False
    if settings.body.motion != "mqtt" or arguments.check:
        raise ConfigError("--live-body is for a session with robots, and does not go with --check")
    if arguments.live_body < 2:
        raise ConfigError(
            f"--live-body would send commands to {', '.join(settings.robot.ids)} at {anonymous(settings.robot.url)}: "
            "see that nobody is near, and give the option twice"
        )
    return True


def as_replay(settings: config.Config, chosen: Collection[str] = ()) -> config.Config:
    """`settings` with an id of its own for the agent: with the recorded one it would throw a running agent out.

    chosen: keys that were set for this replay; with "robot.agent" among them its value stays
    """
    if "robot.agent" in chosen:
        return settings
    agent = settings.robot.agent[: 64 - len(REPLAY)] + REPLAY
    return replace(settings, robot=replace(settings.robot, agent=agent))


def _shadow(
    settings: config.Config, recording: Recording, cassette: Cassette | None, *, moves: bool = False
) -> assembly.AgentBody:
    """The simulated body of a what-if, which must change nothing: tools, robots and model answer as they did then.

    cassette: None to ask the model itself;  moves: the robots move, for once
    """
    packets = list(recording.packets((ACTION, FEEDBACK)))
    tools = recalled_tools(packets)
    moving = recalled_robots(packets) if settings.body.motion == "mqtt" and not moves else None
    if cassette is None or not parts.has_model(settings):
        return assembly.AgentBody(settings, tools, installed=False, moving=moving)

    def model(publisher: Publisher, clock: clock.Clock, pictures: Pictures) -> Actuator:
        return cassette.attach(publisher, clock)

    return assembly.AgentBody(settings, tools, installed=False, model=model, moving=moving)


def _mismatches(cassette: Cassette) -> list[str]:
    """Which questions to the model were others than then, and where."""
    lines = [
        f"turn {each.turn}: the model is asked something else: {each.place or 'it was not asked then'}"
        for each in cassette.mismatches
    ]
    if lines:
        lines.append(
            f"{cassette.matched} question(s) as recorded, {len(lines)} not: these have the answers recorded in their "
            "place; --live-model asks the model"
        )
    return lines


def _idle(assignments: Sequence[str], mode: str, check: bool) -> list[str]:
    """A line for each what-if that this replay cannot answer, whatever its value."""
    told = []
    for assignment in assignments:
        key = assignment.partition("=")[0].strip()
        section = key.partition(".")[0]
        if section == "audio":
            told.append(f"{key} changes nothing here: the blocks of sound are the recorded ones")
        elif section in config.OF_THE_SENSES - {"language"} and mode == "percepts":
            told.append(
                f"{key} changes nothing here: percepts are the recorded ones (--from media computes them again)"
            )
        elif section in config.OF_THE_BODY and check:
            told.append(f"{key} changes nothing here: with --check what the body did is the recorded")
    return told


def perform(
    performance: Replay,
    settings: config.Config,
    recording: Recording,
    taps: Sequence[Tap] = (),
    speed: float | None = None,
    *,
    virtual: bool = True,
    policy: Policy | None = None,
) -> Session:
    """Run one replay to its end, or to its first difference. Returns the session it ran in.

    virtual: False on a real clock, for a body that asks a real model
    policy: one of your own, as the session was recorded with (default: that of the configuration)
    """
    session = assembly.assemble(
        settings,
        [performance],
        taps=taps,
        started=recording.header.started,
        senses=performance.mode == "media",
        body=performance.body,
        desk=performance.desk,
        policy=policy,
    )
    try:
        session.run(speed=speed, virtual=virtual)
    except ReplayEnded:
        pass
    return session


def _difference(difference: Difference) -> str:
    return f"recorded {_line(difference.recorded)}, replayed {_line(difference.replayed)}"


def _line(line: tuple[str, int, Any] | None) -> str:
    if line is None:
        return "nothing"
    topic, t, data = line
    return f"{t / 1e9:.3f} s {topic} {data}"
