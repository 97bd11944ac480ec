"""The command line. Parses, calls, and prints errors as one sentence; every heavy import waits until it is needed."""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

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
        "line on stderr; 130 ended by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP. At the first what moves is halted; where "
        "nothing moves, what is being said may end, for 2 s; then it is cut, and every file is completed. A second one "
        "ends at once.",
    )
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _conversations(commands)
    _robots(commands)
    _servers(commands)
    _recordings(commands)
    _surroundings(commands)
    return top


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _conversations(commands: Commands) -> None:
    """Commands that hold a conversation, or hold it again."""
    run = commands.add_parser("run", help="a sound or video file through the agent, as if live")
    media = run.add_mutually_exclusive_group(required=True)
    media.add_argument("--audio", metavar="FILE", help="WAV, FLAC, MP3, MP4 …: any rate, mono or stereo")
    media.add_argument("--video", metavar="FILE", help="sound and pictures of a video, in step")
    _config(run)
    _mind(run)
    run.add_argument("--record", metavar="OUT.mcap", help="record the whole session")
    run.add_argument("--voice-out", metavar="OUT.wav", help="the agent's voice on the session's time base")
    run.add_argument("--both-out", metavar="OUT.wav", help="stereo: person left, agent right")
    run.add_argument("--block-ms", type=int, metavar="MS", help="short for --set audio.block_ms=MS")
    run.add_argument("--quiet", action="store_true", help="only the report")
    _speed(run, None, "max; 1 with a model that needs the real world")
    run.set_defaults(command=_run)

    live = commands.add_parser("live", help="a conversation through microphone and loudspeaker, or a browser")
    _live_options(live)
    _mind(live)
    live.set_defaults(command=_live)

    replay = commands.add_parser("replay", help="a recorded session through the same program, on a virtual clock")
    replay.add_argument("recording", metavar="REC.mcap")
    replay.add_argument("--from", dest="mode", choices=("media", "percepts"), default="media")
    replay.add_argument("--check", action="store_true", help="exit 1 at the first decision that differs")
    replay.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="what if? (repeatable)")
    replay.add_argument("--live-model", action="store_true", help="ask the language model again, in real time")
    replay.add_argument(
        "--live-body", action="count", default=0,
        help="given twice: move the robots of the recording again, for real; else no command leaves this machine",
    )  # fmt: skip
    replay.add_argument("--show", action="store_true", help="show the conversation while it is replayed")
    _speed(replay)
    replay.set_defaults(command=_replay)

    demo = commands.add_parser("demo", help="a conversation with a synthesised person: recorded, replayed and compared")
    demo.add_argument("--robot", action="store_true", help="with a broker and a simulated robot, each its own process")
    demo.add_argument("--keep", action="store_true", help="with --robot: leave the robot there until Ctrl-C")
    demo.add_argument("--out", default=".", metavar="FOLDER", help="where demo.mcap and demo.wav go")
    _speed(demo, default="1")
    demo.set_defaults(command=_demo)


def _robots(commands: Commands) -> None:
    """Commands on robots."""
    from agent.robots import attach_options, node_options, stop_options
    from agent.robots.conformance import command as conformance

    attach_options.add(commands, _live_options, _mind)
    node_options.add(commands)
    stop_options.add(commands)
    conformance.add(commands)


def _servers(commands: Commands) -> None:
    """Commands that serve other programs."""
    wyoming = commands.add_parser("wyoming", help="serve Home Assistant by the Wyoming protocol")
    wyoming.add_argument("--uri", default="tcp://127.0.0.1:10300", metavar="tcp://HOST:PORT")
    _config(wyoming)
    wyoming.set_defaults(command=_wyoming)


def _recordings(commands: Commands) -> None:
    """Commands on recordings."""
    from agent.lerobot.command import add as lerobot
    from agent.tuning.command import add as tuning

    events = commands.add_parser("events", help="the timeline of a recording")
    events.add_argument("recording", metavar="REC.mcap")
    events.add_argument("--json", action="store_true", help="one JSON object a line: the stable contract for tools")
    events.add_argument("--topic", action="append", metavar="NAME", help="only this topic (repeatable)")
    events.set_defaults(command=_events)

    captions = commands.add_parser("captions", help="subtitles of a recording, with speakers")
    captions.add_argument("recording", metavar="REC.mcap")
    captions.add_argument("--format", choices=("vtt", "srt"), help="default: by the name of the file, else vtt")
    captions.add_argument("--out", metavar="FILE", help="default: on standard output")
    captions.add_argument("--all", action="store_true", help="also what got no answer: backchannels, noise, asides")
    captions.add_argument("--person", metavar="NAME", help="what the person is called (default: Person)")
    captions.add_argument("--agent", metavar="NAME", help="what the agent is called (default: Agent)")
    captions.set_defaults(command=_captions)

    tuning(commands)
    lerobot(commands)

    recover = commands.add_parser("recover", help="make a whole file of a torn or damaged recording")
    recover.add_argument("recording", metavar="REC.mcap")
    recover.add_argument("--out", metavar="OUT.mcap")
    recover.set_defaults(command=_recover)


