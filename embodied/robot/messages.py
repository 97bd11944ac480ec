"""What is said to a robot. Unknown fields are refused: a limit that is misspelt must not be a limit that is ignored."""

from typing import Annotated

from msgspec import Meta, Struct, field

from embodied.robot.vocabulary import Args, Id, LeaseOp, Name, Natural, Presence, Rank, Source, Text, Token

Milliseconds = Annotated[int, Meta(ge=1, le=600_000)]
Version = Annotated[int, Meta(ge=1, le=1)]
Mac = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Feature = Annotated[str, Meta(min_length=1, max_length=64)]


class Fresh(Struct, frozen=True, forbid_unknown_fields=True):
    """The newest heartbeat of the robot that the sender has heard: proof that the message is young."""

    boot: Id
    beat: Natural


class Origin(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a wish came from: `source` decides rights, the rest is for the log. Without an origin it counts as text."""

    source: Source
    turn: Annotated[str, Meta(max_length=64)] = ""
    tool_call: Annotated[str, Meta(max_length=64)] = ""


class Command(Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}, omit_defaults=True):
    """The envelope on `command/{name}`: a goal, or something done at once.

    v: of the envelope;  id: never used twice;  sender (on the wire "from"): the agent;  seq: for the log
    ttl_ms: after this long on the robot a command that waits in a queue is no more wanted
    timeout_s: after this long the goal has failed;  fresh: needed by all that can move something
    lease: as granted;  reply_to: the sender's own reply topic;  ts: wall clock, for logs, never for decisions
    confirm: token of consent, see `consent.py`;  mac: see `seal.py`
    """

    v: Version
    id: Id
    name: Name
    sender: Id
    args: Args = field(default_factory=dict)
    seq: Natural = 0
    ttl_ms: Milliseconds | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    fresh: Fresh | None = None
    lease: Token | None = None
    reply_to: Annotated[str, Meta(max_length=300)] | None = None
    ts: Annotated[str, Meta(max_length=40)] | None = None
    origin: Origin | None = None
    confirm: Token | None = None
    mac: Mac | None = None


class Setpoint(Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}, omit_defaults=True):
    """The envelope on `stream/{name}`: where to be or how fast to go now, until `ttl_ms` after it arrived.

    seq: strictly increasing for each lease and name;  the rest as in `Command`. Of a chunk, `args` is a `Chunk`.
    """

    v: Version
    name: Name
    sender: Id
    seq: Natural
    fresh: Fresh
    lease: Token
    args: Args = field(default_factory=dict)
    id: Annotated[str, Meta(max_length=64)] = ""
    ttl_ms: Milliseconds | None = None
    ts: Annotated[str, Meta(max_length=40)] | None = None
    origin: Origin | None = None
    mac: Mac | None = None


class Chunk(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Some steps of a policy, in the `args` of a `Setpoint`.

    t0_beat: step 0 belongs to the instant at which the robot sent this beat;  step0: step of the first row
    dt_ms: between rows;  names: of the columns, in the capability's order;  actions: rows;  horizon_valid: how many of
    them are meant;  supersedes: the chunk that it takes over from, for the log
    """

    chunk_id: Id
    t0_beat: Natural
    step0: Natural
    dt_ms: Annotated[float, Meta(ge=1, le=1000)]
    names: Annotated[tuple[Feature, ...], Meta(min_length=1, max_length=64)]
    actions: Annotated[
        tuple[Annotated[tuple[float, ...], Meta(max_length=64)], ...], Meta(min_length=1, max_length=512)
    ]
    horizon_valid: Annotated[int, Meta(ge=1, le=512)] | None = None
    supersedes: Id | None = None


class CancelArgs(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`args` of "cancel". target: a command's id, or "*" for all;  resource: only what uses it"""

    target: Annotated[str, Meta(pattern=r"^(\*|[A-Za-z0-9_.:-]{1,64})$(?!\n)")]
    resource: Name | None = None


class IdArgs(Struct, frozen=True, forbid_unknown_fields=True):
    """`args` of "query", "pause" and "resume". id: of the command meant"""

    id: Id


class LeaseSet(Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}, omit_defaults=True):
    """On `lease/set`. rank: asked for with "acquire";  lease: the one to renew or release; `fresh` as in `Command`."""

    v: Version
    id: Id
    sender: Id
    op: LeaseOp
    rank: Rank = "model"
    lease: Token | None = None
    fresh: Fresh | None = None
    ts: Annotated[str, Meta(max_length=40)] | None = None
    mac: Mac | None = None


class EstopSet(Struct, frozen=True, forbid_unknown_fields=True):
    """On `estop/set`; whatever else comes there stops just the same."""

    by: Text = ""
    reason: Text = ""


class EstopReset(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """On `estop/reset`. token: of this very stop, from `safety`;  proof: see `estop.py`, if the robot knows a key"""

    token: Token
    by: Text = ""
    proof: Mac | None = None


class AgentConnection(Struct, frozen=True, omit_defaults=True):
    """On `{A}/connection`, retained, also as will. session: of the agent's process, new at each start"""

    state: Presence
    session: Id
    ts: Annotated[str, Meta(max_length=40)] | None = None


class AgentHeartbeat(Struct, frozen=True, omit_defaults=True):
    """On `{A}/heartbeat`, five a second. beat: strictly increasing in a session;  heard: newest beat of each robot."""

    session: Id
    beat: Natural
    mono_ms: Natural = 0
    heard: dict[Annotated[str, Meta(max_length=64)], Fresh] = field(default_factory=dict)


class Salvage(Struct, frozen=True, rename={"sender": "from"}):
    """What can be said of a message that is no `Command`: enough to answer its sender that it was refused."""

    id: Id
    sender: Id
    name: Annotated[str, Meta(max_length=64)] = ""
