"""The robots of section `robot` as actuators of a session: `body.motion = "mqtt"`."""

from collections.abc import Sequence
from typing import Any

from agent.config import Config
from agent.errors import ConfigError
from agent.robots.choosing import address
from agent.robots.policies import load, specs
from agent.robots.senses import Feed, Feeding
from agent.robots.skills import Skill
from embodied.link.keys import read_key
from embodied.link.mqtt import dial
from embodied.remote.agent_link import AgentLink
from embodied.remote.body import RobotBody
from embodied.remote.client import RobotClient
from embodied.remote.speaker import RobotSpeech
from policies.chunks.policy import ChunkPolicy
from streams.clock import Clock
from streams.ports import Publisher


def remote_bodies(
    config: Config,
    publisher: Publisher,
    clock: Clock,
    feeds: Sequence[Feed] = (),
    policies: Sequence[ChunkPolicy] | None = None,
) -> list[Any]:
    """An actuator for each robot, on one link, one for each skill of the first, and one for its loudspeaker if wanted.

    feeds: sources that hear and see by the first robot's telemetry
    policies: of the skills (default: they are loaded, which servers cannot be in here)
    Raises `ConfigError`, `LinkError` for an address that is none, `WordsInvalid`, and `PolicyError` for a skill.
    """
    settings = config.robot
    if not settings.url or not settings.ids:
        raise ConfigError('body.motion = "mqtt" needs robot.url and robot.ids; `visavis attach` finds the robots')
    link = AgentLink(
        settings, dial(address(settings), client_id=settings.agent), clock,
        seal_key=read_key(settings.seal_key, "robot.seal_key") if settings.seal_key else b"",
        consent_key=read_key(settings.consent_key, "robot.consent_key") if settings.consent_key else b"",
    )  # fmt: skip
    clients = [RobotClient(link, robot) for robot in settings.ids]
    bodies: list[Any] = [
        RobotBody(client, publisher, clock, offers_prefix="" if place == 0 else f"{client.robot}.")
        for place, client in enumerate(clients)
    ]
    if policies is None:
        specs(settings)
        policies = load(settings)
    skills: list[Any] = [Skill(policy, clients[0], publisher, clock) for policy in policies]
    if feeds:
        Feeding(clients[0], feeds)
    speech = [RobotSpeech(clients[0], publisher, clock)] if settings.speaker else []
    return [*speech, *skills, *bodies]
