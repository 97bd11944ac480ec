"""The payloads: everything that may cross a package border, as closed unions of frozen structs.

Times inside payloads are integer nanoseconds of session time and say so in their name (`_ns`).
Probabilities and confidences are in [0, 1]. Text is UTF-8, lower case where a recogniser wrote it.

A payload's type name is its wire name: `visavis events` prints it as `type`, and recordings carry it as the
tag of the JSON object. Adding a type to a union is a minor change; renaming a field is a major one.
"""

from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from msgspec import Meta, Struct, field
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.int16]
Probability: TypeAlias = Annotated[float, Meta(ge=0, le=1)]  # of settings; checked where they are read


# --- media ---------------------------------------------------------------------------------------------------


class Audio(Struct, frozen=True, eq=False):
    """A block of sound. The packet's `t` is the session time of the *end* of its last sample.

    samples: int16[samples] (mono)
    rate: Hertz
    start: index of the first sample since the stream began; the sample clock never slips, so a lost block shows as
        a jump of `start`.
    """

    samples: Samples
    rate: int
    start: int

    @property
    def end(self) -> int:
        """Index of the sample after the last one."""
        return self.start + len(self.samples)


class Image(Struct, frozen=True, eq=False):
    """A picture as the encoders saw it: compressed once, at capture, so that a replay sees the same pixels.

    data: JPEG or PNG bytes;  format: "jpeg" | "png";  width, height: pixels
    """

    data: bytes
    format: str
    width: int
    height: int


# --- percepts: what the encoders make of media ---------------------------------------------------------------


class Voice(Struct, frozen=True, tag=True):
    """Voice activity of one hop of audio, ending at the packet's `t`. It paces every encoder that follows the voice.

    speaking: the detector's own decision, with hysteresis (a segment is open)
    level_db: loudness of the hop, root mean square in dB of full scale
    """

    probability: float
    speaking: bool
    level_db: float = -120.0


class SpeechStarted(Struct, frozen=True, tag=True):
    """Somebody began to speak at the packet's `t`; it was decided (and published) a little later.

    segment: running number of the stretch of speech;  decided_ns: session time of the hop that decided it
    """

    segment: int
    decided_ns: int


class SpeechEnded(Struct, frozen=True, tag=True):
    """The stretch of speech `segment` ended at the packet's `t` (its last voiced hop)."""

    segment: int
    decided_ns: int


class Word(Struct, frozen=True):
    """One word and where it lies in the audio."""

    text: str
    start_ns: int
    end_ns: int
    confidence: float = 1.0


class Words(Struct, frozen=True, tag=True):
    """What was said in (a part of) one stretch of speech. The packet's `t` is the audio time it accounts for.

    text: "" when nothing was recognised or the recogniser rejects the speech as outside its grammar
    final: no further `Words` of this segment will come
    complete: the text is a whole sentence of the grammar (always False for open dictation)
    confidence: calibrated so that a policy may compare it with its own bars
    guess: the nearest sentence when the speech was rejected, for display and logs only: never to be acted on
    """

    segment: int
    text: str
    words: tuple[Word, ...]
    final: bool
    confidence: float = 1.0
    complete: bool = False
    guess: str = ""


class TurnEnd(Struct, frozen=True, tag=True):
    """Probability that the speaker has finished, judged from the sound up to the packet's `t`.

    silence_ns: how long the speaker had been silent then;  model: which model said so
    """

    segment: int
    probability: float
    silence_ns: int
    model: str


class Echo(Struct, frozen=True, tag=True):
    """How much of what the microphone hears is the agent's own voice; some ten a second while that sounds.

    similarity: in [0, 1]: how much of what the canceller left (up to the packet's `t`) is explained by what is played
    erle_db: what the canceller takes away of the echo, dB;  delay_ms: from the speaker's report to the microphone
    """

    similarity: float
    erle_db: float = 0.0
    delay_ms: float = 0.0


class Face(Struct, frozen=True):
    """One face in a picture. Lengths are fractions of its width (x, to the right) and height (y, downward).

    id: the same as long as the face is followed;  confidence: of the detector
    left, top, width, height: its box
    landmarks: (x, y) of right eye, left eye, tip of the nose, right and left corner of the mouth (the person's own
        right and left)
    bearing_rad: where it is, from the axis of the camera, positive to the camera's left (REP 103)
    elevation_rad: the same upward
    """

    id: int
    confidence: float
    left: float
    top: float
    width: float
    height: float
    landmarks: tuple[tuple[float, float], ...]
    bearing_rad: float
    elevation_rad: float = 0.0


