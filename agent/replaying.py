"""`visavis replay`: a recorded session through the same program, and what came of it."""

import argparse
from collections.abc import Sequence
from typing import Any

from agent import assembly, config, parts
from agent.errors import ReplayEnded
from agent.execution import OK, fetch
from agent.outputs import Terminal
from agent.replay import Difference, Replay
from agent.session import Session
from agent.view import TerminalView
from streams import clock
from streams.ports import Tap
from streams.recording import Recording

DIFFERENT = 1


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
    what_if = bool(changed) and not arguments.check
    if arguments.mode == "media":
        settings = fetch(settings, console)
    performance = Replay(
        recording,
        mode=arguments.mode,
        shadow=assembly.AgentBody(settings, installed=False) if what_if else None,  # a what-if must change nothing
        free=bool(changed & config.OF_THE_SENSES or keys & config.KEYS_OF_THE_SENSES),
        embodied=bool(changed & config.OF_THE_BODY),
    )
    taps: list[Tap] = [TerminalView(console)] if arguments.show else []
    with clock.Stopwatch() as timing:
        perform(performance, settings, recording, taps, None if arguments.speed == "max" else 1.0)
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
        console.print(f"what if {', '.join(arguments.set)}:", markup=False, soft_wrap=True)
        for line in performance.compare():
            console.print(line, markup=False, soft_wrap=True)
        return OK
    first = performance.first
    assert first is not None
    console.print(f"different: {_difference(first)}", markup=False, soft_wrap=True)
    return DIFFERENT


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
) -> Session:
    """Run one replay to its end, or to its first difference. Returns the session it ran in."""
    session = assembly.assemble(
        settings,
        [performance],
        taps=taps,
        started=recording.header.started,
        senses=performance.mode == "media",
        body=performance.body,
        desk=performance.desk,
    )
    try:
        session.run(speed=speed, virtual=True)
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
