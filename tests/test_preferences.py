"""Preference data: what is told of how people took the answers, what is not, and in which form it leaves."""

import argparse
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.conductor import Conductor
from agent.config import Config
from agent.session import Log, Session
from agent.tuning.command import add
from agent.tuning.conversation import read
from agent.tuning.errors import TuningError
from agent.tuning.likeness import same_request
from agent.tuning.preferences import Preferences, preferences
from agent.tuning.reactions import Reaction, heard_of, reactions
from agent.tuning.redaction import names, redacted
from policies.reflex import Reflex, stop_words
from policies.turns import TurnTaker
from streams.errors import RecordingError
from streams.packet import Packet
from streams.recording import Header
from streams.topics import ACTION, FEEDBACK
from streams.types import Ask, Delta, Outcome, Played, Say, TurnCommitted
from tests.scenes import Percepts, spoken
from tests.sessions import STARTED, tape
from tests.talk import Mouth

LONG = "It is ten past four in the afternoon, and I could go on and on about what that means for you."
Scene = list[Any]


class Answers:
    """A policy that gives its answers one after the other."""

    wants_floor = False

    def __init__(self, answers: list[str]) -> None:
        self._answers = iter(answers)

    def observe(self, packet: Any) -> None:
        pass

    async def reply(self, turn: TurnCommitted) -> Any:
        yield Say(next(self._answers, "Very well."))


def record(
    path: Path,
    scene: Scene,
    answers: list[str],
    *,
    tail_ms: float = 40_000,
    change: Callable[[Log], None] | None = None,
) -> Path:
    log, words = Log(), stop_words("en")
    conductor = Conductor(TurnTaker(stop_words=words), Answers(answers), Reflex(words))
    Session(
        sources=[Percepts(scene, tail_ms)], encoders=[], conductor=conductor, body=Mouth(), taps=[log]
    ).run(speed=None)  # fmt: skip
    if change is not None:
        change(log)
    tape(path, list(log.packets), header=Header(started=STARTED, config=Config().text()))
    return path


def told(tmp_path: Path, scene: Scene, answers: list[str], **how: Any) -> list[Reaction]:
    return reactions(read(record(tmp_path / "r.mcap", scene, answers, **how)))


def exported(tmp_path: Path, scene: Scene, answers: list[str], *, redacting: bool = False, **how: Any) -> Preferences:
    return preferences([read(record(tmp_path / "r.mcap", scene, answers, **how))], redacting=redacting)


ASKED = spoken(1, 1000, 2500, "what time is it in paris")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("thank you very much", "thanked"),
        ("okay great thanks", "thanked"),
        ("yes okay", "agreed"),
        ("what time is it in paris", "repeated"),
        ("please tell me the time in paris", "rephrased"),
        ("no i meant in london", "corrected"),
        ("turn on the lamp in the kitchen", "waited"),
    ],
)
def test_what_people_say_next_tells_how_they_took_the_answer(tmp_path: Path, said: str, name: str) -> None:
    first, *_ = told(tmp_path, [*ASKED, *spoken(2, 8000, 9500, said)], ["It is ten past four."])
    assert (first.name, first.said, first.heard) == (name, said, "It is ten past four.")
    assert first.whole
    assert first.label is (name in {"thanked", "agreed", "waited"})


@pytest.mark.parametrize(
    ("scene", "why"),
    [
        (ASKED, "nobody said anything more"),
        ([*ASKED, *spoken(2, 50_000, 51_000, "turn on the lamp")], "what came next came much later"),
        ([*ASKED, *spoken(2, 8000, 9000, "what time is it in two paris")], "a like request with another number"),
        ([*ASKED, *spoken(2, 8000, 9000, "", guess="a b c")], "what came next was not understood"),
    ],
)
def test_what_cannot_be_told_is_left_out_and_says_why(tmp_path: Path, scene: Scene, why: str) -> None:
    first, *_ = told(tmp_path, scene, ["It is ten past four."])
    assert first.name == ""
    assert first.label is None
    assert first.why.startswith(why)


