"""Sessions that were really held with a robot, exported: by a skill, and by hand."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("av")

import pyarrow.parquet as pq

from agent import assembly, config
from agent.errors import OutputError
from agent.lerobot.errors import ExportError
from agent.lerobot.export import export
from embodied.robot.settings import GuardSettings
from streams.recording import Recorder
from streams.types import Controlled, Steered
from tests.chunk_scenes import Script
from tests.minds import NOON
from tests.robot_room import BASE, Room, hold, typed
from tests.test_lerobot import FILE, arm
from tests.test_robot_session import HANDS
from tests.test_skills import JOINTS, SENTENCE, toward

ROOT = Path(__file__).parent.parent


def rows(folder: Path) -> dict[str, Any]:
    return {
        name: np.array(values) for name, values in pq.read_table(folder / f"data/{FILE}.parquet").to_pydict().items()
    }


def test_what_a_skill_did(tmp_path: Path) -> None:
    path, out = tmp_path / "wave.mcap", tmp_path / "set"
    policy = Script(toward(0.6), names=JOINTS, name="wave", task="wave an arm")
    room = Room(profile="arm", skills=[policy], settings=GuardSettings(odometry_needed=False))
    tap = Recorder(path, assembly.header(config.load(None, [*BASE, SENTENCE]), NOON))
    session = hold([typed(1500, "wave"), typed(6000, "wave")], room, SENTENCE, tail_ms=5000, taps=[tap])
    done = export([path], out)
    assert (done.episodes, done.fps, done.tasks, done.lacks) == (2, 50, 1, ())
    told = session.of(Controlled)
    assert done.frames == pytest.approx(len(told), abs=2)
    data, info = rows(out), json.loads((out / "meta/info.json").read_text())
    assert tuple(info["features"]["action"]["names"]) == JOINTS and info["robot_type"] == "arm"
    first = data["episode_index"] == 0
    assert np.allclose(data["action"][first][-1], list(told[first.sum() - 1].action.values()), atol=0.02)
    j1 = data["observation.state"][first, 0]
    assert abs(j1[0]) < 0.02 and abs(j1[-1] - 0.6) < 0.05 and (np.diff(j1) > -1e-6).all()


def test_what_was_steered_by_hand(tmp_path: Path) -> None:
    path, out = tmp_path / "drive.mcap", tmp_path / "set"
    keys: list[tuple[float, float, Any]] = [
        (at, at, Steered(vx=0.2, by="console")) for at in np.arange(2000.0, 4000.0, 100.0).tolist()
    ]
    keys.append((4000.0, 4000.0, Steered(by="console")))
    tap = Recorder(path, assembly.header(config.load(None, list(BASE)), NOON))
    session = hold(keys, Room(settings=HANDS), tail_ms=3000, taps=[tap])
    assert session.room.robot.pose[0] > 0.2
    done = export([path], out)
    assert (done.of, done.episodes, done.fps) == ("steering", 1, 10) and done.frames == pytest.approx(21, abs=2)
    data = rows(out)
    assert np.allclose(data["action"][:-1], [0.2, 0.0]) and np.allclose(data["action"][-1], 0)
    x = data["observation.state"][:, 0]
    assert x[-1] - x[0] == pytest.approx(session.room.robot.pose[0], abs=0.1)


def test_what_was_steered_in_vain_is_left_out(tmp_path: Path) -> None:
    """The robot does not let this agent steer it."""
    path = tmp_path / "vain.mcap"
    keys: list[tuple[float, float, Any]] = [(at, at, Steered(vx=0.2, by="console")) for at in range(2000, 4000, 100)]
    tap = Recorder(path, assembly.header(config.load(None, list(BASE)), NOON))
    hold(keys, Room(), tail_ms=3000, taps=[tap])
    with pytest.raises(ExportError, match="did not move"):
        export([path], tmp_path / "set")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """Really full: the folder is a file system of half a megabyte, where that may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("unshare")
    if mount is None:
        pytest.skip("apt install util-linux")
    path = arm(tmp_path / "a.mcap")
    script = (
        "from pathlib import Path; from agent.lerobot.export import export; from agent.errors import OutputError\n"
        f"try: export([Path({str(path)!r})], Path({str(disk / 'set')!r}))\n"
        f"except OutputError as error: print(error); print(list(Path({str(disk)!r}).iterdir()))"
    )
    done = subprocess.run(
        [mount, "-rm", "sh", "-c", f"mount -t tmpfs -o size=8k none {disk} && exec {sys.executable} -c \"$SCRIPT\""],
        cwd=ROOT, env={"SCRIPT": script, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("this system lets nobody mount a disk of their own")
    assert "No space left on device" in done.stdout and done.stdout.endswith("[]\n"), done.stdout + done.stderr


def test_a_name_that_is_taken_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.lerobot import dataset

    out, finish = tmp_path / "set", dataset.Dataset.finish

    def taken(self: Any) -> None:
        finish(self)
        out.mkdir()
        (out / "mine").touch()

    monkeypatch.setattr(dataset.Dataset, "finish", taken)
    with pytest.raises(OutputError, match="exists"):
        export([arm(tmp_path / "a.mcap")], out)
    assert [each.name for each in out.iterdir()] == ["mine"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.mcap", "set"]