class Faces(Struct, frozen=True, tag=True):
    """All faces in one picture; none is news too. The packet's `t` is that of the picture.

    image: `seq` of the picture's packet, so that a replay looks at the same pictures;  faces: from left to right
    """

    image: int
    faces: tuple[Face, ...]


class Typed(Struct, frozen=True, tag=True):
    """Somebody wrote `text` to the agent: a whole turn, at the packet's `t`."""

    text: str


class StopPressed(Struct, frozen=True, tag=True):
    """Somebody pressed stop: as good as the spoken word, and as fast.

    by: where, such as "console";  latch: robots stay stopped until an operator resets them
    """

    by: str
    latch: bool = False


class Steered(Struct, frozen=True, tag=True):
    """Somebody steers a robot by hand, with keys or a stick, at the packet's `t`; told again and again while it lasts.

    vx, vy: m/s forward and to the left;  wz: rad/s anticlockwise;  all zero: they let go
    by: where, such as "console";  robot: which one, "" = the first
    """

    vx: float = 0.0
    vy: float = 0.0
    wz: float = 0.0
    by: str = ""
    robot: str = ""


Names: TypeAlias = tuple[Annotated[str, Meta(min_length=1, max_length=80)], ...]


class Manner(Struct, frozen=True, forbid_unknown_fields=True):
    """How the agent behaves: all of it may be changed while a session runs (`Adjusted`).

    persona: who it is, for a language model;  language: in which it answers ("" = that of the configuration)
    verbosity: "brief" is a sentence or two
    patience: factor of the waits before it takes a turn: below 1 it is quick, above it lets people think
    interruptible: "always", or "stop": only stop words, the stop button and what is typed end what it says
    proactivity: what it says unasked: "none", "news" (what became of timers, motions and devices), or "greets" as well
    backchannels: "mm-hm" in a pause of somebody who goes on;  fillers: "one moment" when an answer is slow to come
    pictures: when a language model sees the newest picture: "never", when it asks to "look", or "always"
    forbidden_topics: what it does not talk about;  forbidden_tools: names of tools and motions it may not use
    """

    persona: Annotated[str, Meta(max_length=8000)] = ""
    language: Annotated[str, Meta(max_length=40)] = ""
    verbosity: Literal["brief", "normal", "full"] = "normal"
    patience: Annotated[float, Meta(ge=0.5, le=4)] = 1.0
    interruptible: Literal["always", "stop"] = "always"
    proactivity: Literal["none", "news", "greets"] = "news"
    backchannels: bool = False
    fillers: bool = False
    pictures: Literal["never", "look", "always"] = "look"
    forbidden_topics: Names = ()
    forbidden_tools: Names = ()


class Adjusted(Struct, frozen=True, tag=True):
    """Somebody changed how the agent behaves, from the packet's `t` on.

    manner: all of it, as it is now;  by: where, such as "console"
    """

    manner: Manner
    by: str = ""


Percept: TypeAlias = (
    SpeechStarted | SpeechEnded | Words | TurnEnd | Echo | Faces | Typed | StopPressed | Steered | Adjusted
)


# --- decisions: what the turn-taker concluded, with its evidence ---------------------------------------------


class TurnOpened(Struct, frozen=True, tag=True):
    """A person began turn `turn` at `start_ns`."""

    turn: int
    start_ns: int


class TurnWaiting(Struct, frozen=True, tag=True):
    """The person is silent; unless new evidence comes, the turn is committed at `until_ns`.

    probability: fused probability that the turn is over;  wait_ns: silence asked for, from the end of speech
    evidence: the parts it was fused from, by name
    """

    turn: int
    probability: float
    wait_ns: int
    until_ns: int
    evidence: dict[str, float | str]


class TurnCommitted(Struct, frozen=True, tag=True):
    """The person's turn is over and is given to the policy: exactly once per turn.

    text, words, confidence: all final words of the turn;  start_ns, end_ns: span of the speech
    reason: "silence" | "max_wait" | "no_final" | "end_of_stream" | "typed" | "unasked" (the agent takes the floor by
        itself)
    evidence: as in TurnWaiting
    """

    turn: int
    text: str
    words: tuple[Word, ...]
    confidence: float
    start_ns: int
    end_ns: int
    reason: str
    complete: bool = False
    guess: str = ""
    evidence: dict[str, float | str] = field(default_factory=dict)


class TurnDropped(Struct, frozen=True, tag=True):
    """Turn `turn` came to nothing and gets no answer.

    reason: "no_words" (noise) | "backchannel" | "echo" (it was the agent's own voice) | "aside" (said to somebody
        else) | "typed" (it went on and on, and somebody typed) | "stop" (the reflex answered it already)
        | "over" (it was said over an agent that only a stop word interrupts)
    """

    turn: int
    reason: str
    text: str = ""


