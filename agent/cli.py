"""The command line. Parses, calls, and prints errors as one sentence; every heavy import waits until it is needed."""

import argparse
import io
import os
import sys
from collections.abc import Sequence

OK, DIFFERENT, FAILED, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 well, 1 found different or unhealthy, 2 an error, 130 interrupted."""
    from streams.errors import VisavisError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a sign shows "?" and not an error
    arguments = parser().parse_args(argv)
    try:
        return int(arguments.command(arguments))
    except VisavisError as error:
        print(f"visavis: {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    except BrokenPipeError:
        # Whoever read our output has gone (`visavis events … | head`): that is no error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would flush into the pipe
        return OK
    except KeyboardInterrupt as signalled:
        return int(signalled.args[0]) if signalled.args else INTERRUPTED


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="visavis",
        description="A real-time audio-visual agent: hears, takes turns, answers, records, and replays bit for bit.",
        epilog="Exit codes: 0 well; 1 something differs, needs mending or could not be completed; 2 an error, in one "
        "line on stderr; 130 ended by Ctrl-C, 143 by SIGTERM. After the first of these what is being said may end, for "
        "2 s; then it is cut, and every file is completed. A second one ends at once.",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="a sound or video file through the agent, as if live")
    media = run.add_mutually_exclusive_group(required=True)
    media.add_argument("--audio", metavar="FILE", help="WAV, FLAC, MP3, MP4 …: any rate, mono or stereo")
    media.add_argument("--video", metavar="FILE", help="sound and pictures of a video, in step")
    _config(run)
    run.add_argument("--record", metavar="OUT.mcap", help="record the whole session")
    run.add_argument("--voice-out", metavar="OUT.wav", help="the agent's voice on the session's time base")
    run.add_argument("--both-out", metavar="OUT.wav", help="stereo: person left, agent right")
    run.add_argument("--block-ms", type=int, metavar="MS", help="short for --set audio.block_ms=MS")
    run.add_argument("--quiet", action="store_true", help="only the report")
    _speed(run)
    run.set_defaults(command=_run)

    replay = commands.add_parser("replay", help="a recorded session through the same program, on a virtual clock")
    replay.add_argument("recording", metavar="REC.mcap")
    replay.add_argument("--from", dest="mode", choices=("media", "percepts"), default="media")
    replay.add_argument("--check", action="store_true", help="exit 1 at the first decision that differs")
    replay.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="what if? (repeatable)")
    replay.add_argument("--show", action="store_true", help="show the conversation while it is replayed")
    _speed(replay)
    replay.set_defaults(command=_replay)

    events = commands.add_parser("events", help="the timeline of a recording")
    events.add_argument("recording", metavar="REC.mcap")
    events.add_argument("--json", action="store_true", help="one JSON object a line: the stable contract for tools")
    events.add_argument("--topic", action="append", metavar="NAME", help="only this topic (repeatable)")
    events.set_defaults(command=_events)

    recover = commands.add_parser("recover", help="make a whole file of a torn or damaged recording")
    recover.add_argument("recording", metavar="REC.mcap")
    recover.add_argument("--out", metavar="OUT.mcap")
    recover.set_defaults(command=_recover)

    models = commands.add_parser("models", help="the model store")
    models.add_argument("action", choices=("list", "pull", "path"))
    models.add_argument("name", nargs="*", help="names of models (pull without a name: those the default agent needs)")
    models.set_defaults(command=_models)

    doctor = commands.add_parser("doctor", help="what is installed, what is wrong, and the command that mends it")
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(command=_doctor)

    graph = commands.add_parser("graph", help="who reads and writes what")
    graph.add_argument("--format", choices=("text", "dot", "mermaid"), default="text")
    _config(graph)
    graph.set_defaults(command=_graph)

    config = commands.add_parser("config", help="every key with its value, as TOML")
    _config(config)
    config.set_defaults(command=_show_config)

    demo = commands.add_parser("demo", help="a conversation with a synthesised person: recorded, replayed and compared")
    demo.add_argument("--out", default=".", metavar="FOLDER", help="where demo.mcap and demo.wav go")
    _speed(demo, default="1")
    demo.set_defaults(command=_demo)
    return top


def _config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", metavar="AGENT.toml")
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting (repeatable)")


def _speed(command: argparse.ArgumentParser, default: str = "max") -> None:
    command.add_argument(
        "--speed", choices=("max", "1"), default=default, help="as fast as it goes, or real time (default: %(default)s)"
    )


def _run(arguments: argparse.Namespace) -> int:
    from agent.modes import run

    return run(arguments)


def _replay(arguments: argparse.Namespace) -> int:
    from agent.replaying import replay

    return replay(arguments)


def _demo(arguments: argparse.Namespace) -> int:
    from agent.demo import demo

    return demo(arguments)


def _events(arguments: argparse.Namespace) -> int:
    from agent.tools import events

    return events(arguments)


def _recover(arguments: argparse.Namespace) -> int:
    from agent.tools import recover

    return recover(arguments)


def _models(arguments: argparse.Namespace) -> int:
    from agent.tools import models

    return models(arguments)


def _doctor(arguments: argparse.Namespace) -> int:
    from agent.tools import doctor

    return doctor(arguments)


def _graph(arguments: argparse.Namespace) -> int:
    from agent.tools import graph

    return graph(arguments)


def _show_config(arguments: argparse.Namespace) -> int:
    from agent.tools import config

    return config(arguments)


if __name__ == "__main__":
    sys.exit(main())
