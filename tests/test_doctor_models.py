"""What the doctor says of the model that answers, from the command line on."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agent import config, doctor_models
from agent.checkup import Check
from tests.model_servers import ModelServer, good
from tests.realtime_model_server import model_server


def found(*assignments: str) -> list[Check]:
    return list(doctor_models.models(config.load(None, list(assignments))))


def local(model: Path) -> Check:
    (check,) = found("policy.engine=llm", "llm.engine=transformers", f"llm.model={model}")
    return check


def test_a_model_for_this_process_is_looked_at_and_not_loaded(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    for check in (local(tmp_path), local(tmp_path / "none")):
        assert not check.ok and check.mend and str(tmp_path) in check.detail
    (tmp_path / "config.json").write_text("{}")
    assert "without weights" in local(tmp_path).detail
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "tokenizer.json" in local(tmp_path).detail
    (tmp_path / "tokenizer.json").write_text("{}")
    assert local(tmp_path).ok and "not loaded" in local(tmp_path).detail


def test_an_engine_that_is_none_and_a_section_without_use() -> None:
    (check,) = found("policy.engine=llm", "llm.engine=opanai")
    assert not check.ok and "openai" in check.detail and check.mend
    (check,) = found("llm.model=x")
    assert check.ok and "policy.engine" in check.detail
    assert found() == []


def test_a_key_that_is_missing_is_the_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("VISAVIS_LLM_KEY", raising=False)
    (check,) = found("policy.engine=llm", "llm.url=https://api.openai.com/v1")
    assert not check.ok and check.mend.startswith("export VISAVIS_LLM_KEY=")
    (check,) = found("policy.engine=llm", "llm.url=http://host/v1/chat/completions")
    assert not check.ok and "leave that off" in check.detail and check.mend.startswith("--llm")


@pytest.mark.parametrize("option", ["--llm", "--realtime"])
def test_the_command_says_whom_it_asks_and_ends_accordingly(option: str) -> None:
    async def doctor(url: str) -> tuple[int | None, list[dict[str, Any]], str]:
        command = ["-m", "agent.cli", "doctor", "--json", option, url]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        checks = json.loads(out)
        return (
            process.returncode,
            [each for each in checks if each["name"].split()[0] in ("llm", "realtime")],
            err.decode(),
        )

    async def main() -> None:
        async with ModelServer(good) as chat, model_server() as speech:
            url = chat.url if option == "--llm" else f"ws://127.0.0.1:{speech.port}/v1/realtime"
            _, checks, err = await doctor(f"{url}?api_key=secret")
            assert checks and checks[0]["ok"]
            assert f"asking {url}" in err and "secret" not in repr(checks) + err
        code, checks, _ = await doctor(url)  # it is gone
        assert code == 1 and [each["ok"] for each in checks] == [False]

    asyncio.run(main())
