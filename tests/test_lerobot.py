"""Recordings exported as a LeRobotDataset, checked against what its reader wants of the files."""

import argparse
import ctypes
import json
import os
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow.parquet", reason="pip install 'visavis[lerobot]'")
pytest.importorskip("av", reason="pip install 'visavis[lerobot]'")

import av
import pyarrow.parquet as pq

from agent.errors import OutputError
from agent.lerobot.command import add
from agent.lerobot.errors import ExportError
from agent.lerobot.export import Choice, export
from agent.lerobot.film import Codec, Film
from streams.clock import SECOND
from streams.errors import DependencyMissing
from streams.packet import Packet
from streams.topics import ACTION, FEEDBACK, IMAGE, Topic
from streams.types import Attached, BodyState, Controlled, Image, Outcome, Steer
from tests.sessions import tape

JOINTS = ("j1.pos", "j2.pos")
FILE = "chunk-000/file-000"
KEY = "observation.images.front"


def jpeg(value: int, width: int = 64, height: int = 48, name: str = "mjpeg", pixels: str = "yuvj420p") -> bytes:
    """A grey picture."""
    encoder: Any = av.CodecContext.create(name, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = width, height, pixels, Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), value, np.uint8), format="rgb24")
    frame = frame.reformat(format=pixels)
    frame.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))


class Session:
    """Packets in the order of their times."""

    def __init__(self) -> None:
        self._told: list[tuple[int, Topic[Any], Any]] = []

    def tell(self, t: float, topic: Topic[Any], data: Any) -> None:
        self._told.append((round(t * SECOND), topic, data))

    def skill(self, begin: float, rows: int, number: int = 1, names: tuple[str, ...] = JOINTS, task: str = "reach",
              status: Any = "done", where: str = "arm1", dt_ms: float = 0.0, step_s: float = 0.02) -> None:  # fmt: skip
        random = np.random.default_rng(number)
        for row in range(rows):
            late = float(random.uniform(0, 0.004))
            state = {name: number + row / 100 + column for column, name in enumerate(names)}
            action = {name: -value for name, value in state.items()}
            told = {} if row == 3 else state  # nothing was heard at that step
            step = Controlled(where, number, "reach", task, told, action, row, dt_ms)
            self.tell(begin + row * step_s + late, FEEDBACK, step)
        self.tell(begin + rows * step_s, FEEDBACK, Outcome(1, number, "Command", "reach", status))

    def camera(self, begin: float, end: float, hertz: float = 10, **size: int) -> None:
        for number in range(round((end - begin) * hertz)):
            data = jpeg(20 + number * 4, **size)
            picture = Image(data, "jpeg", size.get("width", 64), size.get("height", 48))
            self.tell(begin + number / hertz, IMAGE, picture)

    def write(self, path: Path, *, finish: bool = True) -> Path:
        packets: list[Packet[Any]] = []
        seqs: dict[str, int] = {}
        for order, (t, topic, data) in enumerate(sorted(self._told, key=lambda each: each[0])):
            seq = seqs.get(topic.name, 0)
            seqs[topic.name] = seq + 1
            packets.append(Packet(topic, t, t, seq, order, data))
        tape(path, packets, finish=finish)
        return path


def arm(path: Path, *, pictures: bool = True, **skill: Any) -> Path:
    session = Session()
    session.tell(0, FEEDBACK, Attached("arm1", "arm", "a small arm"))
    if pictures:
        session.camera(0.5, 5)
    session.skill(1.0, 50, 1, **skill)
    session.skill(3.0, 40, 2, **{"task": "wipe", **skill})
    return session.write(path)


def columns(folder: Path, name: str) -> dict[str, Any]:
    return dict(pq.read_table(folder / name).to_pydict())


def frames(path: Path) -> list[tuple[float, float]]:
    """When each frame is shown, and how bright it is."""
    with av.open(str(path)) as file:
        return [(float(each.time), float(each.to_ndarray(format="rgb24").mean())) for each in file.decode(video=0)]


