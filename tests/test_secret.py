"""No key, password or query of an address is shown, told or recorded; what a server complains of is told in short."""

import json

import pytest

from agent import assembly, config
from policies.llm.settings import LlmConfig
from policies.models.chat import ChatModel
from policies.models.endpoint import Endpoint, EndpointError
from policies.models.realtime_settings import RealtimeModelConfig, RealtimeSetupError, address
from policies.models.secret import Secrets, shown
from streams.clock import Clock, run, wall_now
from streams.types import Ask, Outcome
from tests.chatting import REQUEST, Told
from tests.chatting import settings as asking
from tests.model_servers import Line, ModelServer

KEY = "sk-0123456789abcdef"


def refused(url: str) -> str:
    """Why `url` is none for a language model."""

    async def main() -> str:
        with pytest.raises(EndpointError) as told:
            Endpoint(LlmConfig(url=url), Clock())
        return str(told.value)

    return run(main())


def test_what_is_secret_in_an_address_is_masked() -> None:
    secrets = Secrets(
        KEY, "http://me:pass%20word@h/v1?api_key=que+ry&sig=x%2Fyz1&api-version=2025-01-01&model=gpt-4&v=2"
    )
    told = secrets.masked(f"{KEY} pass word pass%20word que ry que+ry x/yz1 x%2Fyz1 2025-01-01 gpt-4")
    assert told == "*** *** *** *** *** *** *** 2025-01-01 gpt-4"
    assert secrets.masked(f"the key {KEY[:12]}...") == "the key ***..."
    assert Secrets("", "http://h:x/v1?a=b").masked("a b c ...") == "a b c ..."
    assert Secrets("", "http://[/v1").masked("as it is") == "as it is"


def test_an_address_that_is_none_shows_no_more() -> None:
    assert shown("me:secret@host:80/v1?api_key=secret") == "host:80/v1"
    assert shown("http://me:secret@host/v1?api_key=secret#secret") == "http://host/v1"
    for url in (
        "me:secret@host/v1",
        "host/v1?api_key=secret",
        "ftp://me:secret@host?key=secret",
        "http://h:x/?k=secret",
    ):
        assert "secret" not in refused(url)
        with pytest.raises(RealtimeSetupError) as told:
            address(RealtimeModelConfig(url=url))
        assert "secret" not in str(told.value)


@pytest.mark.parametrize("place", ["/chat/completions", "/chat/completions/", "/completions", "/responses"])
def test_an_address_with_the_place_in_it_is_told_without(place: str) -> None:
    told = refused(f"http://me:secret@host:8080/v1{place}?key=secret")
    assert told.endswith("is added to it, so leave that off: http://host:8080/v1")
    assert "secret" not in told


def test_a_server_that_repeats_the_key_and_says_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", KEY)

    async def main() -> Outcome:
        async def closed(line: Line) -> None:
            assert "api_key=query-secret" in line.path
            body = json.dumps(
                {"error": {"message": f"not taken: {KEY} query-secret {'x' * 172} {KEY} " + "blah " * 900}}
            )
            line.whole(400, body.encode())

        async with ModelServer(closed) as server:
            model = ChatModel(asking(f"{server.url}?api_key=query-secret", key_env="A_KEY"), Told(), Clock())
            try:
                return await model.perform(Ask(REQUEST, id=1))
            finally:
                await model.aclose()

    outcome = run(main())
    assert outcome.status == "failed" and "not taken: *** ***" in outcome.detail
    assert "sk-" not in outcome.detail and "query-secret" not in outcome.detail
    assert len(outcome.detail) < 300


def test_a_recording_keeps_no_secret() -> None:
    llm, other = f"http://me:secret@h/v1?api_key={KEY}", f"wss://me:secret@h/v1?token={KEY}"
    assignments = [
        "policy.engine=llm",
        f"llm.url={llm}",
        f"realtime_model.url='{other}'",
        f'mcp.servers.home={{url="{llm}"}}',
        f'mcp.servers.shed={{command="x", args=["{KEY}"]}}',
        "turns.max_wait_ms=900",
    ]
    header = assembly.header(config.load(None, assignments), wall_now(), assignments)
    text = repr((header.overrides, header.config))
    assert KEY not in text and "secret" not in text
    assert header.overrides["llm.url"] == "http://h/v1"
    assert header.overrides["realtime_model.url"] == "wss://h/v1"
    assert header.overrides["turns.max_wait_ms"] == "900"
    alone = assembly.header(config.load(None, []), wall_now(), [f'llm={{url="{llm}", model="x"}}'])
    assert KEY not in repr(alone.overrides) and 'model="x"' in alone.overrides["llm"]
