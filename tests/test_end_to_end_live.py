"""`visavis live` as a program, on a software sound card: what comes out of the loudspeaker is what counts."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import resample_poly

from embodied.voices.espeak import Espeak, EspeakVoice
from streams.packet import Packet
from streams.recording import Recording
from streams.topics import ACTION, AUDIO, FEEDBACK, TURN
from streams.types import (
    Audio,
    Fault,
    Gauge,
    Outcome,
    OverlapCut,
    OverlapResumed,
    Played,
    Recovered,
    Say,
    TurnCommitted,
)
from tests.dialogues import child, parts
from tests.sound_card import Ear, Samples, SoundCard, sound_card, until

pytest.importorskip("espeakng_loader")
pytest.importorskip("sounddevice")
pytestmark = [pytest.mark.usefixtures(parts.__name__), pytest.mark.slow]
__all__ = ["parts"]

VOICE_RATE = 22_050
LOUD = 100


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundCard]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with sound_card(VOICE_RATE, 1) as card:  # at the voice's rate the speaker is bit exact
        yield card


def spoken(text: str) -> Samples:
    """A person's voice at the microphone's rate."""
    voice = EspeakVoice(Espeak(language="en-us", rate_wpm=150, pitch=70))
    try:
        samples = np.concatenate([chunk.samples for chunk in voice.speak(text)])
        return resample_poly(samples.astype(float), 16_000, voice.rate).astype(np.int16)
    finally:
        voice.close()


class Conversation:
    """The program on a card. `with`: it runs, and is ended by a signal; afterwards `packets` has what was recorded."""

    def __init__(self, card: SoundCard, folder: Path, *options: str) -> None:
        self.card, self.recording, self.log = card, folder / "live.mcap", folder / "log.txt"
        self._options = options
        self.code = 0

    def __enter__(self) -> "Conversation":
        command = [sys.executable, "-m", "agent.cli", "live", "--microphone", "virtmic", "--loudspeaker", "virtspk"]
        command += ["--record", str(self.recording), *self._options]
        with self.log.open("wb") as log:
            self._program = subprocess.Popen(command, env=self.card.environment, stdout=log, stderr=log)
        until(lambda: self.recording.exists() and self.recording.stat().st_size > 100_000, 60, "it does not record")
        self._ear = self.card.listen()
        self.ear = self._ear.__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._program.poll() is None:
            self._program.send_signal(signal.SIGTERM)
        try:
            self.code = self._program.wait(20)
        finally:
            self._program.kill()
            self._ear.__exit__(None, None, None)
        self.heard = self.ear.samples
        self.packets = list(Recording.open(self.recording).packets((AUDIO, TURN, ACTION, FEEDBACK)))

    def say(self, text: str) -> None:
        assert self.card.say(spoken(text)).wait(20) == 0

    def wait_for_sound(self, seconds: float = 0.0) -> None:
        """Until the agent has been sounding for so long."""
        before = len(self.ear.samples)
        until(lambda: sounding(self.ear, before) > seconds * VOICE_RATE, 20, "the agent says nothing")

    def wait_for_silence(self, seconds: float = 0.7) -> None:
        def quiet() -> bool:
            last = self.ear.samples[-round(seconds * VOICE_RATE) :]
            return bool(np.abs(last).max(initial=0) < LOUD)

        until(quiet, 40, "the agent does not end")

    def of(self, *kinds: type) -> list[Any]:
        return [packet.data for packet in self.packets if isinstance(packet.data, kinds)]


def sounding(ear: Ear, since: int) -> int:
    """Samples since the agent began to sound after sample `since`; 0 before."""
    loud = np.nonzero(np.abs(ear.samples[since:]) > LOUD)[0]
    return len(ear.samples) - since - int(loud[0]) if len(loud) else 0


def rendered(say: Say, heard: Samples) -> tuple[list[str], int]:
    """The words of `say` whose samples all came out of the loudspeaker (bit by bit), and how many samples did."""
    voice = EspeakVoice(Espeak())
    try:
        chunks = list(voice.speak(say.text))
    finally:
        voice.close()
    whole = np.concatenate([chunk.samples for chunk in chunks])
    marks = [mark for chunk in chunks for mark in chunk.marks]
    begin = int(np.nonzero(whole)[0][0])
    key = whole[begin : begin + 400]
    count = 0
    windows = np.lib.stride_tricks.sliding_window_view(heard, len(key))
    for place in np.nonzero((windows[:, :60] == key[:60]).all(axis=1))[0]:
        if np.array_equal(windows[place], key):
            count = max(count, _follow(whole, heard, begin, int(place)))
    return [mark.text for mark in marks if mark.end <= count], count


def _follow(whole: Samples, heard: Samples, begin: int, place: int) -> int:
    """How many samples of `whole` are in `heard` from `place` on, in order; pauses in between may be bridged."""
    done = begin
    while done < len(whole):
        rest = min(len(whole) - done, len(heard) - place)
        same = whole[done : done + rest] == heard[place : place + rest]
        run = int(np.argmin(same)) if not same.all() else rest
        done, place = done + run, place + run
        if done >= len(whole) or not run:
            break
        ahead = whole[done : done + 200]  # after a pause it goes on with the very next sample
        windows = np.lib.stride_tricks.sliding_window_view(heard[place : place + 4 * VOICE_RATE], len(ahead))
        if len(ahead) < 200 or not (found := np.nonzero((windows == ahead).all(axis=1))[0]).size:
            break
        place += int(found[0])
    return done


def test_a_conversation_interrupted_is_what_came_out_of_the_loudspeaker(card: SoundCard, tmp_path: Path) -> None:
    with Conversation(card, tmp_path) as talk:
        talk.say("what time is it")
        talk.wait_for_sound()
        talk.wait_for_silence()
        for _ in range(2):
            talk.say("what can you do")
            talk.wait_for_sound(1.2)
            talk.say("what time is it")
            talk.wait_for_sound()
            talk.wait_for_silence(1.0)
    assert talk.code == 143, talk.log.read_text()
    assert [turn.text for turn in talk.of(TurnCommitted)].count("what time is it") >= 2
    cuts = [cut for cut in talk.of(OverlapCut) if cut.reason == "interruption"]
    assert cuts, "it was interrupted"
    outcomes = {outcome.id: outcome for outcome in talk.of(Outcome) if outcome.action == "Say"}
    checked = 0
    for say in talk.of(Say):
        words, count = rendered(say, talk.heard)
        told = [played.text for played in talk.of(Played) if played.id == say.id]
        if outcomes[say.id].status in ("done", "cut"):
            assert told == words, f"{outcomes[say.id]}: {count} samples came out"
            checked += 1
    assert checked >= 3
    check = child("replay", "--check", str(talk.recording))
    assert check.returncode == 0, check.stdout + check.stderr


def test_a_listener_s_murmur_loses_and_repeats_no_sample(card: SoundCard, tmp_path: Path) -> None:
    with Conversation(card, tmp_path) as talk:
        talk.say("what can you do")
        talk.wait_for_sound(1.0)
        talk.say("okay")
        talk.wait_for_silence(1.5)
    resumed = talk.of(OverlapResumed)
    say = talk.of(Say)[0]
    if resumed:  # it was taken for what it is
        words, count = rendered(say, talk.heard)
        assert words == re.findall(r"\w+", say.text)
        assert count > VOICE_RATE, "to the last sample"
    assert resumed, "a murmur cut it"


def test_a_microphone_pulled_out_is_noticed_told_aloud_and_used_again(card: SoundCard, tmp_path: Path) -> None:
    with Conversation(card, tmp_path) as talk:
        before = len(talk.ear.samples)
        card.unplug()
        until(lambda: sounding(talk.ear, before) > 0, 8, "nothing is said of the microphone that is gone")
        talk.wait_for_silence()
        card.plug()  # which moves our own ear to it
        until(lambda: "I can hear you again." in talk.log.read_text(), 15, "nothing is said of its return")
        with card.listen() as ear:
            talk.say("what time is it")
            until(lambda: sounding(ear, 0) > 0, 10, "it does not answer")
    faults = [packet for packet in talk.packets if isinstance(packet.data, Fault) and packet.data.where == "microphone"]
    assert "SourceLost" in [packet.data.error for packet in faults]
    assert any(back.where == "microphone" for back in talk.of(Recovered))
    said = " ".join(say.text for say in talk.of(Say))
    assert "cannot hear you" in said and "can hear you again" in said
    assert "what time is it" in [turn.text for turn in talk.of(TurnCommitted)]
    ends = [packet.t for packet in talk.packets if isinstance(packet.data, Audio)]
    assert all(0 < after - before < 1_000_000_000 for before, after in pairwise(ends)), "its stream goes on in silence"


def test_a_sound_server_that_dies_is_waited_for(card: SoundCard, tmp_path: Path) -> None:
    with Conversation(card, tmp_path) as talk:
        card.kill()
        until(lambda: "SourceLost" in talk.log.read_text(), 5, "nobody noticed")
        card.start()
        until(lambda: talk.log.read_text().count("speaker") > 1, 15, "nobody came back")
        until(lambda: recovered(talk, "microphone") and recovered(talk, "speaker"), 15, "both are not back")
        with card.listen() as ear:
            before = len(ear.samples)
            talk.say("what time is it")
            until(lambda: sounding(ear, before) > 0, 10, "it does not answer")
    where = {fault.where for fault in talk.of(Fault) if fault.error == "SourceLost"}
    assert where == {"microphone", "speaker"}
    assert talk.code == 143


def recovered(talk: Conversation, where: str) -> bool:
    """Whether the terminal tells that the device is back."""
    lines = talk.log.read_text().splitlines()
    lost = [place for place, line in enumerate(lines) if "SourceLost" in line and where in line]
    return bool(lost) and any(where in line and "SourceLost" not in line for line in lines[lost[-1] + 1 :])


def test_devices_are_listed_remembered_and_missed(card: SoundCard, tmp_path: Path) -> None:
    listed = child("live", "--list-devices")
    assert listed.returncode == 0 and "virtmic" in listed.stdout and "virtspk" in listed.stdout
    absent = child("live", "--microphone", "no such thing")
    assert absent.returncode == 2 and "no such thing" in absent.stderr and "virtmic" in absent.stderr
    assert not (tmp_path / "config" / "visavis" / "devices.toml").exists(), "only what works is remembered"
    with Conversation(card, tmp_path) as talk:
        pass
    remembered = (tmp_path / "config" / "visavis" / "devices.toml").read_text()
    assert 'microphone = "virtmic"' in remembered and 'loudspeaker = "virtspk"' in remembered
    assert any(gauge.name == "latency_ms" for gauge in talk.of(Gauge))


def test_times_agree_with_the_sample_count(card: SoundCard, tmp_path: Path) -> None:
    """The microphone's own clock and the session's: no block is lost, and none wanders."""
    with Conversation(card, tmp_path, "--set", "speech.engine=none", "--set", "turn_end.engine=none") as talk:
        talk.say("what time is it")
    blocks: list[Packet[Audio]] = [packet for packet in talk.packets if isinstance(packet.data, Audio)]
    assert not [fault for fault in talk.of(Fault) if fault.error == "SamplesLost"]
    assert all(before.data.end == after.data.start for before, after in pairwise(blocks))
    offsets = [packet.t - packet.data.end * 62_500 for packet in blocks]
    assert max(offsets) - min(offsets) < 20_000_000
