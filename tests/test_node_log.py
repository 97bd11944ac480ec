"""What a robot's program tells beside the contract: the audit log, channels of a driver's own, how its parts are."""

import asyncio
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from embodied.node import audit
from embodied.node.audit import AuditFailed, AuditLog
from embodied.node.profile import Profile
from embodied.node.simulator import SimulatedRobot
from embodied.robot.decisions import Note
from streams.clock import SECOND, Clock, run
from tests.node_room import room


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def keeping(path: Path, notes: int, **options: Any) -> AuditLog:
    async def main() -> AuditLog:
        clock = Clock()
        log = AuditLog(path, clock, boot="b1", **options)
        writing = asyncio.create_task(log.run())
        for n in range(notes):
            log(Note(n, "limits", "rejected", f"c{n}", reason="limit", detail="too far"))
            if n % 100 == 99:
                await clock.sleep_until(clock.now() + SECOND)
        writing.cancel()
        await asyncio.wait([writing])
        log.close()
        return log

    return run(main(), virtual=True)


def test_every_note_is_a_line_in_its_order_and_a_later_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    keeping(path, 250)
    keeping(path, 3)
    told = lines(path)
    assert len(told) == 255 and told[0]["boot"] == told[251]["boot"] == "b1"
    assert [line["t"] for line in told[1:251]] == list(range(250))
    assert told[1] == {
        "t": 0, "guard": "limits", "verdict": "rejected", "id": "c0", "reason": "limit", "detail": "too far",
    }  # fmt: skip


def test_it_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    keeping(path, 1000, limit=20_000)
    older = path.with_name("audit.jsonl.1")
    assert path.stat().st_size <= 20_000 and older.stat().st_size <= 20_000
    assert lines(path)[-1]["t"] == 999 and lines(older)[-1]["t"] + 1 == lines(path)[0]["t"]


def test_what_comes_too_fast_is_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "WAITING_MAX", 50)
    path = tmp_path / "audit.jsonl"
    log = keeping(path, 90)
    assert log.dropped == 40
    assert lines(path)[-1]["dropped"] == 40


def test_a_log_that_cannot_be_written_is_told_at_the_start_and_survived_later(tmp_path: Path) -> None:
    with pytest.raises(AuditFailed, match="cannot be written"):
        keeping(tmp_path, 1)
    folder = tmp_path / "gone"
    path = folder / "audit.jsonl"
    with pytest.raises(AuditFailed, match=r"no folder .*gone; make it first"):
        keeping(path, 1)
    assert not folder.exists()
    folder.mkdir()

    async def main() -> AuditLog:
        clock = Clock()
        log = AuditLog(path, clock)
        path.unlink()
        folder.rmdir()
        folder.write_text("in the way")
        writing = asyncio.create_task(log.run())
        log(Note(1, "limits", "rejected"))
        await clock.sleep_until(SECOND)
        writing.cancel()
        await asyncio.wait([writing])
        return log

    log = run(main(), virtual=True)
    assert "gone" in log.failure and log.dropped == 1
    assert log.diagnose()[0].level == 2
    assert stat.S_ISREG(folder.stat().st_mode)


class Sighted(SimulatedRobot):
    """Has an eye, whose picture changes once a second."""

    def channels(self, now: int) -> Mapping[str, Mapping[str, Any]]:
        if now // SECOND != getattr(self, "_second", None):
            self._second = now // SECOND
            self._eye = {"n": self._second}
        return {"eye": self._eye}


def test_a_driver_tells_channels_of_its_own_when_they_are_new() -> None:
    async def main() -> None:
        async with room(driver=Sighted(Profile.load("diff-drive"))) as made:
            await made.agent.wait(4)
            values = [body["values"]["n"] for body in made.agent.of("telemetry/eye")]
            assert len(values) in (3, 4, 5) and values == sorted(set(values))
            parts = {part["name"]: part for part in made.agent.last("diag")}
            assert set(parts) >= {"loop", "battery"}

    run(main(), virtual=True)


class Dizzy(SimulatedRobot):
    def channels(self, now: int) -> Mapping[str, Mapping[str, Any]]:
        raise KeyError("eye")


def test_a_driver_that_errs_where_it_reports_drives_on() -> None:
    async def main() -> None:
        async with room(driver=Dizzy(Profile.load("diff-drive"))) as made:
            assert (await made.agent.do("move", {"distance_m": 0.3}))["state"] == "succeeded"
            assert 1 <= len(made.agent.of("event/fault")) <= 5

    run(main(), virtual=True)


def test_joints_are_told_by_the_names_of_features() -> None:
    async def main() -> None:
        async with room("arm") as made:
            await made.agent.wait(2)
            assert set(made.agent.last("telemetry/joints")["values"]) == {
                *(f"j{n}.pos" for n in range(1, 6)), "gripper.pos",
            }  # fmt: skip
            assert not made.agent.of("telemetry/scan")

    run(main(), virtual=True)
