"""What an agent has to know to attach to robots: section `robot` of the configuration."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from embodied.robot.vocabulary import Id, Rank


class RobotConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Which robots, behind which broker, and as whom.

    url: mqtt://[USER@]HOST[:1883] or mqtts://...[:8883]; "" for no broker
    ids: of the robots; what the first can do has its plain name, of the others "ID.name"
    fleet: the fleet they belong to;  agent: this agent's own id, which the broker may bind to its password
    rank: as which it asks for the lease
    protocol: of MQTT; "auto" tries 5, then 3.1.1
    ca, cert, key: PEM files: who is believed to be the broker, and the client's own certificate
    seal_key, consent_key: files with secrets that this agent shares with the robots: the first seals what is sent, with
        the second a robot sees that a yes was really given; "" = none
    words: a file with the words in which a model is told of what the robot can do; what is not in it keeps the words
        that come with visavis, or has none: those of the robot itself are shown to people only
    halt: what "stop" does: "stop" ends all motion and lets the robot be used again; "estop" stays until it is reset
    skills: folders of policies of action chunks: each is one more thing that the first robot can do; or addresses of
        servers that have one (wss://, or ws:// of this machine), or files (*.toml) that describe one on LeRobot's own
        server, if allow_remote_policy says that they are trusted
    camera, microphone, speaker: see, hear and speak through those of the first robot
    find_s: how long to look for a robot
    """

    url: str = ""
    ids: tuple[Id, ...] = ()
    fleet: Id = "home"
    agent: Id = "agent1"
    rank: Rank = "model"
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    ca: str = ""
    cert: str = ""
    key: str = ""
    seal_key: str = ""
    consent_key: str = ""
    words: str = ""
    halt: Literal["stop", "estop"] = "stop"
    skills: tuple[str, ...] = ()
    allow_remote_policy: bool = False
    camera: bool = False
    microphone: bool = False
    speaker: bool = False
    find_s: Annotated[float, Meta(gt=0, le=600)] = 10.0
