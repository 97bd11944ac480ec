"""A sound card that exists only in software: a PulseAudio server of its own, for tests, benchmarks and browsers.

    paplay ─> mic_feed ─(monitor)─> virt_mic ─> the program under test ─> speaker ─(monitor)─> parec

What is played into `mic_feed` is what the microphone `virt_mic` hears, bit for bit at 16 kHz, mono, int16; what is
played to `speaker` can be heard there. Every card is a process with a folder and a socket of its own, so that any
number may run. PortAudio knows them as "virtmic" and "virtspk", miniaudio and browsers as "VirtMic" and "Speaker".
"""

import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
import pytest
from numpy.typing import NDArray

Samples = NDArray[np.int16]

MIC_RATE = 16_000
NEEDED = ("pulseaudio", "pactl", "paplay", "parec")
FIRST = ("nice", "-n", "-11")  # hardware is not late because the machine is busy; where we may not ask, it is
INSTALL = "apt-get install --no-install-recommends pulseaudio pulseaudio-utils libasound2-plugins libportaudio2"
ASOUND = """
pcm.virtmic {{ type pulse; device "virt_mic"; server "{0}"; hint {{ show on; description "VirtMic" }} }}
pcm.virtspk {{ type pulse; device "speaker"; server "{0}"; hint {{ show on; description "VirtSpeaker" }} }}
pcm.spkmon {{ type pulse; device "speaker.monitor"; server "{0}"; hint {{ show on; description "Monitor" }} }}
pcm.!default {{ type pulse; server "{0}"; hint {{ show on; description "Default" }} }}
"""


