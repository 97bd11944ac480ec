"""Sound over WebRTC, as far as that needs no browser: orders, losses, what is sent again, and what is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import config
from agent.console import protocol
from agent.console.in_order import DEPTH, InOrder
from agent.console.settings import ConsoleConfig
from agent.console.voice_line import FRAME_BYTES, VoiceLine
from streams.clock import MS, SECOND, Clock, run
from streams.errors import DependencyMissing


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 2)), min_size=1, max_size=60))
def test_blocks_come_out_once_and_in_order_and_only_what_never_came_is_missing(
    fates: list[tuple[bool, bool, int]],
) -> None:
    sent: list[tuple[int, int]] = []  # (when it arrives, number), of a block and its copy
    for number, (first, second, late) in enumerate(fates):
        if first:
            sent.append((2 * number + late, number))
        if second:
            sent.append((2 * number + 5, number))
    order: InOrder[int] = InOrder()
    out = [number for _, each in sorted(sent) for number, _ in order.put(each, each)]
    assert out == sorted(set(out))
    came = {number for _, number in sent}
    begin = sorted(sent)[0][1] if sent else 0
    end = max(came, default=0) - DEPTH
    assert {n for n in came if begin <= n <= end} <= set(out)


def test_nothing_waits_where_nothing_is_lost_and_a_loss_waits_for_its_copy() -> None:
    order: InOrder[str] = InOrder()
    assert [order.put(n, "") for n in (7, 8, 7, 9)] == [[(7, "")], [(8, "")], [], [(9, "")]]
    assert order.put(11, "b") == []
    assert order.put(12, "c") == []
    assert order.put(10, "a") == [(10, "a"), (11, "b"), (12, "c")]
    assert [order.put(n, "") for n in (14, 15)] == [[], []]
    assert [n for n, _ in order.put(16, "")] == [14, 15, 16]
    assert order.given_up == 1
    assert order.put(13, "") == []
    assert [n for n, _ in order.put(5000, "")] == [5000]  # another stream
    assert [n for n, _ in order.put(0, "")] == [0]


class Pipe:
    """A channel that keeps what it is given."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.waiting: int | None = 0

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)
        assert self.waiting is not None
        self.waiting += len(frame)


class Page:
    """The other end of a `VoiceLine`."""

    def __init__(self, clock: Clock, ordered: bool = True) -> None:
        self.frames: list[bytes] = []
        self.told: list[protocol.ToPage] = []
        self.pipe = Pipe()
        self.line = VoiceLine(self.frames.append, self.told.append, clock, ordered)

    @staticmethod
    def read(frames: list[bytes]) -> list[tuple[int, int, int]]:
        """Epoch, number and index of frames."""
        heads = [protocol._SOUND.unpack_from(frame) for frame in frames]
        return [(epoch, sequence, index) for _, epoch, _, sequence, index in heads]


SOUND = np.arange(3 * 542, dtype=np.int16)


def test_a_page_without_a_channel_gets_frames_as_they_are() -> None:
    async def main() -> None:
        clock = Clock()
        page = Page(clock, ordered=False)
        page.line.skip()
        page.line.channel = page.pipe
        page.line.play(SOUND, 16_000, 5)
        assert page.read(page.frames) == [(1, 0, 5)]
        await clock.sleep_until(SECOND)
        assert page.told == []
        assert page.pipe.frames == []

    run(main(), virtual=True)


def test_frames_fit_a_datagram_wait_for_the_channel_and_then_go_the_other_way() -> None:
    async def main() -> None:
        clock = Clock()
        page = Page(clock)
        page.line.channel = page.pipe
        page.line.play(SOUND, 16_000, 0)
        page.line.play(SOUND, 16_000, 1626)
        assert max(map(len, page.pipe.frames)) <= FRAME_BYTES
        assert page.read(page.pipe.frames) == [(0, 0, 0), (0, 1, 542), (0, 2, 1084)]
        assert page.frames == []
        page.pipe.waiting = 0
        page.line.pump()
        assert len(page.pipe.frames) == 6
        page.line.play(SOUND, 16_000, 3200)
        await clock.sleep_until(150 * MS)
        assert page.frames == []
        await clock.sleep_until(400 * MS)
        assert [sequence for _, sequence, _ in page.read(page.frames)] == [6, 7, 8]
        assert [each.sequence for each in page.told if isinstance(each, protocol.Sent)][-1] == 9
        samples = [np.frombuffer(frame[16:], "<i2") for frame in page.pipe.frames + page.frames]
        assert np.array_equal(np.concatenate(samples), np.tile(SOUND, 3))

    run(main(), virtual=True)