def test_skills_become_episodes_with_their_pictures(tmp_path: Path) -> None:
    out = tmp_path / "set"
    done = export([arm(tmp_path / "a.mcap")], out)
    assert (done.of, done.fps, done.episodes, done.frames, done.tasks, done.lacks) == ("skills", 50, 2, 90, 2, ())
    data = columns(out, f"data/{FILE}.parquet")
    assert data["index"] == list(range(90)) and data["frame_index"] == [*range(50), *range(40)]
    assert data["episode_index"] == [0] * 50 + [1] * 40 == data["task_index"]
    assert np.allclose(data["timestamp"], [row / 50 for row in (*range(50), *range(40))])
    state, action = np.array(data["observation.state"]), np.array(data["action"])
    # At the rate of the recording every frame has a row of its own, though rows came up to 4 ms late.
    assert np.allclose(-action[:50, 0], 1 + np.arange(50) / 100) and np.allclose(
        -action[50:, 1], 3 + np.arange(40) / 100
    )
    assert np.allclose(state[3], state[2]) and np.allclose(np.delete(state, (3, 53), 0), -np.delete(action, (3, 53), 0))
    shown = frames(out / f"videos/{KEY}/{FILE}.mp4")
    assert np.allclose([t for t, _ in shown], np.arange(90) / 50)
    for frame in (0, 4, 5, 49, 50, 89):  # the newest picture not later: ten a second, from 0.5 s on
        t = 1.0 + frame / 50 if frame < 50 else 3.0 + (frame - 50) / 50
        assert shown[frame][1] == pytest.approx(20 + 4 * int((t + 0.004 - 0.5) * 10 + 1e-6), abs=5)


