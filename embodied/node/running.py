"""A robot's program put together: driver, keys and watchdog. What `visavis robot` needs, without a command line."""

import faulthandler
import importlib
import os
import sys
import tomllib
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field, structs

from embodied.errors import BodyError
from embodied.link.keys import KeysInvalid, key_of, read_secret
from embodied.node.complaints import named
from embodied.node.driver import Driver
from embodied.node.profile import DRIVERS, Profile
from embodied.robot.factsheet import Factsheet
from embodied.robot.settings import GuardSettings
from embodied.robot.vocabulary import Id
from streams.clock import SECOND, Clock
from streams.errors import VisavisError

OPERATOR_KEY, CONSENT_KEY = "VISAVIS_ROBOT_OPERATOR_KEY", "VISAVIS_ROBOT_CONSENT_KEY"
"""Environment variables with keys, in hexadecimal."""


class DriverMissing(BodyError):
    """There is no such driver, or it cannot be made."""


async def connect(profile: Profile, robot: str, clock: Clock, driver: str = "") -> tuple[Factsheet, Driver]:
    """The driver of `profile`, or the one called "module:Class", which is given the profile; and its factsheet.

    Raises `DriverMissing`, and what the driver's own making raises of `VisavisError`.
    """
    name = driver or profile.driver
    if name in DRIVERS:
        module = _module(DRIVERS[name], name)
        factsheet, made = await module.connect(profile, robot, clock)
    else:
        factsheet, made = profile.factsheet, _own(name, profile)
    if not isinstance(made, Driver):
        wanted = ("sense", "actuate", "perform", "brake", "close")
        lacks = ", ".join(each for each in wanted if not hasattr(made, each))
        raise DriverMissing(f"{name} is no driver: it lacks {lacks} (docs/robots.md has an example).")
    return factsheet, made


def _own(name: str, profile: Profile) -> Any:
    module_name, _, class_name = name.partition(":")
    if not module_name or not class_name:
        raise DriverMissing(f"{name!r} is no driver: use {', '.join(DRIVERS)}, or module:Class of your own.")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a driver usually lies where it is started
    kind = getattr(_module(module_name, name), class_name, None)
    if not callable(kind):
        raise DriverMissing(f"{name}: the module {module_name} has nothing called {class_name}.")
    try:
        return kind(profile)
    except TypeError as error:
        raise DriverMissing(f"{name} cannot be made: it is called with the profile ({error}).") from error
    except VisavisError:
        raise
    except Exception as error:
        raise DriverMissing(f"{name} cannot be made: {named(error)}{_at(error)}.") from error


def _module(path: str, name: str) -> Any:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name and (path == error.name or path.startswith(error.name + ".")):
            raise DriverMissing(f"{name}: there is no module {path} here.") from error
        raise DriverMissing(f"{name}: the module {path} needs {error.name}, which is not installed.") from error
    except VisavisError:
        raise
    except Exception as error:
        raise DriverMissing(f"{name}: the module {path} cannot be loaded: {named(error)}{_at(error)}.") from error


def _at(error: Exception) -> str:
    """Where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


class _Keys(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of keys, all in hexadecimal. agents: of each agent's seal"""

    operator: str = ""
    consent: str = ""
    agents: dict[Id, str] = field(default_factory=dict)


def with_keys(
    settings: GuardSettings, path: Path | None = None, environment: Mapping[str, str] | None = None
) -> GuardSettings:
    """`settings` with the keys of a TOML file and of the environment, which goes before it.

        operator = "8f0c..."        # resets of the stop must prove it
        consent = "77aa..."         # a person's yes must be made with it
        [agents]
        agent1 = "03b1..."          # every message of agent1 must bear its seal

    Raises `KeysInvalid`: also for a file that others may read.
    """
    given = os.environ if environment is None else environment
    keys = _read(path) if path is not None else _Keys()
    operator = given.get(OPERATOR_KEY) or keys.operator
    consent = given.get(CONSENT_KEY) or keys.consent
    agents = {name: key_of(text, f"the key of {name}") for name, text in keys.agents.items()}
    return structs.replace(
        settings, keys=agents or settings.keys,
        operator_key=key_of(operator, "the operator's key") if operator else settings.operator_key,
        consent_key=key_of(consent, "the key for consent") if consent else settings.consent_key,
    )  # fmt: skip


def _read(path: Path) -> _Keys:
    try:
        return msgspec.convert(tomllib.loads(read_secret(path, "the file of keys")), _Keys)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise KeysInvalid(f"{path}: {error}.") from error


class Watchdog:
    """Ends this process when the control loop hangs for `seconds`, with the stacks of all threads on stderr.

    That stops no motor: the motors' own time-out does (200 ms, as the driver's contract demands). It gives back the
    devices, lets the broker tell that the robot is lost, and lets whoever started the program start it again. It is a
    timer of the interpreter in C, which runs out even while Python code holds the interpreter's lock.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds, self._clock, self._fed = seconds, clock, -SECOND

    def feed(self) -> None:
        """The loop has come round."""
        now = self._clock.now()
        if now - self._fed >= min(SECOND // 5, round(self._seconds * SECOND / 4)):
            self._fed = now
            faulthandler.dump_traceback_later(self._seconds, exit=True)

    def close(self) -> None:
        """No more."""
        faulthandler.cancel_dump_traceback_later()
