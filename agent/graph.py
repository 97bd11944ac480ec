"""Who reads and writes what in a session: as a tree in text, as Graphviz DOT, or as Mermaid.

Pure functions of the parts' own declarations (`reads`, `writes`); nothing is run. Of the built-in parts the classes are
asked: to see who reads what, no model is loaded and no extra needs to be there.
"""

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any, Literal, Protocol

from msgspec import Struct

from agent import registry
from agent.conductor import Conductor
from agent.config import Config
from streams.encoders.echo import EchoCanceller
from streams.encoders.speech import SpeechEncoder
from streams.topics import ACTION, AUDIO, BY_NAME, CLEAN, FEEDBACK, IMAGE, PERCEPT, PLAYBACK, TURN, Keep, Topic

Format = Literal["text", "dot", "mermaid"]
Where = Literal["file", "live", "web"]
"""What a session of a configuration runs on: a sound file, the devices of this machine, or a browser."""
Kind = Literal["source", "encoder", "conductor", "body", "tap"]

_SHAPES = {"source": "cds", "encoder": "box", "conductor": "box3d", "body": "house", "tap": "note"}


_DECLARED = {
    ("vads", "silero"): "streams.encoders.vad:SileroVad",
    ("vads", "auto"): "streams.encoders.vad:SileroVad",
    ("vads", "webrtc"): "streams.encoders.vad:WebRtcVad",
    ("turn_ends", "smart-turn"): "streams.encoders.turn_end:SmartTurn",
    ("faces", "yunet"): "streams.encoders.faces:FaceDetector",
}
"""Where a built-in encoder declares its topics, without being made."""

_SOURCES = {
    "file": ("streams.devices.files:AudioFile",),
    "live": ("streams.devices.microphone:Microphone", "streams.devices.camera:Camera"),
    "web": ("streams.devices.remote:RemoteMicrophone", "streams.devices.remote:RemoteCamera"),
}
"""The same of sources, the camera last."""


class Part(Struct, frozen=True):
    """One component. reads, writes: names of topics"""

    name: str
    kind: Kind
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


class SessionLike(Protocol):
    """What is asked of an `agent.session.Session`."""

    sources: Sequence[Any]
    encoders: Sequence[Any]
    conductor: Any
    body: Any
    taps: Sequence[Any]


def graph(session: SessionLike | Sequence[Part], format: Format = "text") -> str:
    """The graph of `session` or of its parts, without a line end. Raises `ValueError` for an unknown format."""
    components = session if isinstance(session, Sequence) else parts(session)
    match format:
        case "text":
            return text(components)
        case "dot":
            return dot(components)
        case "mermaid":
            return mermaid(components)
    raise ValueError(f"there is no format {format!r}: choose text, dot or mermaid")


def parts(session: SessionLike) -> tuple[Part, ...]:
    """The parts of `session` in the direction of the data. What does not declare its topics has its port's."""
    found = [_part(source, "source", (), ()) for source in session.sources]
    found += [_part(encoder, "encoder", (), ()) for encoder in session.encoders]
    found.append(_part(session.conductor, "conductor", (PERCEPT, FEEDBACK), (TURN, ACTION), "conductor"))
    found.append(_part(session.body, "body", (ACTION,), (FEEDBACK, PLAYBACK), "body"))
    found += [_part(tap, "tap", (), ()) for tap in session.taps]
    return tuple(found)


def configured(config: Config, where: Where = "file") -> tuple[Part, ...]:
    """The parts of a session of `config`, as `agent.assembly.assemble` wires them. Taps are not among them.

    where: "file" is `visavis run --audio`, "live" `visavis live`, "web" `visavis live --web`
    Only parts that other packages add are made. "auto" is what it comes to where every model can be had.
    Raises `ConfigError` for a part that does not exist.
    """
    for kind, engine, key in (
        ("policies", config.policy.engine, "policy.engine"),
        ("voices", config.voice.engine, "voice.engine"),
    ):
        registry.find(kind, engine, key)
    sources = _sources(config, where)
    ears = [_encoder("vads", config.vad.engine, "vad.engine", config)]
    if config.speech.engine != "none":
        registry.find("recognisers", config.speech.engine, "speech.engine")
        ears.append(_part(SpeechEncoder, "encoder", (), ()))
    if config.turn_end.engine != "none":
        ears.append(_encoder("turn_ends", config.turn_end.engine, "turn_end.engine", config))
    if _echoes(config, where):
        ears = [_part(EchoCanceller, "encoder", (), (), "echo"), *map(_behind_the_canceller, ears)]
    eyes = []
    if any(IMAGE.name in source.writes for source in sources) and config.faces.engine != "none":
        engine = "yunet" if config.faces.engine == "auto" else config.faces.engine
        eyes.append(_encoder("faces", engine, "faces.engine", config))
    mind = _part(Conductor, "conductor", (), (TURN, ACTION), "conductor")
    body = Part("body", "body", (ACTION.name,), (FEEDBACK.name, PLAYBACK.name))
    return (*sources, *ears, *eyes, mind, body)


def _sources(config: Config, where: Where) -> list[Part]:
    places = _SOURCES[where]
    if where == "live" and not config.camera.source:
        places = places[:1]
    return [_part(_class(place), "source", (), (), "sound file") for place in places]