def test_what_is_missing_is_sent_again_but_not_what_a_flush_made_void() -> None:
    async def main() -> None:
        clock = Clock()
        page = Page(clock)
        page.line.channel = page.pipe
        page.line.play(SOUND, 16_000, 0)
        page.line.resend([1, 2, 99, -1])
        assert page.frames == page.pipe.frames[1:3]
        assert page.line.cut() == (1, 3)
        page.line.resend([0, 1])
        assert len(page.frames) == 2
        page.line.play(SOUND, 16_000, 9000)
        page.line.resend([3])  # it waits, and has not been sent
        assert len(page.frames) == 2
        page.pipe.waiting = 0
        page.line.pump()
        assert page.read(page.pipe.frames[3:]) == [(1, 3, 9000), (1, 4, 9542), (1, 5, 10084)]
        page.line.skip()
        assert page.told[-1] == protocol.Skip(2, 6)
        page.line.close()

    run(main(), virtual=True)


def test_a_channel_that_loses_most_rests_and_one_that_closes_is_not_waited_for() -> None:
    async def main() -> None:
        clock = Clock()
        page = Page(clock)
        page.line.channel = page.pipe
        for place in range(14):
            page.pipe.waiting = 0
            page.line.play(SOUND, 16_000, place * 1600)
            page.line.resend([3 * place, 3 * place + 1])
        before = len(page.pipe.frames)
        assert before < 42
        page.line.play(SOUND, 16_000, 50_000)
        assert len(page.pipe.frames) == before
        await clock.sleep_until(6 * SECOND)
        page.pipe.waiting = 0
        page.line.play(SOUND, 16_000, 60_000)
        assert len(page.pipe.frames) > before
        page.line.play(SOUND, 16_000, 70_000)
        page.pipe.waiting = None
        count = len(page.frames)
        page.line.pump()
        assert len(page.frames) == count + 3
        page.line.close()

    run(main(), virtual=True)


def test_webrtc_is_for_other_machines_and_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("starlette")
    from agent.console.host import Host

    def allowed(host: str, transport: str) -> bool:
        settings = config.load(None, [f"console.transport={transport}"])
        return Host(settings, recordings=tmp_path, host=host).room.peers is not None

    monkeypatch.delitem(sys.modules, "agent.console.peer", raising=False)
    monkeypatch.setitem(sys.modules, "aiortc", None)
    assert not allowed("0.0.0.0", "auto")
    assert not allowed("0.0.0.0", "websocket")
    with pytest.raises(DependencyMissing, match="webrtc"):
        allowed("127.0.0.1", "webrtc")
    monkeypatch.undo()
    pytest.importorskip("aiortc", reason="pip install 'visavis[webrtc]'")
    assert allowed("0.0.0.0", "auto")
    assert not allowed("127.0.0.1", "auto")
    assert allowed("127.0.0.1", "webrtc")
    assert ConsoleConfig().ice_servers == (), "nobody on the internet is asked"


@pytest.mark.parametrize(
    "sdp",
    [
        "",
        "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n",
        "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
        "v=0\r\nm=application x y z\r\na=fingerprint\r\na=setup:x\r\na=ice-ufrag:\r\n",
        "v=0\r\nm=application 9 UDP/DTLS/SCTP x\r\n" + 40 * "a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n",
    ],
)  # fmt: skip
def test_an_offer_that_is_none_is_refused_in_words(sdp: str) -> None:
    pytest.importorskip("aiortc", reason="pip install 'visavis[webrtc]'")
    from agent.console.peer import Peer

    async def main() -> None:
        peer = Peer((), lambda data: None)
        try:
            with pytest.raises(protocol.ProtocolError, match="offer"):
                await peer.answer(sdp)
            assert peer.waiting is None
            peer.send(b"nobody")
        finally:
            await peer.close()

    run(main())
