"""A film through the whole agent: two people come in, somebody asks how many, and the replay sees the same."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streams.recording import Recording
from streams.types import Faces, Say, TurnCommitted
from tests.composed import Said, compose, read_wav
from tests.dialogues import parts, visavis
from tests.model_files import model_file

cv2 = pytest.importorskip("cv2", reason="needs OpenCV: pip install 'visavis[vision]'")
pytest.importorskip("espeakng_loader")
pytestmark = pytest.mark.usefixtures(parts.__name__)
__all__ = ["parts"]

HZ = 15


def film(path: Path, sound: Path, two: Path) -> None:
    """An empty room, from 4 s on the picture `two`, and the sound of the file `sound`, sample by sample."""
    samples, rate = read_wav(sound)
    people = cv2.resize(cv2.imread(str(two)), (640, 376))
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=HZ)
        pictures.width, pictures.height, pictures.pix_fmt, pictures.bit_rate = 640, 376, "yuv420p", 4_000_000
        track = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        for number in range(round(len(samples) / rate * HZ)):
            shown = people if number >= 4 * HZ else np.full_like(people, 90)
            frame = av.VideoFrame.from_ndarray(shown, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, HZ)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        container.mux(track.encode(frame))
        container.mux(track.encode(None))


def test_how_many_people_are_here(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VISAVIS_MODELS", str(model_file("yunet").parent), prepend=":")
    question = "how many people are here"
    sound = compose(tmp_path, [Said(0.5, question), Said(6.0, question)], length=9.0, name="scene")
    clip, recording = tmp_path / "scene.mkv", tmp_path / "scene.mcap"
    film(clip, sound, shared_data / "faces" / "two_people.jpg")
    settings = ["speech.engine=score", f"speech.jsgf={sound.with_suffix('.json')}", "faces.engine=yunet"]
    options = [part for one in settings for part in ("--set", one)]
    assert visavis("run", "--video", str(clip), "--quiet", "--record", str(recording), *options) == 0
    packets = list(Recording.open(recording).packets())
    told = [packet.data for packet in packets]
    assert [each.text for each in told if isinstance(each, TurnCommitted) and each.text] == [question] * 2
    assert [each.text for each in told if isinstance(each, Say)] == [
        "I see nobody.",
        "I see two people, one on my left and one on my right.",
    ]
    looks = [(packet.t / 1e9, len(packet.data.faces)) for packet in packets if isinstance(packet.data, Faces)]
    first = next(t for t, count in looks if count)
    assert 4.0 <= first <= 4.3 and {count for t, count in looks if t > 4.3} == {2}
    capsys.readouterr()
    assert visavis("replay", str(recording)) == 0
    out = capsys.readouterr().out
    assert "identical: sha256" in out and "percept differs" not in out
