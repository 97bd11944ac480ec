"""Profiles are read strictly: what is misspelt, doubled or secret is refused, with its place and what may be meant."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodied.errors import BodyError
from embodied.link.keys import KeysInvalid
from embodied.node.profile import DRIVERS, Profile, ProfileInvalid, profile_of, read_yaml, shipped
from embodied.node.running import DriverMissing, connect, with_keys
from embodied.robot.settings import GuardSettings
from streams.clock import Clock, run

SMALL = """
driver: simulated
resources: [base]
limits: {v_max: 0.3}
capabilities:
  - {name: move, kind: goal, resources: [base], params: {type: object, properties: {distance_m: {type: number}}}}
words: {move: Drive.}
"""


def load(text: str, tmp_path: Path) -> Profile:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    return Profile.load(path)


@pytest.mark.parametrize("name", shipped())
def test_those_that_come_with_it_can_be_read(name: str) -> None:
    profile = Profile.load(name)
    assert profile.driver in DRIVERS and profile.factsheet.boot == ""
    for each in profile.factsheet.capabilities:
        assert not each.tool.expose or each.name in profile.words, f"{each.name} has no words for a model"


def test_the_capabilities_have_the_names_that_policies_use() -> None:
    named = {each.name: each for each in Profile.load("diff-drive").factsheet.capabilities}
    assert set(named) == {"move", "turn", "come_back", "nav.goto", "base.velocity", "say", "lamp"}
    assert [named[name].risk for name in ("move", "turn", "come_back", "nav.goto", "say")] == [1, 1, 1, 2, 0]
    arm = {each.name: each for each in Profile.load("arm").factsheet.capabilities}
    assert arm["arm.chunk"].action_features == (*(f"j{n}.pos" for n in range(1, 6)), "gripper.pos")
    assert set(arm) == {"arm.move_j", "arm.home", "gripper", "arm.joints", "arm.chunk"}


def test_a_small_one_is_whole(tmp_path: Path) -> None:
    profile = load(SMALL, tmp_path)
    assert profile.factsheet.limits.v_max == 0.3 and profile.settings == GuardSettings()
    assert profile.factsheet.capabilities[0].tool.description == "Drive."


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("v_max: 0.3", "v_maxx: 0.3", r"limits\.v_maxx is no key there; perhaps 'v_max' is meant"),
        ("v_max: 0.3", "v_max: fast", r"limits\.v_max is wrong: expected `float`, got `str`"),
        ("v_max: 0.3", "v_max: .inf", r"limits\.v_max is inf"),
        ("v_max: 0.3", "v_max: -1", r"limits\.v_max is wrong"),
        ("kind: goal", "kind: gaol", r"capabilities\.0\.kind is wrong"),
        ("kind: goal", "kind: goal, resurces: [base]", r"capabilities\.move\.resurces .*'resources'"),
        ("[base]", "[wheels]", r"'move' uses base"),
        ("{type: number}", "{type: number, pattern: x}", r"pattern"),
        ("driver: simulated", "driver: simulatde", r"driver 'simulatde' is none"),
        ("driver: simulated", "driver: simulated\ndriver: mujoco", r"line 3: the key 'driver' comes twice"),
        ("words: {move: Drive.}", "words: {mvoe: Drive.}", r"words\.mvoe is of no capability; perhaps 'move'"),
        ("words:", "guards: {keys: {a: b}}\nwords:", r"guards\.keys is a secret"),
        ("words:", "guards: {operator_key: b}\nwords:", r"guards\.operator_key is a secret"),
        ("words:", "guards: {consent: never}\nwords:", r"guards\.consent is wrong"),
        ("words:", "wrods: {}\nwords:", r"wrods is no key there; perhaps 'words'"),
        ("driver: simulated", "driver: [", r"no YAML that can be read"),
        ("driver: simulated", "driver: !!python/object:os.system x", r"no YAML that can be read"),
        (SMALL, "[]", r"a profile is a mapping"),
        (SMALL, "", r"a profile is a mapping"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ProfileInvalid, match=told):
        load(SMALL.replace(old, new, 1), tmp_path)


def test_words_of_yaml_1_1_are_words() -> None:
    assert read_yaml("{consent: off, a: yes, b: 2026-01-01, c: true, d: no}", "x") == {
        "consent": "off", "a": "yes", "b": "2026-01-01", "c": True, "d": "no",
    }  # fmt: skip


def test_changes_go_through_mappings_and_through_lists_by_name() -> None:
    profile = Profile.load(
        "diff-drive", {"limits.v_max": 0.2, "capabilities.nav.goto.risk": 3, "guards.consent": "off"}
    )
    named = {each.name: each for each in profile.factsheet.capabilities}
    assert profile.factsheet.limits.v_max == 0.2 and named["nav.goto"].risk == 3
    assert profile.settings.consent == "off"
    for key, told in [
        ("capabilities.fly.risk", "nothing called 'fly'"), ("limits.v_max.x", "no keys in it"),
        ("limits.speed", "limits.speed is no key"), ("capabilities.move", "nothing called 'move'"),
    ]:  # fmt: skip
        with pytest.raises(ProfileInvalid, match=told):
            Profile.load("diff-drive", {key: 1})


def test_a_profile_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ProfileInvalid, match=r"there is no such profile or file.*diff-drive"):
        Profile.load("dif-drive")
    with pytest.raises(ProfileInvalid, match="directory"):
        Profile.load(tmp_path)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["driver", "limits", "capabilities", "name", "guards", "words", "x", "rev"]),
                        inner, max_size=4), max_leaves=12))  # fmt: skip
def test_whatever_is_in_it_it_is_refused_in_one_sentence(body: object) -> None:
    try:
        profile_of(body, "p")
    except BodyError as error:
        assert "\n" not in str(error)


# --- drivers and keys


def connected(profile: Profile, driver: str = "") -> object:
    async def main() -> object:
        return (await connect(profile, "r1", Clock(), driver))[1]

    return run(main())


@pytest.mark.parametrize(
    ("driver", "told"),
    [
        ("nowhere_at_all:Robot", "there is no module nowhere_at_all"),
        ("json:Robot", "has nothing called Robot"),
        ("json:JSONDecoder", "cannot be made: it is called with the profile"),
        ("rubbish", "is no driver: use simulated"),
    ],
)
def test_a_driver_that_cannot_be_had_is_told(driver: str, told: str) -> None:
    profile = profile_of({"driver": "simulated", "options": {"speed": 1}}, "p")
    with pytest.raises(DriverMissing, match=told):
        connected(profile, driver)


def test_a_class_that_is_no_driver_is_told_what_it_lacks() -> None:
    with pytest.raises(DriverMissing, match="it lacks sense, actuate, perform, brake"):
        connected(profile_of({"driver": "simulated"}, "p"), "builtins:id")


def test_keys_come_from_a_file_of_ones_own_and_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(f'operator = "{"ab" * 32}"\n[agents]\nagent1 = "{"01" * 16}"\n')
    path.chmod(0o644)
    with pytest.raises(KeysInvalid, match="may be read by others"):
        with_keys(GuardSettings(), path, {})
    path.chmod(0o600)
    settings = with_keys(GuardSettings(), path, {"VISAVIS_ROBOT_CONSENT_KEY": "cd" * 16})
    assert settings.operator_key == b"\xab" * 32 and settings.keys == {"agent1": b"\x01" * 16}
    assert settings.consent_key == b"\xcd" * 16
    wrong = {
        "operator = 'xyz'": "hexadecimal",
        "operator = 'ab'": "1 bytes",
        "opertor = 'ab'": "opertor",
        "[": "keys.toml",
    }
    for text, told in wrong.items():
        path.write_text(text)
        with pytest.raises(KeysInvalid, match=told):
            with_keys(GuardSettings(), path, {})