class SoundCard:
    """One server; use as a context manager, or through `sound_card`.

    speaker_rate, speaker_channels: of the sink `speaker`; at the voice's rate and mono it is bit exact
    folder: where the server keeps its files;  environment: what a child process needs to find the card
    """

    def __init__(self, speaker_rate: int = 48_000, speaker_channels: int = 2) -> None:
        self.speaker_rate, self.speaker_channels = speaker_rate, speaker_channels
        self.folder = Path(tempfile.mkdtemp(prefix="card-"))
        self.server = f"unix:{self.folder}/native"
        (self.folder / "asound.conf").write_text(ASOUND.format(self.server))
        self._daemon: subprocess.Popen[bytes] | None = None
        self._modules: dict[str, str] = {}
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this process, with the card in it."""
        return {**os.environ, **self.variables}

    @property
    def variables(self) -> dict[str, str]:
        """What leads PulseAudio's and ALSA's clients to this card, and to no other."""
        return {
            "PULSE_SERVER": self.server,
            "PULSE_COOKIE": str(self.folder / "cookie"),
            "PULSE_RUNTIME_PATH": str(self.folder / "run"),
            "PULSE_STATE_PATH": str(self.folder / "run"),
            "ALSA_CONFIG_PATH": f"/usr/share/alsa/alsa.conf:{self.folder}/asound.conf",
            "JACK_NO_START_SERVER": "1",
        }

    def __enter__(self) -> "SoundCard":
        self.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for child in self._children:
            child.kill()
            child.wait()
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- the server

    def start(self) -> None:
        """Start the server (again, after `kill`): feed, microphone and speaker are there when this returns."""
        (self.folder / "run").mkdir(exist_ok=True)
        (self.folder / "native").unlink(missing_ok=True)
        command = [
            "pulseaudio",
            "-n",
            "--daemonize=no",
            "--use-pid-file=no",
            "--exit-idle-time=-1",
            "--disable-shm=yes",
        ]
        command += ["--realtime=no", "--high-priority=no", "--log-target=stderr", "--log-level=error"]
        command += ["-L", f"module-native-protocol-unix auth-anonymous=1 socket={self.folder}/native"]
        with (self.folder / "log").open("ab") as log:
            self._daemon = subprocess.Popen(
                command, env={**self.environment, "HOME": str(self.folder)}, stdout=log, stderr=log
            )
        until(lambda: self._pactl("info", check=False).returncode == 0, 10, "PulseAudio does not answer")
        self._modules.clear()
        feed = f"sink_name=mic_feed norewinds=1 rate={MIC_RATE} channels=1 format=s16le"
        self._load("mic_feed", "module-null-sink", feed, "sink_properties=device.description=MicFeed")
        self.plug()
        speaker = (
            f"sink_name=speaker norewinds=1 rate={self.speaker_rate} channels={self.speaker_channels} format=s16le"
        )
        self._load("speaker", "module-null-sink", speaker, "sink_properties=device.description=Speaker")
        self._pactl("set-default-sink", "speaker")

    def kill(self) -> None:
        """The server dies, as by a crash."""
        if self._daemon is not None:
            self._daemon.send_signal(signal.SIGKILL)
            self._daemon.wait()
            self._daemon = None

    def freeze(self) -> None:
        """The server hangs, and answers nobody."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """The server goes on."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGCONT)

    def unplug(self) -> None:
        """The microphone is pulled out."""
        self._unload("virt_mic")

    def plug(self) -> None:
        """The microphone is put in (again)."""
        self._load("virt_mic", "module-remap-source", "source_name=virt_mic master=mic_feed.monitor",
                   "source_properties=device.description=VirtMic")  # fmt: skip
        self._pactl("set-default-source", "virt_mic")

    def echo(self, latency_ms: int = 40) -> None:
        """The microphone hears the speaker from now on."""
        self._load("echo", "module-loopback", "source=speaker.monitor sink=mic_feed",
                   f"latency_msec={latency_ms} adjust_time=0")  # fmt: skip

    def no_echo(self) -> None:
        """The microphone no longer hears the speaker."""
        self._unload("echo")

    def _load(self, name: str, *words: str) -> None:
        self._modules[name] = self._pactl("load-module", *words).stdout.decode().strip()

    def _unload(self, name: str) -> None:
        self._pactl("unload-module", self._modules.pop(name))

    def _pactl(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["pactl", *words], env=self.environment, capture_output=True, check=check, timeout=10)

    # --- speaking and hearing

    def say(self, samples: Samples, rate: int = MIC_RATE, sink: str = "mic_feed") -> subprocess.Popen[bytes]:
        """Somebody speaks int16[samples] into the microphone; `wait()` on the result until it is said."""
        path = self.folder / f"said-{len(self._children)}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(samples.astype("<i2").tobytes())
        command = [*FIRST, "paplay", f"--device={sink}", "--latency-msec=200", str(path)]
        child = subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL)
        self._children.append(child)
        return child

    def listen(self, rate: int | None = None, source: str = "speaker.monitor") -> "Ear":
        """Listen at the speaker from now on; a context manager. rate: Hertz (None: the speaker's own)"""
        return Ear(self, rate or self.speaker_rate, source)

    @contextmanager
    def here(self) -> Iterator[None]:
        """Lead this process to the card too. PortAudio must be initialised again to see it (our backends do)."""
        before = {name: os.environ.get(name) for name in self.variables}
        os.environ.update(self.variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


class Ear:
    """Records what a source of the card gives, mono.

    began: `time.monotonic_ns()` when the first samples came
    """

    def __init__(self, card: SoundCard, rate: int, source: str) -> None:
        self.rate = rate
        self._card = card
        self._path = card.folder / f"heard-{len(card._children)}.raw"
        self._source = source

    def __enter__(self) -> "Ear":
        command = [*FIRST, "parec", f"--device={self._source}", f"--rate={self.rate}", "--channels=1", "--format=s16le"]
        with self._path.open("wb") as file:
            command.append("--latency-msec=10")
            self._child = subprocess.Popen(command, env=self._card.environment, stdout=file, stderr=subprocess.DEVNULL)
        self._card._children.append(self._child)
        until(lambda: self._path.stat().st_size > 0, 5, "parec hears nothing")
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._child.terminate()
        self._child.wait()

    @property
    def samples(self) -> Samples:
        """int16[samples] so far."""
        data = self._path.read_bytes()
        return np.frombuffer(data[: len(data) // 2 * 2], "<i2")


def undisturbed(test: Callable[..., None]) -> Callable[..., None]:
    """A test of what is exact at a sound card, and is so only while the machine leaves everybody his time.

    One of three tries has to pass: what is wrong, and not only late, fails in all of them.
    """

    @functools.wraps(test)
    def tried(*args: object, **options: object) -> None:
        for _ in range(2):
            try:
                return test(*args, **options)
            except AssertionError:
                pass
        return test(*args, **options)

    return tried


def until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until `true()`; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} within {seconds} s")
        time.sleep(0.01)


def missing() -> str:
    """Why there can be no card here; "" if there can."""
    absent = [name for name in NEEDED if shutil.which(name) is None]
    return f"{', '.join(absent)} not found: {INSTALL}" if absent else ""


@contextmanager
def sound_card(speaker_rate: int = 48_000, speaker_channels: int = 2) -> Iterator[SoundCard]:
    """A card that this process and its children use; skips the test, saying why, where PulseAudio is not installed."""
    if missing():
        pytest.skip(missing())
    with SoundCard(speaker_rate, speaker_channels) as card, card.here():
        yield card
