"""Attaching: which robots are meant, what they add to the configuration, and what is said when they are not there."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from agent import config, parts, remembered
from agent.cli import main, parser
from agent.robots import attach_options
from agent.robots.attach import furnished, told
from agent.robots.choosing import RobotMissing, chosen
from agent.robots.fitting import named
from agent.robots.senses import SenseMissing, senses
from agent.robots.sight import own_camera
from embodied.link.keys import read_key
from embodied.node.profile import Profile
from embodied.remote.finding import Found
from embodied.remote.settings import RobotConfig
from embodied.robot.factsheet import Factsheet
from policies.chunks.description import Observed
from policies.chunks.errors import DoesNotFit
from streams.devices.robot_stream import StreamedMicrophone
from streams.errors import VisavisError
from tests.chunk_scenes import spec

SHEET = replace(Profile.load("diff-drive").factsheet, boot="b1")
ARM = replace(Profile.load("arm").factsheet, boot="b1")
HERE = Found("r1", SHEET, online=True)
ONE = RobotConfig(url="mqtt://h", ids=("r1",))
ANY = RobotConfig(url="mqtt://h")


def test_the_only_robot_is_meant_where_none_is_named() -> None:
    assert list(chosen([HERE, Found("r2", SHEET)], ANY, "mqtt://h")) == ["r1"]


@pytest.mark.parametrize(
    ("found", "settings", "words"),
    [
        ([], ANY, ("no robot", "visavis robot", "--fleet")),
        ([HERE, Found("r2", SHEET, online=True)], ANY, ("several", "--robot r1 or --robot r2")),
        ([Found("r2", SHEET, online=True)], ONE, ("no robot 'r1'", "its program running")),
        ([Found("r1", SHEET)], ONE, ("has gone",)),
        ([Found("r1", replace(SHEET, proto="2.0"), online=True, fits=False)], ONE, ("version 2.0",)),
    ],
)
def test_a_robot_that_is_not_there_is_told_as_what_it_is(
    found: list[Found], settings: RobotConfig, words: tuple[str, ...]
) -> None:
    with pytest.raises(RobotMissing) as caught:
        chosen(found, settings, "mqtt://h")
    assert all(word in str(caught.value) for word in words)


def test_what_it_can_do_becomes_sentences_of_the_grammar() -> None:
    settings = config.load(None, ["body.motion=mqtt", "robot.url=mqtt://h"])
    sentences = parts.sentences(furnished(settings, {"r1": SHEET, "arm": ARM}))
    lamp = sentences.understand("turn the lamp on")
    assert lamp is not None and lamp.intent.command is not None
    assert (lamp.intent.command.name, lamp.intent.command.arguments) == ("lamp", {"on": True})
    home = sentences.understand("arm arm home")
    assert home is not None and home.intent.command is not None and home.intent.command.name == "arm.arm.home"
    assert sentences.understand("go forward one meter") is not None
    assert "robot: r1" in [name for name, _ in sentences.texts]


def test_a_session_that_is_set_to_move_something_else_is_not_furnished() -> None:
    with pytest.raises(VisavisError, match="mqtt"):
        furnished(config.load(), {"r1": SHEET})


def test_options_are_settings_that_set_goes_before() -> None:
    line = ["attach", "mqtt://h:1", "--robot", "a", "--robot", "b", "--fleet", "f", "--robot-speaker", "--skill", "x"]
    arguments = parser().parse_args([*line, "--set", "robot.fleet=g"])
    settings = config.load(None, [*attach_options.assignments(arguments), *arguments.set]).robot
    assert (settings.ids, settings.fleet, settings.speaker, settings.skills) == (("a", "b"), "g", True, ("x",))
    assert settings.url == "mqtt://h:1"


def test_a_password_in_the_address_is_not_recorded() -> None:
    settings = config.load(None, ["robot.url=mqtt://me:secret@h"])
    assert "secret" not in parts.kept(settings).text()


def test_it_says_what_it_found() -> None:
    assert told("r1", SHEET) == "found r1 (visavis diff-drive): move, turn, come_back, nav.goto, say, lamp"


def test_a_sense_that_the_robot_does_not_have_is_refused() -> None:
    for wish in (replace(ONE, camera=True), replace(ONE, microphone=True)):
        with pytest.raises(SenseMissing, match="leave out --robot-"):
            senses(wish, "r1", SHEET)
    seeing = replace(
        SHEET, observation_features={"cameras": {"front": {"url": "rtsp://10.0.0.7/front", "fov_deg": 70}}}
    )
    found = senses(replace(ONE, camera=True), "r1", seeing)
    assert (found.camera_url, found.fov_deg, found.feeds) == ("rtsp://10.0.0.7/front", 70, ())
    hearing = replace(SHEET, observation_features={"microphone": {"url": "http://10.0.0.7/ear", "telemetry": "ear"}})
    heard = senses(replace(ONE, microphone=True), "r1", hearing)  # as with the camera: the address goes before
    assert isinstance(heard.microphone, StreamedMicrophone) and heard.feeds == ()
    hearing = replace(SHEET, observation_features={"microphone": {"url": "file:///etc/passwd", "telemetry": "ear"}})
    with pytest.raises(SenseMissing, match="its address must begin with"):
        senses(replace(ONE, microphone=True), "r1", hearing)


def test_a_broker_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["attach", "mqtt://127.0.0.1:1", "--robot", "r1", "--set", "robot.find_s=0.5"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "127.0.0.1:1" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--robot", "a/b"], "--robot 'a/b': an id is 1 to 64 of"),
        (["--robot", "r1", "--agent", "a/b"], "--agent 'a/b': an id is"),
        (["--fleet", ""], "--fleet '': an id is"),
        (["--robot", "x" * 65], "an id is"),
        (["--robot", "r1", "--robot", "r1"], "--robot r1 is given twice"),
        (["--audio", "x.wav", "--web"], "--audio does not go with --web"),
    ],
)
def test_options_that_cannot_be_are_told_by_their_names(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attach", "mqtt://127.0.0.1:1", *options]) == 2
    assert words in capsys.readouterr().err


def test_keys_are_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("ab" * 32)
    path.chmod(0o600)
    assert read_key(str(path), "--key") == bytes.fromhex("ab" * 32)
    path.chmod(0o644)
    with pytest.raises(VisavisError, match="chmod 600"):
        read_key(str(path), "--key")
    path.chmod(0o600)
    for wrong in ("not hexadecimal", "abcd"):
        path.write_text(wrong)
        with pytest.raises(VisavisError, match="--key"):
            read_key(str(path), "--key")
    with pytest.raises(VisavisError, match="cannot be read"):
        read_key(str(tmp_path / "none"), "--key")


def test_files_are_looked_at_before_broker_and_robot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--skill", "--words"):
        for more in ([], ["--web"]):
            missing = str(tmp_path / "none")
            assert main(["attach", "mqtt://127.0.0.1:1", option, missing, *more]) == 2
            said = capsys.readouterr().err
            assert said.count("\n") == 1 and missing in said and "127.0.0.1" not in said


def test_a_skill_at_an_address_of_no_policy_server_is_told_what_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--web"]):
        assert main(["attach", "mqtt://127.0.0.1:1", "--skill", "grpc://127.0.0.1:9", *more]) == 2
        said = capsys.readouterr().err
        assert "--skill FILE.toml" in said and "policy.json" not in said and "127.0.0.1:1:" not in said


def test_on_a_machine_without_a_microphone_it_says_what_goes_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def found(settings: RobotConfig) -> dict[str, Factsheet]:
        return {"r1": SHEET}

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("agent.robots.attach.factsheets", found)
    monkeypatch.setattr("agent.live.backend", lambda engine: SimpleNamespace(devices=list))
    assert main(["attach", "mqtt://127.0.0.1:1", "--robot", "r1"]) == 2
    said = capsys.readouterr().err
    assert "there is no microphone" in said and "--web" in said and "--audio FILE" in said


def test_skills_are_named_and_have_to_fit_the_robot() -> None:
    columns = ("j1.pos", "j2.pos", "j3.pos", "j4.pos", "j5.pos", "gripper.pos")
    reach = spec(columns, name="Reach flow")
    goal = Observed(("goal.x", "goal.y"))
    aimed = spec(columns, name="aim", observation={"observation.environment_state": goal})
    assert named([], "r1", ARM) == ""
    assert named([reach, aimed], "arm", ARM) == "skills: reach_flow, aim (needs goal.x, goal.y)"
    with pytest.raises(DoesNotFit, match="the robot has none at all"):
        named([reach], "r1", SHEET)
    with pytest.raises(VisavisError, match="another skill"):
        named([reach, reach], "arm", ARM)
    with pytest.raises(DoesNotFit, match=r"does not drive j3\.pos"):
        named([spec()], "arm", ARM)


def test_a_skill_that_sees_may_look_through_the_camera_of_this_machine_however_it_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    line = ["attach", "mqtt://h"]

    def camera(*options: str) -> str:
        return own_camera(parser().parse_args([*line, *options]))

    assert camera() == ""
    assert camera("--camera", "http://10.0.0.7/eye") == "http://10.0.0.7/eye"
    assert camera("--set", 'camera.source="0"') == "0"
    remembered.remember({"camera": "1"})
    assert camera() == "1"
    assert camera("--camera", "") == ""