class OverlapPaused(Struct, frozen=True, tag=True):
    """Somebody speaks while the agent is audible: the agent pauses at once, then decides. `turn` is the agent's."""

    turn: int
    by_turn: int


class OverlapResumed(Struct, frozen=True, tag=True):
    """The overlap was not for us: the agent goes on from the same sample.

    reason: "backchannel" | "noise" | "echo" | "aside" | "timeout"
    evidence: what it was decided from, by name
    """

    turn: int
    by_turn: int
    reason: str
    text: str = ""
    evidence: dict[str, float | str] = field(default_factory=dict)


class OverlapCut(Struct, frozen=True, tag=True):
    """The overlap was an interruption: turn `turn` of the agent ends here.

    reason: "interruption" | "stop" | "new_turn" | "typed"
    evidence: what it was decided from, by name
    """

    turn: int
    by_turn: int
    reason: str
    text: str = ""
    evidence: dict[str, float | str] = field(default_factory=dict)


class SensesEnded(Struct, frozen=True, tag=True):
    """Every source and encoder has ended: nothing more will be perceived, and what is open is decided now."""


Decision: TypeAlias = (
    TurnOpened | TurnWaiting | TurnCommitted | TurnDropped | OverlapPaused | OverlapResumed | OverlapCut | SensesEnded
)


# --- actions: what the policy wants done ---------------------------------------------------------------------
# A policy leaves `turn` and `id` at 0; the conductor stamps them (turn of the reply, running number per session).

OnCut: TypeAlias = Literal["finish", "cancel"]
Tone: TypeAlias = Literal["", "calm", "warm", "cheerful", "serious", "soft"]


class Say(Struct, frozen=True, tag=True):
    """Speak `text`. Several in one turn are spoken one after the other.

    pace: factor of the usual speed;  tone: how it is to sound, for voices that can
    backchannel: "mm-hm": it is no turn, nobody need wait for it, and to speak over it is no interruption
    source: sound that is there already, by the name under which a model that speaks gives it; `text` may then be ""
    """

    text: str
    turn: int = 0
    id: int = 0
    pace: Annotated[float, Meta(ge=0.5, le=2)] = 1.0
    tone: Tone = ""
    backchannel: bool = False
    source: str = ""


class Pause(Struct, frozen=True, tag=True):
    """Fall silent within one block and keep the place (speech of turns up to `turn`)."""

    turn: int


class Resume(Struct, frozen=True, tag=True):
    """Go on from the very sample at which `Pause` stopped."""

    turn: int


class Hush(Struct, frozen=True, tag=True):
    """Cut: nothing of any turn up to and including `turn` may be heard or, if it declared so, move anything again.

    moving: what moves already goes on for now, for it is about to be sent another way; another `Hush` follows in 1.3 s
    """

    turn: int
    reason: str = ""
    moving: bool = False


class Call(Struct, frozen=True, tag=True):
    """Call the tool `name` of the toolbox with keyword `arguments` (JSON values)."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    on_cut: OnCut = "finish"
    turn: int = 0
    id: int = 0


class Command(Struct, frozen=True, tag=True):
    """Ask the body for a motion. The body decides whether it obeys, and reports what it did.

    arguments: SI units and radians, named with their unit, such as {"distance_m": 1.0}
    origin: where the wish came from: rights depend on it;  confidence: of the words it was understood from
    confirmed: a person was asked about this very motion with these arguments, and said yes
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    origin: Literal["speech", "text", "policy", "operator", "vision"] = "speech"
    confidence: float = 1.0
    on_cut: OnCut = "cancel"
    turn: int = 0
    id: int = 0
    confirmed: bool = False


class Halt(Struct, frozen=True, tag=True):
    """Stop every motion now. Never waits for a model.

    reason: in a word;  latch: robots stay stopped until an operator resets them
    """

    reason: str
    turn: int = 0
    latch: bool = False


class Steer(Struct, frozen=True, tag=True):
    """Drive the base of a robot by hand, for a fraction of a second. There is no `Outcome`.

    vx, vy: m/s forward and to the left;  wz: rad/s anticlockwise;  robot: which one, "" = the first
    """

    vx: float = 0.0
    vy: float = 0.0
    wz: float = 0.0
    robot: str = ""


