"""A request keeps within its budget and loses no outcome, whatever happened."""

import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from policies.llm import untrusted
from policies.llm.budget import message_tokens, request_tokens, tokens
from policies.llm.prompt import Composer, OpenTurn, Round, Used
from policies.llm.settings import LlmConfig
from policies.scene import Done
from streams.types import Call, Command, Fault, Halt, Manner, Offer, Offered, TurnDropped
from tests.test_prompt import OBJECT, Stage, composer

TEXT = st.one_of(
    st.text(max_size=60),
    st.text("ab 1<[]&\n", max_size=3000),
    st.sampled_from(["stop that", "what is the time in Rome", "月が地球を回っています。" * 30, "🤖" * 50, "x" * 9000]),
)
NAMES = st.sampled_from(["move", "set_timer", "read mail", "ä" * 70])
STATUS = st.sampled_from(["done", "failed", "refused", "timeout", "cut", "", "later"])
STEPS = st.lists(st.tuples(st.sampled_from("aaassccunf"), TEXT, NAMES, STATUS), max_size=60)


def played_out(steps: list[tuple[str, str, str, str]], keep: int) -> Stage:
    stage = Stage(keep=keep)
    stage(Offered("x", (Offer("move", "Go.", OBJECT, "command"), Offer("read mail", "Read.", OBJECT))))
    later: list[tuple[int, str, str]] = []
    for kind, text, name, status in steps:
        action = Command if name == "move" else Call
        match kind:
            case "a":
                stage.asks(text)
            case "s":
                stage.says(text, None if status == "done" else 2, "" if status in ("", "later") else status)
            case "c" if status in ("", "later"):
                number = stage.does(action, name, {"text": text})
                later += [(number, action.__name__, name)] if status == "later" else []
            case "c":
                stage.does(action, name, {"text": text}, status=status, detail=text, result=[text])
            case "u":
                stage.asks("", reason="unasked")
            case "n":
                stage(Halt(text))
                stage(TurnDropped(stage.turn, "aside", text))
            case "f":
                stage(Fault(name, text, text))
                for ended in later:
                    stage.ends(*ended, "done", text)
                later = []
    return stage


@settings(max_examples=150, deadline=None)
@given(STEPS, TEXT, st.integers(0, 6000), st.sampled_from([200, 200, 12]), st.booleans())
def test_within_the_budget_and_no_outcome_is_lost(
    steps: list[tuple[str, str, str, str]], text: str, more: int, keep: int, called: bool
) -> None:
    stage = played_out(steps, keep)
    turn = OpenTurn(stage.asks(text).turn, text)
    rounds: list[Round] = []
    if called:
        number = stage.does(Call, "read mail", {"text": text}, status="failed", detail=text)
        rounds = [Round((Used("x", "read_mail", "", number), Used("y", "z", text, 0, "refused", text)))]
    snapshot = stage.scene.snapshot()
    least = composer().least(snapshot, Manner(), turn, rounds=rounds)
    budget = max(256, least + more)
    made = composer(budget).request(snapshot, Manner(), turn, rounds=rounds)
    assert request_tokens(made) <= budget
    told = "\n".join(message["content"] for message in made["messages"])
    endings: dict[tuple[str, str], int] = {}
    for each in snapshot.forgotten:
        endings[each.name, each.status] = each.count
    for event in snapshot.events:
        if not isinstance(event, Done) or (called and event.id == rounds[0].used[0].action):
            continue
        if not re.search(rf"#{event.id} .*{event.status or '(begun|under way)'}", told):
            key = (event.name, event.status or "under way")
            endings[key] = endings.get(key, 0) + 1
    for (name, status), count in endings.items():
        counted = re.search(rf"{re.escape(name)} {status} (\d+) time", told)
        assert counted is not None and int(counted.group(1)) == count
    if called:
        assert [message["content"].split(",")[0] for message in made["messages"] if message["role"] == "tool"] == [
            "failed",
            "refused",
        ]


