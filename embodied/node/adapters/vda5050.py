"""An AGV that speaks VDA 5050 2.x, behind our guards. Source: VDA 5050 2.1, www.vda.de; docs/adapters.md.

What such an AGV lacks is added here. It knows no time-to-live and drives on to the end of its base when everybody is
gone: so the base is at most `base_m` long. It does not watch us: so what the guards end is cancelled *and* paused
until it says that it rests. It says little while nothing happens: so it is asked (`stateRequest`) when it is silent,
and counts as lost when it does not answer.
"""

import msgspec

from embodied.link.port import Dial
from embodied.node.adapters import mapping as m
from embodied.node.adapters.foreign import Foreign, NobodyThere, dial_to
from embodied.node.adapters.vda_agv import Agv, inlets_under
from embodied.node.adapters.vda_driver import AgvDriver, VdaOptions
from embodied.node.driver import Driver
from embodied.node.profile import Profile, options_of
from embodied.robot.factsheet import Factsheet
from streams.clock import Clock


async def connect(profile: Profile, robot: str, clock: Clock) -> tuple[Factsheet, Driver]:
    """Connect to the AGV's broker and wait until it has said something. To be closed by the task that connects.

    Raises `MappingInvalid` for a profile that cannot work, `LinkError` for a broker that cannot be used, and
    `NobodyThere` if the AGV said nothing within `wait_s`.
    """
    options = options_of(profile, VdaOptions)
    return await attach(profile, robot, clock, dial_to(options, f"visavis-{robot}-agv"))


async def attach(profile: Profile, robot: str, clock: Clock, dial: Dial) -> tuple[Factsheet, Driver]:
    """`connect`, over a connection of the caller's choice."""
    options = options_of(profile, VdaOptions)
    root = f"{options.interface}/{options.major}/{options.manufacturer}/{options.serial}"
    m.check_topic(root, profile.name)
    options = msgspec.structs.replace(options, inlets=inlets_under(root, options.inlets))
    m.lint(options, profile.factsheet.capabilities, profile.name)
    agv = Agv(
        clock, root, options.manufacturer, options.serial, version=options.version, actions_key=options.actions_key,
        inlets=options.inlets,
    )  # fmt: skip
    driver = AgvDriver(agv, options, profile.factsheet, clock)
    agv.foreign = foreign = Foreign(
        dial, clock, agv.hear, topics=[(f"{root}/state", 0), (f"{root}/visualization", 0)],
        recalled=[(f"{root}/connection", 1), (f"{root}/factsheet", 1)], changed=driver.changed, name=f"{robot} agv",
    )  # fmt: skip
    await foreign.open()
    try:
        if not await foreign.until(lambda: bool(agv.state), options.wait_s):
            raise NobodyThere(
                f"robot {robot}: the AGV cannot be used: {foreign.why(f'{root}/state')}. Check broker, interface, "
                "manufacturer and serial of the profile."
            )
        if not agv.factsheet:
            agv.ask("factsheetRequest")
            await foreign.until(lambda: bool(agv.factsheet), 1.0)
        return driver.announce(), driver
    except BaseException:
        await driver.close()
        raise