class Ask(Struct, frozen=True, tag=True):
    """Ask a model for an answer, which comes as `Delta`s and ends with an `Outcome`.

    request: {"messages": [...], "tools": [...], ...}, JSON as in OpenAI's chat completions, without model and keys;
        all that the answer depends on: two requests that are equal are the same question
    picture_ns: attach the newest picture, if it is not older than this, to the last message; 0: none
    purpose: "draft" is asked before the person's turn is over, and may be for nothing
    """

    request: dict[str, Any]
    picture_ns: int = 0
    purpose: Literal["reply", "draft", "summary"] = "reply"
    on_cut: OnCut = "cancel"
    turn: int = 0
    id: int = 0


class Withdraw(Struct, frozen=True, tag=True):
    """Take back action number `id` if it is still under way: it ends as "cut"."""

    id: int
    reason: str = ""
    turn: int = 0


class Declined(Struct, frozen=True, tag=True):
    """Something that a model wished for and the policy does not do: told so that it can be seen, and nothing more.

    name: of the tool or motion, as the model wrote it;  arguments: the JSON text that it wrote;  reason: in words
    """

    name: str
    arguments: str
    reason: str
    turn: int = 0


Action: TypeAlias = Say | Pause | Resume | Hush | Call | Command | Halt | Steer | Ask | Withdraw | Declined


# --- feedback: what the body really did ----------------------------------------------------------------------


class PlayStarted(Struct, frozen=True, tag=True):
    """The first sample of `Say` number `id` left the speaker at the packet's `t`."""

    turn: int
    id: int


class Played(Struct, frozen=True, tag=True):
    """One word was heard, whole: its last sample left the speaker at `end_ns`.

    index: place of the word in its `Say`;  quality: "exact" (the voice gave word times) | "estimated"
    """

    turn: int
    id: int
    index: int
    text: str
    start_ns: int
    end_ns: int
    quality: Literal["exact", "estimated"] = "exact"


class Outcome(Struct, frozen=True, tag=True):
    """How an action ended. Exactly one per Say, Call, Command and Ask.

    action: "Say" | "Call" | "Command" | "Ask";  name: tool or command name, the model of an Ask, "" for Say
    status: "done" | "cut" (ended early by a cut) | "fenced" (never began: its turn was cut) | "refused" | "failed" |
        "timeout"
    detail: reason in words
    result: JSON value: what a tool returned; of a Say the text that was really heard; of an Ask that began an
        `Answered` as builtins, also where it failed
    """

    turn: int
    id: int
    action: str
    name: str
    status: Literal["done", "cut", "fenced", "refused", "failed", "timeout"]
    detail: str = ""
    result: Any = None


class ToolPiece(Struct, frozen=True):
    """A piece of a call that a model makes.

    index: of the call in its answer: pieces of one belong together, and their `arguments` are joined
    call: the model's own name of the call;  name: of the tool;  arguments: a piece of JSON text
    """

    index: int
    call: str = ""
    name: str = ""
    arguments: str = ""


class Delta(Struct, frozen=True, tag=True):
    """A piece of the answer to `Ask` number `id`, at the packet's `t` when it arrived.

    index: running number of the piece;  text: to be joined;  tools: pieces of the calls that the model makes
    thought: what a model that reasons aloud thinks: never said, never acted on
    sound: a model that speaks begins to: the name of what it says (`Say.source`); its words come as text
    """

    turn: int
    id: int
    index: int
    text: str = ""
    tools: tuple[ToolPiece, ...] = ()
    thought: str = ""
    sound: str = ""


class Answered(Struct, frozen=True):
    """What an `Ask` came to: the `result` of its `Outcome`, as builtins.

    finish: "stop" | "length" | "tool_calls" | "content_filter" | "" (it did not come to its end)
    model: that answered
    input_tokens, cached_tokens, output_tokens: as the server counts (the cached are among the input), None if it does
        not
    first_ms: until the first piece, None if there was none;  whole_ms: until the end;  attempts: how often it was asked
    error: "" | "connect" | "first_token" | "between_tokens" | "closed" | "malformed" | "rate_limit" | "server" |
        "refused" (the request is wrong, or the key) | "too_long" | "unknown"
    retry_after_ms: as the server wished
    image: `seq` of the picture it was shown, None if it saw none
    """

    finish: str = ""
    model: str = ""
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    first_ms: float | None = None
    whole_ms: float | None = None
    attempts: int = 1
    error: str = ""
    retry_after_ms: float | None = None
    image: int | None = None