def test_the_files_say_what_lerobot_reads(tmp_path: Path) -> None:
    out = tmp_path / "set"
    export([arm(tmp_path / "a.mcap")], out)
    info = json.loads((out / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["robot_type"]) == ("v3.0", 50, "arm")
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (2, 90, 2)
    assert info["features"]["action"] == {"dtype": "float32", "shape": [2], "names": list(JOINTS)}
    assert info["features"][KEY]["shape"] == [48, 64, 3] and info["features"][KEY]["dtype"] == "video"
    assert (out / info["data_path"].format(chunk_index=0, file_index=0)).is_file()
    assert (out / info["video_path"].format(video_key=KEY, chunk_index=0, file_index=0)).is_file()
    tasks = pq.read_table(out / "meta/tasks.parquet")
    assert tasks.to_pydict() == {"task_index": [0, 1], "task": ["reach", "wipe"]}
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    episodes = columns(out, f"meta/episodes/{FILE}.parquet")
    assert episodes["tasks"] == [["reach"], ["wipe"]] and episodes["length"] == [50, 40]
    assert (episodes["dataset_from_index"], episodes["dataset_to_index"]) == ([0, 50], [50, 90])
    assert episodes[f"videos/{KEY}/from_timestamp"] == [0.0, 1.0]
    assert episodes[f"videos/{KEY}/to_timestamp"] == [1.0, 1.8]
    stats = json.loads((out / "meta/stats.json").read_text())
    assert set(stats) == set(info["features"])
    assert stats["action"]["min"][0] == pytest.approx(-2.39) and stats["action"]["count"] == [90]
    assert np.array(stats[KEY]["mean"]).shape == (3, 1, 1) and 0 < stats[KEY]["mean"][0][0][0] < 1
    assert np.array(episodes[f"stats/{KEY}/max"]).shape == (2, 3, 1, 1)


def steering(path: Path, *, sideways: bool = False) -> Path:
    session = Session()
    session.tell(0, FEEDBACK, Attached("base1", "diff_drive"))
    for beat in range(50):  # five a second
        t = beat / 5
        session.tell(t, FEEDBACK, BodyState("base1", pose=(t, 2.0, 0.5), speed=(0.3, 0.1)))
    for begin, end in ((2.05, 4.0), (6.0, 7.0)):
        for step in range(round((end - begin) * 20)):
            session.tell(begin + step / 20, ACTION, Steer(0.3 + step / 1000, 0.1 if sideways else 0.0, 0.2))
    session.tell(4.0, ACTION, Steer())  # let go; the second time it just ends
    return session.write(path)


def test_steering_becomes_episodes(tmp_path: Path) -> None:
    out = tmp_path / "set"
    done = export([steering(tmp_path / "a.mcap")], out, Choice(task="Drive to the door."))
    assert (done.of, done.fps, done.episodes) == ("steering", 10, 2)
    data = columns(out, f"data/{FILE}.parquet")
    state, action = np.array(data["observation.state"]), np.array(data["action"])
    info = json.loads((out / "meta/info.json").read_text())
    assert info["features"]["observation.state"]["names"] == ["x.pos", "y.pos", "yaw.pos", "x.vel", "yaw.vel"]
    assert info["features"]["action"]["names"] == ["x.vel", "yaw.vel"] and info["video_path"] is None
    first = np.array(data["episode_index"]) == 0
    times = 2.05 + np.array(data["timestamp"])[first]
    assert times[-1] == pytest.approx(3.95, abs=0.06)
    assert np.allclose(state[first, 0], np.floor(times * 5 + 1e-3) / 5)  # as it was known then
    assert np.allclose(action[:5, 0], 0.3 + np.arange(5) * 2 / 1000)
    assert columns(out, "meta/tasks.parquet")["task"] == ["Drive to the door."]


def test_a_base_that_is_steered_sideways_has_a_column_for_it(tmp_path: Path) -> None:
    export([steering(tmp_path / "a.mcap", sideways=True)], tmp_path / "set")
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert info["features"]["action"]["names"] == ["x.vel", "y.vel", "yaw.vel"]


def test_a_robot_that_is_not_heard_ends_the_episode(tmp_path: Path) -> None:
    session = Session()
    for step in range(100):
        t = step / 20
        link: Any = "suspended" if 1 <= t < 2 else "heard"
        session.tell(t, FEEDBACK, BodyState("base1", link=link, pose=(t, 0.0, 0.0)))
        session.tell(t + 0.01, ACTION, Steer(0.2, robot="base1"))
    done = export([session.write(tmp_path / "a.mcap")], tmp_path / "set")
    assert done.episodes == 2 and done.frames == 10 + 30


def test_several_recordings_and_a_torn_one(tmp_path: Path) -> None:
    session = Session()
    session.camera(0, 3)
    session.skill(1.0, 60, 1)
    torn = session.write(tmp_path / "torn.mcap", finish=False)
    done = export([arm(tmp_path / "a.mcap"), torn], tmp_path / "set")
    assert done.episodes == 3 and 100 < done.frames <= 150
    assert len(done.lacks) == 1 and "has no end" in done.lacks[0]
    assert len(frames(tmp_path / f"set/videos/{KEY}/{FILE}.mp4")) == done.frames


def test_one_column_is_a_number(tmp_path: Path) -> None:
    session = Session()
    session.skill(0, 10, 1, names=("j1.pos",))
    assert export([session.write(tmp_path / "a.mcap")], tmp_path / "set").fps == 50
    assert columns(tmp_path / "set", f"data/{FILE}.parquet")["action"][0] == pytest.approx(-1.0)


def test_what_differs_is_refused_by_name(tmp_path: Path) -> None:
    first = arm(tmp_path / "a.mcap")
    others = {
        "j3.pos": arm(tmp_path / "columns.mcap", names=(*JOINTS, "j3.pos")),
        "no pictures": arm(tmp_path / "blind.mcap", pictures=False),
    }
    for words, path in others.items():
        with pytest.raises(ExportError, match=words) as refused:
            export([first, path], tmp_path / "set")
        assert str(path) in str(refused.value)
    small = Session()
    small.camera(0, 3, width=32, height=24)
    small.skill(1, 20)
    with pytest.raises(ExportError, match="32 x 24"):
        export([first, small.write(tmp_path / "small.mcap")], tmp_path / "set")
    assert sorted(each.name for each in tmp_path.iterdir() if not each.name.endswith(".mcap")) == []
    assert export([first, others["no pictures"]], tmp_path / "set", Choice(camera="")).episodes == 4


def test_nothing_to_export_and_a_folder_that_exists(tmp_path: Path) -> None:
    empty = Session().write(tmp_path / "empty.mcap")
    with pytest.raises(ExportError, match="no skill was carried out, and nobody steered"):
        export([empty], tmp_path / "set")
    path = arm(tmp_path / "a.mcap")
    with pytest.raises(ExportError, match="of arm2"):
        export([path], tmp_path / "set", Choice(robot="arm2"))
    (tmp_path / "set").mkdir()
    with pytest.raises(OutputError, match="exists"):
        export([path], tmp_path / "set")
    with pytest.raises(OutputError, match="no folder"):
        export([path], tmp_path / "nowhere/set")


def test_only_what_was_done_and_what_no_picture_shows_is_left_out(tmp_path: Path) -> None:
    session = Session()
    session.camera(0.5, 2)
    session.skill(1.0, 20, 1)
    session.skill(1.6, 20, 2, status="failed")
    session.skill(9.0, 20, 3)  # the camera has died
    done = export([session.write(tmp_path / "a.mcap")], tmp_path / "set", Choice(done=True))
    assert done.episodes == 1
    assert "failed" in done.lacks[0] and "no picture" in done.lacks[1]


def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    session = Session()
    session.skill(0, 20, 1)
    session.tell(
        1, FEEDBACK, Controlled("arm1", 2, "reach", "x", dict.fromkeys(JOINTS, 1.0), dict.fromkeys(JOINTS, 0.0))
    )
    session.tell(1.02, FEEDBACK, Controlled("arm1", 2, "reach", "x", {"j1.pos": 1.0}, dict.fromkeys(JOINTS, 0.0)))
    done = export([session.write(tmp_path / "a.mcap")], tmp_path / "set")
    assert done.episodes == 1 and "no number" in done.lacks[0]


def test_a_damaged_picture_is_that_before_it(tmp_path: Path) -> None:
    session = Session()
    session.camera(0, 1)
    session.tell(1.0, IMAGE, Image(b"\xff\xd8 no picture", "jpeg", 64, 48))
    session.skill(0.5, 40)
    done = export([session.write(tmp_path / "a.mcap")], tmp_path / "set")
    assert done.episodes == 1 and "1 damaged picture" in done.lacks[-1]


def test_a_long_film_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.lerobot.dataset.LONGEST_S", 1)
    export([arm(tmp_path / "a.mcap")], tmp_path / "set")
    episodes = columns(tmp_path / "set", f"meta/episodes/{FILE}.parquet")
    assert episodes[f"videos/{KEY}/file_index"] == [0, 1]
    assert episodes[f"videos/{KEY}/from_timestamp"] == [0.0, 0.0]
    assert len(frames(tmp_path / f"set/videos/{KEY}/chunk-000/file-001.mp4")) == 40


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    top = argparse.ArgumentParser()
    add(top.add_subparsers())
    out = str(tmp_path / "set")
    chosen = top.parse_args(
        ["export-lerobot", str(arm(tmp_path / "a.mcap")), "--out", out, "--codec", "av1", "--fps", "25"]
    )
    assert chosen.command(chosen) == 0
    assert f"2 episodes of skills, 45 frames at 25 a second, 2 tasks: {out}" in capsys.readouterr().out
    shown = frames(Path(out) / f"videos/{KEY}/{FILE}.mp4")
    assert np.allclose([t for t, _ in shown], np.arange(45) / 25)
    assert [light for _, light in shown[::5]] == pytest.approx([40, 48, 56, 64, 72, 120, 128, 136, 144], abs=6)
    with pytest.raises(SystemExit):
        top.parse_args(["export-lerobot", "a.mcap", "--out", out, "--camera", "../x"])


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="priorities as Linux has them")
@pytest.mark.parametrize("codec", ["h264", "av1"])
def test_the_encoder_is_no_more_urgent_than_what_drives_the_robot(tmp_path: Path, codec: Codec) -> None:
    """As root SVT-AV1 would make this thread, and each process that it starts later, the most urgent of the machine."""

    def urgent() -> set[tuple[int, int]]:
        tasks = [int(task.name) for task in Path("/proc/self/task").iterdir()]
        return {(os.sched_getscheduler(task), os.sched_getparam(task).sched_priority) for task in tasks}

    before = urgent()
    film = Film(tmp_path / "a.mp4", 25, (64, 64), codec)
    film.add(np.zeros((64, 64, 3), np.uint8))
    assert urgent() == before
    film.close()
    assert urgent() == before
    # What the C library believes of this thread: it starts others by it, some in ways of their own (miniaudio).
    policy, parameters = ctypes.c_int(-1), ctypes.c_int(-1)
    library, me = ctypes.CDLL(None), ctypes.c_ulong(threading.get_ident())
    assert not library.pthread_getschedparam(me, ctypes.byref(policy), ctypes.byref(parameters))
    assert {(policy.value, parameters.value)} == before