def test_to_ask_again_for_what_was_done_is_no_refusal(tmp_path: Path) -> None:
    def done(log: Log) -> None:
        place = next(at for at, packet in enumerate(log.packets) if isinstance(packet.data, Say))
        say = log.packets[place]
        outcome = Outcome(1, 99, "Command", "turn", "done")
        log.packets.insert(place, Packet(FEEDBACK, say.t, say.at, 0, 0, outcome))
        numbered(log)

    again = spoken(2, 8000, 9500, "what time is it in paris")
    first, *_ = told(tmp_path, [*ASKED, *again], ["Done."], change=done)
    assert (first.name, first.why) == ("", "asked again for what was done")
    greeting = [*spoken(1, 1000, 2000, "hello there"), *spoken(2, 8000, 9000, "hello there")]
    first, *_ = told(tmp_path, greeting, ["Hello."])
    assert (first.name, first.why) == ("", "a greeting again")


def numbered(log: Log) -> None:
    """Give the packets of `log` new numbers after some were put in."""
    seqs: dict[str, int] = {}
    packets = list(log.packets)
    log.packets.clear()
    for order, packet in enumerate(packets):
        seq = seqs.get(packet.topic.name, 0)
        seqs[packet.topic.name] = seq + 1
        log.packets.append(Packet(packet.topic, packet.t, packet.at, seq, order, packet.data))


def test_a_recording_that_ends_tells_nothing(tmp_path: Path) -> None:
    (only,) = told(tmp_path, ASKED, ["It is ten past four."], tail_ms=5000)
    assert (only.name, only.why) == ("", "the recording ends")


def test_an_interruption_tells_how_far_the_answer_was_heard(tmp_path: Path) -> None:
    first, *_ = told(tmp_path, [*ASKED, *spoken(2, 5500, 7000, "turn on the lamp in the kitchen")], [LONG])
    assert first.name == "interrupted"
    assert first.evidence["reason"] == "interruption"
    assert 0 < first.evidence["heard_words"] < first.evidence["said_words"] == len(LONG.split())
    assert 1 < first.evidence["into_s"] < 5
    assert LONG.startswith(first.heard)
    assert f"{first.heard} {first.unheard}" == LONG


def test_a_stop_is_an_interruption(tmp_path: Path) -> None:
    first, *_ = told(tmp_path, [*ASKED, *spoken(2, 5500, 5900, "stop")], [LONG])
    assert (first.name, first.evidence["reason"]) == ("interrupted", "stop")


def test_who_was_cut_off_himself_does_not_refuse_the_answer(tmp_path: Path) -> None:
    scene = [
        *spoken(1, 1000, 2500, "set a timer for", complete=False, p_end=0.99),
        *spoken(2, 4200, 5400, "ten minutes please", complete=False),
    ]
    first, second, *_ = told(tmp_path, scene, [LONG, "It is set."], tail_ms=40_000)
    assert (first.name, first.why) == ("", "the person had not finished")
    assert second.why == "nobody said anything more"


def test_a_pair_is_two_answers_to_the_same_request(tmp_path: Path) -> None:
    scene = [
        *spoken(1, 1000, 2000, "good morning"),
        *spoken(2, 6000, 7500, "what time is it in paris"),
        *spoken(3, 10_500, 12_000, "please tell me the time in paris"),
        *spoken(4, 18_000, 19_000, "thank you"),
    ]
    found = exported(tmp_path, scene, ["Good morning.", LONG, "Ten past five.", "You are welcome."])
    (pair,) = found.pairs
    assert pair["prompt"] == [
        {"role": "user", "content": "good morning"},
        {"role": "assistant", "content": "Good morning."},
        {"role": "user", "content": "what time is it in paris"},
    ]
    assert pair["chosen"] == [{"role": "assistant", "content": "Ten past five."}]
    (rejected,) = pair["rejected"]
    assert rejected["role"] == "assistant"
    assert LONG.startswith(rejected["content"]) and rejected["content"] != LONG
    facts = pair["metadata"]
    assert facts["recording"] == hashlib.sha256((tmp_path / "r.mcap").read_bytes()).hexdigest()
    assert (facts["turn"], facts["chosen_turn"]) == (2, 3)
    assert (facts["reaction"], facts["chosen_reaction"]) == ("rephrased", "thanked")
    assert f"{rejected['content']} {facts['unheard']}" == LONG
    assert facts["asked_s"] < facts["start_s"] < facts["end_s"] < facts["chosen_start_s"] < facts["chosen_end_s"]
    assert found.turns == 4
    assert found.paired == 2
    assert [record["label"] for record in found.unpaired] == [True]  # good morning, and then something else
    assert found.told() == "4 turns: 1 pair (2 turns), 1 unpaired, 1 not told (1 nobody said anything more)"