def _surroundings(commands: Commands) -> None:
    """Commands on what there is."""
    models = commands.add_parser("models", help="the model store")
    models.add_argument("action", choices=("list", "pull", "path"))
    models.add_argument("name", nargs="*", help="names of models (pull without a name: those the default agent needs)")
    models.set_defaults(command=_models)

    doctor = commands.add_parser("doctor", help="what is installed, what is wrong, and the command that mends it")
    doctor.add_argument("--json", action="store_true")
    _config(doctor)
    _mind(doctor)
    doctor.set_defaults(command=_doctor)

    graph = commands.add_parser("graph", help="who reads and writes what")
    session = graph.add_mutually_exclusive_group()
    session.add_argument("--live", action="store_true", help="of a live session (default: of one on a file)")
    session.add_argument("--web", action="store_true", help="of one in a browser")
    graph.add_argument("--format", choices=("text", "dot", "mermaid"), default="text")
    _config(graph)
    graph.set_defaults(command=_graph)

    config = commands.add_parser("config", help="every key with its value, as TOML")
    _config(config)
    config.set_defaults(command=_show_config)


def _config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", metavar="AGENT.toml")
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting (repeatable)")


def _live_options(live: argparse.ArgumentParser) -> None:
    """Options of a conversation through devices, or in a browser."""
    live.add_argument("--list-devices", action="store_true", help="the sound devices there are")
    live.add_argument("--microphone", metavar="NAME", help="its name, a part of it, or its number (remembered)")
    live.add_argument("--loudspeaker", metavar="NAME", help="the same")
    live.add_argument("--camera", metavar="SOURCE", help='its number, or an http:// or rtsp:// address; "" for none')
    _config(live)
    live.add_argument("--record", metavar="OUT.mcap", help="record the whole session")
    live.add_argument("--voice-out", metavar="OUT.wav", help="the agent's voice on the session's time base")
    live.add_argument("--both-out", metavar="OUT.wav", help="stereo: person left, agent right")
    live.add_argument("--quiet", action="store_true", help="only the report")
    web = live.add_argument_group("in a browser (docs/console.md)")
    web.add_argument("--web", action="store_true", help="serve the console; its page is microphone, speaker and camera")
    web.add_argument("--port", type=int, default=8700, metavar="N", help="0 for any free one (default: %(default)s)")
    web.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (default: %(default)s)")
    web.add_argument("--tls-cert", metavar="CERT.pem", help="serve https: browsers elsewhere give their microphone")
    web.add_argument("--tls-key", metavar="KEY.pem", help="to no other page")
    web.add_argument("--recordings", metavar="FOLDER", help="where the page's recordings are (default: of the user)")


def _speed(command: argparse.ArgumentParser, default: str | None = "max", told: str = "%(default)s") -> None:
    command.add_argument(
        "--speed", choices=("max", "1"), default=default, help=f"as fast as it goes, or real time (default: {told})"
    )


class _Setting(argparse.Action):
    """An option that is short for settings: they are laid over the configuration like those of `--set`."""

    def __init__(self, *args: Any, settings: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings = settings

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: Any = None) -> None:
        namespace.set = [*namespace.set, *(setting.format(json.dumps(values)) for setting in self.settings)]


def _mind(command: argparse.ArgumentParser) -> None:
    """Options that choose what answers."""
    mind = command.add_argument_group("what answers (docs/models.md; the default is the embedded intents)")
    which = mind.add_mutually_exclusive_group()
    which.add_argument(
        "--llm", metavar="URL", action=_Setting, settings=("policy.engine=llm", "llm.url={}"),
        help="a language model: any OpenAI-compatible server, such as http://localhost:11434/v1",
    )  # fmt: skip
    which.add_argument(
        "--realtime", metavar="URL", action=_Setting, settings=("policy.engine=realtime", "realtime_model.url={}"),
        help="a speech-to-speech model (OpenAI's Realtime protocol), such as wss://api.openai.com/v1/realtime",
    )  # fmt: skip
    mind.add_argument(
        "--model", metavar="NAME", action=_Setting, settings=("llm.model={}", "realtime_model.model={}"),
        help="its name at that server",
    )  # fmt: skip


def _run(arguments: argparse.Namespace) -> int:
    from agent.modes import run

    return run(arguments)


def _live(arguments: argparse.Namespace) -> int:
    if arguments.web and not arguments.list_devices:
        from agent.web import web

        return web(arguments)
    from agent.live import live

    return live(arguments)


def _wyoming(arguments: argparse.Namespace) -> int:
    from agent.wyoming import wyoming

    return wyoming(arguments)


def _captions(arguments: argparse.Namespace) -> int:
    from agent.captions import captions

    return captions(arguments)


def _replay(arguments: argparse.Namespace) -> int:
    from agent.replaying import replay

    return replay(arguments)


def _demo(arguments: argparse.Namespace) -> int:
    if arguments.robot:
        from agent.robots.demo import demo as robot_demo

        return robot_demo(arguments)
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
