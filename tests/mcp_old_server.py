"""An MCP server over stdio as it was before the SDK and before 2026: by hand, with a loose tongue.

Speaks 2025-06-18 and nothing newer, lists its tools in pages, writes what is no JSON on its output, asks the client
for things, and says again and again that its tools have changed.
"""

import json
import sys
from typing import Any

told: list[str] = []
waiting: dict[Any, Any] = {}  # id of what we asked the client for → id of the call that we did it for
answers: list[Any] = []
extra: list[str] = []


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(number: Any, text: str) -> None:
    send({"id": number, "result": {"content": [{"type": "text", "text": text}]}})


def tools(cursor: str) -> dict[str, Any]:
    listed = [
        {"name": name, "inputSchema": {"type": "object"}} for name in ["ask", "wait", "what", "change", "leave", *extra]
    ]
    odd = [
        {"name": "a.b/c", "inputSchema": {"type": "object"}},
        {"name": "a_b.c", "inputSchema": {"type": "object"}},
        {"name": "large", "inputSchema": {"type": "object", "description": "x" * 20_000}},
    ]
    return {"tools": odd} if cursor else {"tools": listed, "nextCursor": "odd"}


def call(number: Any, name: str) -> None:
    if name == "ask":
        wishes = {"sampling/createMessage": {"messages": [], "maxTokens": 5}, "roots/list": {}}
        for place, (method, params) in enumerate(wishes.items()):
            waiting[f"wish-{place}"] = number
            send({"id": f"wish-{place}", "method": method, "params": params})
    elif name == "what":
        answer(number, ",".join(told))
    elif name == "change":
        extra.append("later")
        for _ in range(50):
            send({"method": "notifications/tools/list_changed"})
        answer(number, "changed")
    elif name == "leave":
        answer(number, "goodbye")
        sys.exit()
    elif name != "wait":
        answer(number, name)


print("Loading, please wait ...", flush=True)
for line in sys.stdin:
    message = json.loads(line)
    method, number, params = message.get("method"), message.get("id"), message.get("params") or {}
    told.append(method or "")
    if method == "initialize":
        capabilities = {"tools": {"listChanged": True}}
        about = {"name": "old", "version": "1"}
        result = {"protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": about}
        send({"id": number, "result": result})
    elif method == "tools/list":
        send({"id": number, "result": tools(params.get("cursor", ""))})
    elif method == "tools/call":
        call(number, params["name"])
    elif method is None and number in waiting:
        answers.append(message.get("error", {}).get("code", "granted"))
        if len(answers) == len(waiting):
            answer(waiting[number], json.dumps(answers))
    elif number is not None:
        send({"id": number, "error": {"code": -32601, "message": "Method not found"}})