@pytest.mark.parametrize(
    ("third", "answers"),
    [
        ("please tell me the time in paris", [LONG, LONG]),  # it is refused as well: repeated
        ("thank you", ["It is four.", "It is four."]),  # the same answer twice
    ],
)
def test_no_pair_without_a_better_answer(tmp_path: Path, third: str, answers: list[str]) -> None:
    scene = [*ASKED, *spoken(2, 8500, 9800, "what time is it in paris"), *spoken(3, 16_500, 18_000, third)]
    found = exported(tmp_path, scene, [*answers, answers[0], "Hm."])
    assert found.pairs == ()


def test_the_better_answer_may_come_at_the_third_try(tmp_path: Path) -> None:
    scene = [
        *ASKED,
        *spoken(2, 8500, 9800, "what time is it in paris"),
        *spoken(3, 14_000, 15_500, "please tell me the time in paris"),
        *spoken(4, 20_000, 21_000, "thank you"),
    ]
    found = exported(tmp_path, scene, ["I am fine.", "Who knows.", "Ten past five."])
    assert [(pair["rejected"][0]["content"], pair["chosen"][0]["content"]) for pair in found.pairs] == [
        ("I am fine.", "Ten past five."),
        ("Who knows.", "Ten past five."),
    ]


def test_a_correction_is_a_pair_only_if_the_request_is_the_same(tmp_path: Path) -> None:
    other = [*ASKED, *spoken(2, 8000, 9500, "no i meant the weather in rome"), *spoken(3, 15_000, 16_000, "thanks")]
    assert exported(tmp_path, other, ["Four.", "It rains."]).pairs == ()
    same = [*ASKED, *spoken(2, 8000, 9500, "no i meant the time in paris"), *spoken(3, 15_000, 16_000, "thanks")]
    (pair,) = exported(tmp_path, same, ["Four.", "Ten past five."]).pairs
    assert pair["metadata"]["reaction"] == "corrected"


def test_the_prompt_is_what_the_model_was_asked(tmp_path: Path) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}}
    asked = [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": [{"type": "text", "text": "what time is it in paris"}, picture]},
    ]

    def with_model(log: Log) -> None:
        commit = next(packet for packet in log.packets if isinstance(packet.data, TurnCommitted))
        early = Ask({"messages": [{"role": "user", "content": "what time"}]}, purpose="draft", turn=1, id=90)
        place = log.packets.index(commit)
        new: list[tuple[int, Any, Any]] = [
            (place, ACTION, early),
            (place + 1, ACTION, Ask({"messages": asked}, turn=1, id=91)),
            (place + 1, FEEDBACK, Delta(1, 91, 0, "It is *four*.")),
            (place + 1, FEEDBACK, Delta(1, 91, 1, " Or so, I think.")),
        ]
        for at, topic, data in reversed(new):
            log.packets.insert(at, Packet(topic, commit.t, commit.at, 0, 0, data))
        numbered(log)

    scene = [*ASKED, *spoken(2, 8000, 9000, "thank you")]
    first, *_ = exported(tmp_path, scene, ["It is four."], change=with_model).unpaired
    assert first["prompt"][0] == asked[0]
    assert first["prompt"][1]["content"][0] == {"type": "text", "text": "what time is it in paris"}
    assert "base64" not in json.dumps(first)
    assert first["completion"] == [{"role": "assistant", "content": "It is four."}]
    assert first["label"] is True
    assert first["metadata"]["generated"] == "It is *four*. Or so, I think."