@pytest.mark.parametrize("package", ["pyarrow", "av"])
def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyMissing, match=rf"{package}.*visavis\[lerobot\]"):
        export([tmp_path / "a.mcap"], tmp_path / "set")


@pytest.mark.parametrize(
    ("rates", "step_s", "fps", "words"),
    [
        ((20.0,), 0.028, 50, ""),  # a busy machine: rows came late, and others not at all
        ((1000 / 30,), 0.04, 30, ""),
        ((0.0,), 0.028, 50, "does not tell the policy's own rate: 50 frames"),
        ((0.0,), 0.02, 50, ""),
        ((20.0, 100.0), 0.028, 50, "rows of 10 and 50 a second"),
        ((1e-6,), 0.1, 10, ""),
    ],
)
def test_the_rate_of_a_skill_is_that_of_its_policy_and_not_of_the_machine_it_ran_on(
    tmp_path: Path, rates: tuple[float, ...], step_s: float, fps: int, words: str
) -> None:
    session = Session()
    for number, dt_ms in enumerate(rates):
        session.skill(1 + 10 * number, 40, number + 1, dt_ms=dt_ms, step_s=step_s)
    done = export([session.write(tmp_path / "a.mcap")], tmp_path / "set")
    assert done.fps == fps
    assert [words in lack for lack in done.lacks] == [True] * bool(words)