def _echoes(config: Config, where: Where) -> bool:
    """Whether there is an echo canceller: see `agent.parts.settled`."""
    if config.echo.engine == "auto":
        return where == "live" or (where == "web" and config.console.echo == "agent")
    return config.echo.engine != "none"


def _behind_the_canceller(part: Part) -> Part:
    reads = tuple(CLEAN.name if name == AUDIO.name else name for name in part.reads)
    return Part(part.name, part.kind, reads, part.writes)


def _encoder(kind: str, engine: str, key: str, config: Config) -> Part:
    make = registry.find(kind, engine, key)
    declared = _DECLARED.get((kind, engine))
    if declared is None:
        return _part(make(config), "encoder", (), ())
    # A detector of voices has its name from its making.
    return _part(_class(declared), "encoder", (), (), "vad")


def _class(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def text(components: Sequence[Part]) -> str:
    """A tree: each part once in full with what it writes, and below each topic who reads it; taps apart.

    A part that is drawn already is followed by "(see above)". What nobody writes or nobody reads is named at the end.
    """
    chain = [part for part in components if part.kind != "tap"]
    lines: list[str] = []
    drawn: set[int] = set()
    for part in chain:
        if id(part) not in drawn:
            lines += _branch(part, chain, drawn, "", "")
    taps = [part for part in components if part.kind == "tap"]
    if taps:
        lines += ["", "taps (see packets, publish none)"]
        lines += [
            f"{'└─' if tap is taps[-1] else '├─'} {tap.name}: {', '.join(tap.reads) or 'nothing'}" for tap in taps
        ]
    loose = list(_loose(components))
    return "\n".join([*lines, *([""] if loose else []), *loose])


def _branch(part: Part, chain: Sequence[Part], drawn: set[int], here: str, below: str) -> Iterator[str]:
    if id(part) in drawn:
        yield f"{here}{part.name} (see above)"
        return
    drawn.add(id(part))
    yield f"{here}{part.name} ({part.kind})" if part.name != part.kind else f"{here}{part.name}"
    for topic in part.writes:
        last = topic == part.writes[-1]
        yield f"{below}{'└─' if last else '├─'} {topic}{_queue(topic)}"
        stem = below + ("   " if last else "│  ")
        readers = [reader for reader in chain if topic in reader.reads and reader is not part]
        for reader in readers:
            end = reader is readers[-1]
            yield from _branch(reader, chain, drawn, stem + ("└> " if end else "├> "), stem + ("   " if end else "│  "))


def _queue(name: str) -> str:
    queue = BY_NAME[name].queue if name in BY_NAME else None
    return "" if queue is None or isinstance(queue, Keep) else f" (newest {queue.depth} only)"


def _loose(components: Sequence[Part]) -> Iterator[str]:
    written = {topic for part in components for topic in part.writes}
    read = {topic for part in components for topic in part.reads}
    for part in components:
        for topic in part.reads:
            if topic not in written:
                yield f"note: {part.name} reads {topic}, which nobody writes"
    if written - read:
        yield f"note: no part here reads {', '.join(sorted(written - read))}"


def dot(components: Sequence[Part]) -> str:
    """Graphviz: `visavis graph --format dot | dot -Tsvg > graph.svg`. Topics are ovals, taps hang by dashed lines."""
    lines = ["digraph visavis {", "  rankdir=LR;", '  node [fontname="sans-serif"];']
    lines += [f"  {_quoted(f'topic {name}')} [label={_quoted(name)} shape=oval];" for name in _names(components)]
    for number, part in enumerate(components):
        lines.append(f"  p{number} [label={_quoted(part.name)} shape={_SHAPES[part.kind]}];")
        dashed = " [style=dashed]" if part.kind == "tap" else ""
        lines += [f"  {_quoted(f'topic {topic}')} -> p{number}{dashed};" for topic in part.reads]
        lines += [f"  p{number} -> {_quoted(f'topic {topic}')};" for topic in part.writes]
    return "\n".join([*lines, "}"])


def mermaid(components: Sequence[Part]) -> str:
    """Mermaid, for Markdown pages."""
    lines = ["flowchart LR"]
    lines += [f"  t_{name}([{name}])" for name in _names(components)]
    for number, part in enumerate(components):
        label = part.name.replace('"', "#quot;")
        lines.append(f'  p{number}["{label}"]')
        arrow = "-.->" if part.kind == "tap" else "-->"
        lines += [f"  t_{topic} {arrow} p{number}" for topic in part.reads]
        lines += [f"  p{number} --> t_{topic}" for topic in part.writes]
    return "\n".join(lines)


def _part(
    component: Any, kind: Kind, reads: tuple[Topic[Any], ...], writes: tuple[Topic[Any], ...], name: str = ""
) -> Part:
    return Part(
        name=getattr(component, "name", "") or name or type(component).__name__,
        kind=kind,
        reads=tuple(topic.name for topic in getattr(component, "reads", reads)) if kind != "source" else (),
        writes=tuple(topic.name for topic in getattr(component, "writes", writes)) if kind != "tap" else (),
    )


def _names(components: Iterable[Part]) -> list[str]:
    """Every topic, in the order in which the data meets it."""
    return list(dict.fromkeys(topic for part in components for topic in (*part.reads, *part.writes)))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
