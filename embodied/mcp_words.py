"""What an MCP server says, made fit for us: its tools as `Tool`s, its results as JSON. Pure.

All of it is data from elsewhere that ends up before a language model: lengths are bounded, hidden characters are taken
out, and nothing of it can make a tool less risky than the configuration says.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from embodied.errors import McpFailed
from embodied.mcp import McpServer
from embodied.mcp_arguments import checked
from embodied.results import DETAIL, RESULT_BYTES, clean
from embodied.signature import NAME
from embodied.toolbox import Tool

DESCRIPTION = 500
"""How many characters of a description are kept."""
SCHEMA_BYTES = 16_000
"""How long the schema of a tool may be; one with more is left out."""
TEXT = RESULT_BYTES - 200
"""How many characters of a result are kept, so that the note on it has room as well."""
TOOLS = 128
"""How many tools of one server are looked at."""

MakeCall = Callable[[str], Callable[..., Awaitable[Any]]]


class Listed(NamedTuple):
    """tools: that may be used;  notes: what was left out of those that were wanted, and why, by a word for it"""

    tools: tuple[Tool, ...]
    notes: dict[str, str]


def listed(name: str, server: McpServer, found: Sequence[dict[str, Any]], call: MakeCall) -> Listed:
    """The tools of server `name` that may be used.

    found: as the server lists them (`tools/list`);  call: makes the function that calls the tool of a name
    """
    names = [str(each.get("name", "")) for each in found]
    if not server.tools:
        shown = ", ".join(clean(each, 64) for each in names[:20]) or "none"
        return Listed((), {"NothingAllowed": f'it has {shown}; allow some of them in its `tools`, or all with "*"'})
    tools: dict[str, Tool] = {}
    notes: dict[str, str] = {}
    for each in found[:TOOLS]:
        own = str(each.get("name", ""))
        if own not in server.tools and "*" not in server.tools:
            continue
        reason = ""
        ours = _named(name, own)
        schema = each.get("inputSchema")
        if ours in tools:
            reason = f"another one is called {ours} as well"
        elif not isinstance(schema, dict) or schema.get("type", "object") != "object":
            reason = "its schema is not that of an object"
        elif not 0 <= _length(schema) <= SCHEMA_BYTES:
            reason = f"its schema is no JSON, or longer than {SCHEMA_BYTES // 1000} kB"
        if reason:
            notes[f"LeftOut {own}"] = f"its tool {clean(own, 64)!r} is left out: {reason}"
        else:
            tools[ours] = _tool(ours, own, server, each, call(own))
    if len(found) > TOOLS:
        notes["TooMany"] = f"it lists {len(found)} tools; only the first {TOOLS} were looked at"
    for wanted in server.tools:
        if wanted != "*" and wanted not in names:
            notes[f"Missing {wanted}"] = f"it has no tool {wanted!r}, which is in its `tools`"
    return Listed(tuple(tools.values()), notes)


def _length(schema: dict[str, Any]) -> int:
    """Of its JSON, in bytes; -1 for what is none."""
    try:
        return len(json.dumps(schema, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError):
        return -1


def _named(server: str, own: str) -> str:
    """The name under which it is offered: what models' servers do not take in a name becomes "_"."""
    name = f"{server}__{own}"[:64]
    return name if NAME.fullmatch(name) else "".join(each if NAME.fullmatch(each) else "_" for each in name)


def _tool(ours: str, own: str, server: McpServer, found: dict[str, Any], function: Callable[..., Any]) -> Tool:
    hints = found.get("annotations") or {}
    schema = {"type": "object", "properties": {}, **_cleaned(found["inputSchema"])}
    return Tool(
        name=ours,
        description=clean(str(found.get("description") or found.get("title") or ""), DESCRIPTION),
        parameters=schema,
        function=function,
        check=partial(checked, schema),
        timeout_s=server.timeout_s,
        risky=bool({own, "*"} & set(server.risky)) or hints.get("destructiveHint") is True,
        on_cut=server.on_cut,
    )


def _cleaned(schema: Any, depth: int = 0) -> Any:
    """`schema` with its descriptions and titles cleaned. What is nested deeper than 20 is not looked at by anybody."""
    if depth > 20:
        return {}
    if isinstance(schema, list):
        return [_cleaned(each, depth + 1) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: clean(each, DESCRIPTION)
        if key in ("description", "title", "$comment") and isinstance(each, str)
        else _cleaned(each, depth + 1)
        for key, each in schema.items()
    }


def result_of(answer: dict[str, Any]) -> Any:
    """The result of a call (`tools/call`) as JSON values.

    Structured content if there is some, else its text. Pictures, sound and files are told of, not passed on. Raises
    `McpFailed` if the server says that it failed.
    """
    texts: list[str] = []
    others: list[dict[str, Any]] = []
    for block in answer.get("content") or []:
        if block.get("type") == "text":
            texts.append(str(block.get("text", "")))
        else:
            others.append(_summary(block))
    text = _text("\n".join(texts))
    if answer.get("isError"):
        raise McpFailed(clean(text, DETAIL) or "it failed, and the server does not say why")
    structured = answer.get("structuredContent")
    if structured is None:
        return {"text": text, "others": others} if others else text
    data = _data(structured)
    return {"data": data, "others": others} if others else data


def _text(text: str) -> str:
    """`text` cleaned, of a length that a result may have."""
    if len(text) <= TEXT:
        return clean(text, TEXT, lines=True)
    start = clean(text[:TEXT], TEXT, lines=True)
    return f"{start} … [only the first {TEXT // 1000} kB of {len(text) // 1000} kB are told]"


def _data(value: Any) -> Any:
    """JSON `value` with every text in it cleaned; of a large one the beginning of its text."""
    written = json.dumps(value, ensure_ascii=False)
    return _text(written) if len(written) > TEXT else _cleaned_data(value)


def _cleaned_data(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value, TEXT, lines=True)
    if isinstance(value, list):
        return [_cleaned_data(each) for each in value]
    if isinstance(value, dict):
        return {clean(str(key), 200): _cleaned_data(each) for key, each in value.items()}
    return value


def _summary(block: dict[str, Any]) -> dict[str, Any]:
    """What kind of thing a picture, a sound or a resource is, without itself."""
    inner = block.get("resource") or block
    data = inner.get("data") or inner.get("blob") or inner.get("text") or ""
    summary = {
        "kind": block.get("type"),
        "type": inner.get("mimeType"),
        "name": inner.get("name"),
        "uri": inner.get("uri"),
    }
    return {key: clean(str(each), 200) for key, each in summary.items() if each} | {"characters": len(data)}
