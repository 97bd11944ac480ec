"""A conversation through a browser measured at the sound card: `visavis live --web`, real Chromium, no echo.

    python -m benchmarks.browser [--minutes 1.5] [--flags=--audio-buffer-size=256] [--keep FOLDER] [-- OPTIONS]

The person of `benchmarks.live` asks, interrupts and murmurs; sound is measured where it goes into the microphone's feed
and where it comes out of the speaker, on one time line. What the ledger says was heard is compared with the speaker's
sound for everything that was said (`tests.browser_ledger`). OPTIONS are those of `visavis live --web`.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live import BLOCK, RATE, Person, Room, at_the_card, figures, spread, voices
from streams.recording import Recording
from streams.types import Hush, Outcome, PlayStarted, TurnCommitted
from tests.browser_ledger import check
from tests.browser_room import Program, browsing
from tests.sound_card import SoundCard

QUIET = np.zeros(BLOCK)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.5)
    parser.add_argument("--flags", action="append", default=[], help="of Chromium, such as --audio-buffer-size=256")
    parser.add_argument("--raw", action="store_true", help="the browser leaves the microphone's sound as it is")
    parser.add_argument("--noise", type=float, default=-60.0, help="dB of full scale")
    parser.add_argument("--keep", help="folder for the recording")
    parser.add_argument("options", nargs="*", help="more options of `visavis live --web`, after --")
    arguments = parser.parse_args()
    folder = Path(arguments.keep or tempfile.mkdtemp(prefix="browser-"))
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "recordings", ignore_errors=True)
    with SoundCard() as card, card.here():
        program = Program(folder, dict(os.environ), *arguments.options)
        with browsing(*arguments.flags) as browser:
            room, person = _talk(browser.new_page(), program, card, arguments)
            feed, heard = room.close()
        program.end()
    recording = max((folder / "recordings").glob("*.mcap"))
    print(f"said: {json.dumps(_counts(person))}; kept in {folder}")
    for name, values in figures(at_the_card(person.said, np.concatenate(room.spoke), feed), heard).items():
        print(f"{name:15} {spread(values)}")
    for name, values in _own(recording).items():
        print(f"{name:15} {spread(values)}")
    np.save(folder / "heard.npy", np.rint(heard).astype(np.int16))
    found = check(recording, np.rint(heard).astype(np.int16))
    wrong = [each for each in found if each.wrong]
    cuts = [each for each in found if each.status == "cut"]
    print(f"ledger          {len(wrong)} of {len(found)} not true ({len(cuts)} were cut)")
    for each in wrong:
        print(f"                {each.wrong}")
    return 1 if wrong else 0


def _talk(page: Any, program: Program, card: SoundCard, arguments: argparse.Namespace) -> tuple[Room, Person]:
    if arguments.raw:
        page.add_init_script('localStorage.setItem("visavis", JSON.stringify({processing: false}))')
    page.goto(program.address)
    page.click("#watch-only")
    page.click("#record")
    page.wait_for_selector("#recording-sign:not([hidden])")
    page.click("#talk")
    page.wait_for_selector("#mute:not([hidden])")
    room = Room(card, np.zeros(1), 32768 * 10 ** (arguments.noise / 20))
    person = Person(voices())
    for _ in range(100):
        room.step(QUIET)
    ends = room.now + round(arguments.minutes * 60 * RATE)
    played = QUIET
    while room.now < ends and program.process.poll() is None:
        played = room.step(person.block(played, room.now))
    for _ in range(100):
        room.step(QUIET)
    print("page: " + page.locator("#figures").evaluate("(e) => [...e.children].map((c) => c.textContent).join(' ')"))
    page.click("#record")
    page.wait_for_selector("#recording-sign", state="hidden")
    return room, person


def _own(recording: Path) -> dict[str, list[float]]:
    """From the agent's own log, ms: what of the times at the card is its waiting, and its way to the speaker."""
    found: dict[str, list[float]] = {"wait for end": [], "to first sound": [], "cut told after": []}
    committed: dict[int, int] = {}
    hushed: dict[int, int] = {}
    for packet in Recording.open(recording).packets():
        match packet.data:
            case TurnCommitted(turn=turn, end_ns=end):
                committed[turn] = packet.at
                found["wait for end"].append((packet.at - end) / 1e6)
            case PlayStarted(turn=turn) if turn in committed:
                found["to first sound"].append((packet.t - committed.pop(turn)) / 1e6)
            case Hush(turn=turn):
                hushed[turn] = packet.at
            case Outcome(action="Say", status="cut", turn=turn) if turn in hushed:
                found["cut told after"].append((packet.at - hushed[turn]) / 1e6)
    return found


def _counts(person: Person) -> dict[str, int]:
    kinds = [each.kind for each in person.said]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


if __name__ == "__main__":
    sys.exit(main())