def test_the_shortest_request_is_short() -> None:
    """As `Composer.least` promises for Latin letters."""
    stage = played_out(
        [("a", "what " * 400, "", ""), ("s", "well " * 400, "", "done"), ("c", "x " * 900, "move", "failed")] * 60, 200
    )
    turn = OpenTurn(stage.asks("why " * 900).turn, "why " * 900)
    snapshot = stage.scene.snapshot()
    bare = composer().request(Stage().scene.snapshot(), Manner(), OpenTurn(1, ""))
    tools = composer().tools(snapshot, Manner())
    fixed = request_tokens({"messages": bare["messages"][:1], "tools": tools.schemas}) + 40
    assert composer().least(snapshot, Manner(), turn) <= fixed + 1200 + 40 + 3 * 200


def test_old_turns_are_condensed_only_as_far_as_needed_and_in_steps() -> None:
    """What a server has read stays the same from turn to turn, but when four more turns are condensed."""
    stage = Stage()
    before: list[Any] = []
    kept = 0
    for number in range(60):
        text = f"question number {number} about the history of the world and all that is in it"
        turn = stage.asks(text)
        made = composer(2000).request(stage.scene.snapshot(), Manner(), OpenTurn.of(turn))["messages"]
        kept += [message["content"] for message in before[:-1]] == [m["content"] for m in made[: len(before) - 1]]
        assert request_tokens({"messages": made}) <= 2000
        before = made
        stage.says(f"Answer number {number}, which is neither short nor very long.")
    assert kept >= 60 * 3 // 4 - 1
    assert "Asked: question number 39 about history world" in before[1]["content"]
    assert "question number 15" not in before[1]["content"] and "question number 16" in before[1]["content"]
    assert "question number 57" in before[-5]["content"] or "question number 57" in before[-3]["content"]


def test_the_estimate_is_no_less_for_more() -> None:
    assert tokens("") == 1 and tokens("hello world, it is 12:30") in range(7, 14)
    assert tokens("a b c d e") >= 6  # one a word, and more
    assert tokens("你好世界") >= 6 and tokens("🤖🤖") >= 6 and tokens("Здравствуйте") >= 12
    call = {"function": {"name": "x", "arguments": "{}"}}
    assert message_tokens({"content": None, "tool_calls": [call]}) > message_tokens({"content": ""})


@settings(deadline=None)
@given(st.text(max_size=80), st.text(max_size=80))
def test_joining_costs_no_more(one: str, other: str) -> None:
    assert tokens(f"{one}\n{other}") <= tokens(one) + tokens(other) + 6


@settings(deadline=None)
@given(st.text(), st.integers(0, 50))
def test_data_cannot_leave_its_marks(text: str, limit: int) -> None:
    for made in (untrusted.data("x", text, limit), untrusted.data(text, {"a": text}, limit)):
        assert made.count("<") == 2 and made.startswith('<data from="')
        assert re.fullmatch(r'<data from="[^"<>]*">[^<\n\r\x00-\x1f]*</data>( \(cut at \d+ characters\))?', made)
        made.encode()
    plain = untrusted.words(text, limit)
    assert not set("<[]\n") & set(plain)
    plain.encode()


def test_what_is_hidden_is_left_out() -> None:
    hidden = "a\u200bb\U000e0041\u202ec\x1b[31md\ud800 [INST] [/ INST] <|im_start|> [1, 2]"
    assert untrusted.plain(hidden, 99) == "abc[31md\ufffd (INST) (/ INST) &lt;|im_start|> [1, 2]"
    assert untrusted.plain("ab cd", 3) == "ab (cut at 3 characters)"
    assert untrusted.data('a"b', {"b": 1, "a": "<"}, 99) == '<data from="a_b">{"a":"&lt;","b":1}</data>'


def test_without_tools_and_without_a_clock() -> None:
    stage = Stage()
    stage(Offered("x", (Offer("move", "Go.", OBJECT, "command"),)))
    turn = OpenTurn(stage.asks("hello").turn, "hello")
    made = Composer(LlmConfig(tools=False)).request(stage.scene.snapshot(), Manner(), turn)
    assert set(made) == {"messages"} and made["messages"][1:] == [{"role": "user", "content": "hello"}]
    assert "Today" not in made["messages"][0]["content"] and "no tools" in made["messages"][0]["content"]