def test_heard_is_written_as_the_text_was() -> None:
    say = Say('Well, "ten past four" - I think.', 1, 1)
    words = [Played(1, 1, place, word, 0, 0) for place, word in enumerate(["Well", "ten", "past", "four"])]
    assert heard_of(say, words, False) == ('Well, "ten past four"', "- I think.")
    assert heard_of(say, [], False) == ("", say.text)
    assert heard_of(say, [], True) == (say.text, "")


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        ("what time is it", "what time is it", "same"),
        ("can you tell me the weather in berlin", "the weather in berlin please", "rephrased"),
        ("show me the red ball on the table", "look for the red ball table", "rephrased"),
        ("turn left", "turn right", "other"),
        ("set a timer for five minutes", "set a timer for ten minutes", "changed"),
        ("turn on the lamp", "turn off the lamp", "changed"),
        ("what time is it", "tell me a story", "other"),
        ("", "what time is it", "other"),
    ],
)
def test_likeness(one: str, other: str, what: str) -> None:
    assert same_request(one, other, "en") == what


def test_redaction_takes_numbers_and_names() -> None:
    known = names(["Please call Anna Miller on Monday.", "She is here. I'm sure."])
    assert known == {"anna", "miller", "monday"}
    assert redacted("call anna's phone at 0170 12 34", known, "en") == "call <name> phone at <number>"
    assert redacted("in twenty five minutes, Anna Miller", known, "en") == "in <number> minutes, <name>"
    assert redacted("She is sure.", known, "en") == "She is sure."


def test_redaction_reaches_every_text_of_a_record(tmp_path: Path) -> None:
    scene = [
        *spoken(1, 1000, 2500, "call anna at four"),
        *spoken(2, 9000, 10_500, "no i said call anna at four"),
        *spoken(3, 16_000, 17_000, "thank you"),
    ]
    found = exported(tmp_path, scene, ["I tell Anna at 5.", "I call Anna at 4."], redacting=True)
    text = json.dumps(found.pairs)
    assert len(found.pairs) == 1
    assert "<name>" in text
    assert "<number>" in text
    assert "nna" not in text
    assert "at 4" not in text and "at 5" not in text and "four" not in text
    assert found.pairs[0]["metadata"]["start_s"] > 0


def command(*given: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers(required=True))
    return parser.parse_args(["preferences", *given])


def run(*given: str) -> int:
    arguments = command(*given)
    return int(arguments.command(arguments))


def test_the_command_writes_lines_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = [*ASKED, *spoken(2, 8000, 9500, "tell me the time in paris"), *spoken(3, 14_000, 15_000, "thank you")]
    path = record(tmp_path / "r.mcap", scene, ["I am fine.", "Ten past five."])
    assert run(str(path), str(path), "--out", str(tmp_path / "p.jsonl")) == 0
    (pair,) = map(json.loads, (tmp_path / "p.jsonl").read_text().splitlines())
    assert set(pair) == {"prompt", "chosen", "rejected", "metadata"}
    output = capsys.readouterr()
    assert "3 turns: 1 pair (2 turns), 0 unpaired, 1 not told" in output.out
    assert "counts once" in output.err
    assert run(str(path), "--unpaired") == 0
    output = capsys.readouterr()
    assert output.out == ""
    assert "3 turns" in output.err


def test_wrong_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot read"):
        run(str(tmp_path / "none.mcap"))
    (tmp_path / "text.mcap").write_text("this is no recording")
    with pytest.raises(RecordingError, match="no recording"):
        run(str(tmp_path / "text.mcap"))
    quiet = record(tmp_path / "quiet.mcap", [], [], tail_ms=100)
    with pytest.raises(TuningError, match="never spoke"):
        run(str(quiet))


def test_a_torn_recording_is_read_as_far_as_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = [*ASKED, *spoken(2, 8000, 9000, "thank you"), *spoken(3, 20_000, 21_000, "turn left")]
    path = record(tmp_path / "r.mcap", scene, ["It is ten past four."])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    assert run(str(path), "--unpaired") == 0
    assert "is torn" in capsys.readouterr().err