class Offer(Struct, frozen=True):
    """Something that a policy may ask for: a tool (`Call`) or a motion (`Command`).

    description: what it does, for a model;  parameters: JSON Schema of an object;  kind: which action it is
    risky: a person must have agreed before it is done: asked for it, or said yes
    consent: a person must have said yes to it, each time, however plainly it was asked for
    on_cut: what an interruption does to it
    """

    name: str
    description: str
    parameters: dict[str, Any]
    kind: Literal["call", "command"] = "call"
    risky: bool = False
    on_cut: OnCut = "finish"
    consent: bool = False


class Offered(Struct, frozen=True, tag=True):
    """What `where` can do now: all of it. Told at the beginning, and whenever it changes.

    where: component, such as "toolbox" or "base";  offers: in a fixed order
    """

    where: str
    offers: tuple[Offer, ...]


class Attached(Struct, frozen=True, tag=True):
    """A robot was found, or has told of itself anew.

    where: the robot's id;  kind: such as "diff_drive";  model: in words
    radius_m: of the smallest circle round its base;  fence: where it may be, (x, y) in m;  keep_out: where it may not
    speeds: highest, m/s and rad/s, 0 for one that does not drive
    """

    where: str
    kind: str = ""
    model: str = ""
    radius_m: float = 0.0
    fence: tuple[tuple[float, float], ...] = ()
    keep_out: tuple[tuple[tuple[float, float], ...], ...] = ()
    speeds: tuple[float, float] = (0.0, 0.0)


class BodyState(Struct, frozen=True, tag=True):
    """How a robot stands, as it says: at every change, five times a second at most.

    where: the robot's id
    link: "heard" | "suspended" (not heard for half a second) | "unknown" (nor for two: nor is what became of its goals)
    mode: "automatic" | "manual" | ...;  estop: "none" | "latched";  guards: what holds it back now
    holder, rank: who may move it, "" = nobody;  pose: x, y (m), heading (rad), None if not known
    speed: m/s forward, rad/s anticlockwise;  battery: 0 to 1;  errors: of its hardware, in words
    """

    where: str
    link: Literal["heard", "suspended", "unknown"] = "heard"
    mode: str = ""
    estop: str = "none"
    guards: tuple[str, ...] = ()
    holder: str = ""
    rank: str = ""
    pose: tuple[float, float, float] | None = None
    speed: tuple[float, float] = (0.0, 0.0)
    battery: float | None = None
    errors: tuple[str, ...] = ()


class Progress(Struct, frozen=True, tag=True):
    """`Command` number `id` has come further at the robot.

    where: the robot's id;  state: "sent" | "accepted" | "running" | "paused" | "cancelling"; its end is an `Outcome`
    progress: 0 to 1;  detail: in words
    """

    turn: int
    id: int
    name: str
    where: str
    state: str
    progress: float | None = None
    detail: str = ""


class Controlled(Struct, frozen=True, tag=True):
    """One control step of a policy that drives a robot continuously, for `Command` number `id`.

    where: the robot's id;  skill: the policy's name;  task: what it was told to do, in words
    state: what it knew of the robot, by feature such as "j1.pos" (rad, m);  action: what it wanted, by feature
    chunk: running number of the chunk that the action is of, -1 while it starves
    dt_ms: between two steps of this policy, as it was made, 0 = not told; steps may come late, or be left out
    """

    where: str
    id: int
    skill: str
    task: str
    state: dict[str, float]
    action: dict[str, float]
    chunk: int = 0
    dt_ms: float = 0.0


class Tripped(Struct, frozen=True, tag=True):
    """A guard of a robot has acted.

    where: the robot's id;  guard: which one;  level: "info" | "warning" | "urgent" | "critical" | "fatal"
    reason: out of the contract's list;  detail: in words;  count: how many of the same
    """

    where: str
    guard: str
    level: str = "info"
    reason: str = ""
    detail: str = ""
    count: int = 1


class Fault(Struct, frozen=True, tag=True):
    """Something expected went wrong and the session goes on without it.

    where: component, such as "recorder" or "voice";  error: error class;  message: what and what to do
    """

    where: str
    error: str
    message: str


class Recovered(Struct, frozen=True, tag=True):
    """What a `Fault` told is over.

    where: component, as in the `Fault`;  message: in words
    """

    where: str
    message: str = ""


class Gauge(Struct, frozen=True, tag=True):
    """A figure of a device, told now and then.

    where: component, such as "microphone";  name: what is measured, with its unit, such as "drift_ppm"
    """

    where: str
    name: str
    value: float


Feedback: TypeAlias = (
    PlayStarted | Played | Outcome | Delta | Offered | Attached | BodyState | Progress | Controlled
    | Tripped | Fault | Recovered | Gauge
)  # fmt: skip

Payload: TypeAlias = Audio | Image | Voice | Percept | Decision | Action | Feedback
