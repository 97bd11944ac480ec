"""Typed Python functions that a policy may call: signature → JSON Schema → checked call → `Outcome`.

Arguments are checked strictly against the annotations by msgspec; nothing is called with arguments it did not declare.
"""

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple, get_type_hints

import msgspec

from embodied.errors import ToolError
from streams.clock import SECOND, Clock
from streams.types import Action, Call, Outcome
from streams.worker import Worker


class Tool(NamedTuple):
    """A function that may be called.

    parameters: JSON Schema of an object;  timeout_s: session time after which it is given up; None: never
    cost: declared ns of a synchronous function, for virtual time
    """

    name: str
    description: str
    parameters: dict[str, Any]
    function: Callable[..., Any]
    arguments: type[msgspec.Struct]
    clock: str  # the parameter that takes the session clock; "" for none
    timeout_s: float | None
    cost: int


def tool(function: Callable[..., Any], *, name: str = "", timeout_s: float | None = 10.0, cost_ms: float = 0.0) -> Tool:
    """Make a tool of `function`: its name, annotations, defaults and docstring say all there is to say.

    The first paragraph of the docstring describes it; a part "parameter: text" on a line describes a parameter. A
    parameter annotated `Clock` is given the session's clock and is not in the schema. Constraints are msgspec's:
    `Annotated[float, Meta(gt=0)]`. Raises `ToolError` for what cannot be called by name with JSON values.
    """
    name = name or getattr(function, "__name__", "")
    hints = get_type_hints(function, include_extras=True)
    fields: list[Any] = []
    clock = ""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ToolError(f"tool {name}: parameter {parameter} cannot be given by name")
        if parameter.name not in hints:
            raise ToolError(f"tool {name}: parameter {parameter.name!r} has no annotation")
        if hints[parameter.name] is Clock:
            clock = parameter.name
        elif parameter.default is parameter.empty:
            fields.append((parameter.name, hints[parameter.name]))
        else:
            fields.append((parameter.name, hints[parameter.name], parameter.default))
    try:
        arguments = msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
        (_,), parts = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    except (TypeError, ValueError) as error:
        raise ToolError(f"tool {name}: its parameters cannot be written as JSON: {error}") from error
    parameters: dict[str, Any] = {**parts.pop(name), **({"$defs": parts} if parts else {})}
    text = inspect.getdoc(function) or ""
    for field, said in re.findall(r"(?:^|;  )\s*(\w+): (.+?)(?=$|;  )", text, re.MULTILINE):
        if field in parameters["properties"]:
            parameters["properties"][field]["description"] = said.strip()
    return Tool(
        name=name,
        description=" ".join(text.split("\n\n")[0].split()),
        parameters=parameters,
        function=function,
        arguments=arguments,
        clock=clock,
        timeout_s=timeout_s,
        cost=round(cost_ms * 1e6),
    )


class Toolbox:
    """`embodied.ports.Actuator` for `Call`.

    A call ends as "refused" (no such tool, wrong arguments, an id seen before: nothing was done), "done" with what
    the function returned, "failed" with the exception's type and message, or "timeout". Its effect is told by its
    `Outcome` before anybody can speak of it. A coroutine function runs on the loop and is cancelled by a cut or a
    timeout; any other runs in a thread of its own, which cannot be stopped: only its result is dropped. A function
    that ends by a `CancelledError` of its own was taken back by another call, and ends as "cut".
    `Halt` is for motions and leaves calls alone; the end of the session cancels them.
    """

    name = "toolbox"
    accepts: tuple[type, ...] = (Call,)

    def __init__(self, tools: Iterable[Tool | Callable[..., Any]], clock: Clock) -> None:
        self.tools: dict[str, Tool] = {}
        self._clock = clock
        self._seen: set[int] = set()
        for each in tools:
            made = each if isinstance(each, Tool) else tool(each)
            if made.name in self.tools:
                raise ToolError(f"two tools are named {made.name!r}: give one of them another name")
            self.tools[made.name] = made

    def schemas(self) -> list[dict[str, Any]]:
        """What a model is told: {"name", "description", "parameters": JSON Schema} of each tool."""
        return [
            {"name": each.name, "description": each.description, "parameters": each.parameters}
            for each in self.tools.values()
        ]

    async def perform(self, action: Action) -> Outcome:
        """Carry out a `Call`. Cancelling cancels a coroutine function and re-raises."""
        if not isinstance(action, Call):
            raise TypeError(f"the toolbox takes Call, not {type(action).__name__}")
        chosen = self.tools.get(action.name)
        if chosen is None:
            near = get_close_matches(action.name, self.tools, 1)
            hint = f": did you mean {near[0]!r}?" if near else f"; there are: {', '.join(self.tools) or 'none'}"
            return _ended(action, "refused", f"there is no tool named {action.name!r}{hint}")
        if action.id and action.id in self._seen:
            return _ended(action, "refused", f"call {action.id} has been carried out already")
        try:
            arguments = msgspec.convert(action.arguments, chosen.arguments, strict=True)
        except msgspec.ValidationError as error:
            return _ended(action, "refused", f"wrong arguments for {action.name}: {error}")
        if action.id:
            self._seen.add(action.id)
        given = {field: getattr(arguments, field) for field in arguments.__struct_fields__}
        if chosen.clock:
            given[chosen.clock] = self._clock
        return await self._call(action, chosen, partial(chosen.function, **given))

    async def _call(self, action: Call, chosen: Tool, function: Callable[[], Any]) -> Outcome:
        clock = self._clock
        deadline = None
        if chosen.timeout_s is not None:
            deadline = clock.deadline(clock.now() + round(chosen.timeout_s * SECOND))
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                result = await self._run(chosen, function)
            return _ended(action, "done", "", msgspec.to_builtins(result))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return _ended(action, "cut", "it was taken back")  # what the function waited for was cancelled
        except Exception as error:  # noqa: BLE001 - a tool is anybody's code: whatever it raises is its outcome
            if limit.expired() and isinstance(error, TimeoutError):
                return _ended(action, "timeout", f"{action.name} took longer than {chosen.timeout_s:g} s")
            return _ended(action, "failed", f"{type(error).__name__}: {error}")

    async def _run(self, chosen: Tool, function: Callable[[], Any]) -> Any:
        if inspect.iscoroutinefunction(chosen.function):
            waiting: Awaitable[Any] = function()
            return await waiting
        worker = Worker(self._clock, f"tool-{chosen.name}")  # one that is stuck holds up no other
        try:
            return await worker.work(chosen.cost, function)
        finally:
            worker.abandon()

    def cut(self, turn: int) -> None:
        """Nothing: the body cancels the calls that asked for it (`on_cut`)."""

    def pause(self, turn: int) -> None:
        """Nothing: a call has no place to keep."""

    def resume(self, turn: int) -> None:
        """Nothing."""

    async def halt(self) -> None:
        """Nothing: a call is not a motion."""

    async def aclose(self) -> None:
        """Nothing: a function that still runs has a thread of its own, and nobody waits for it."""


def _ended(call: Call, status: Any, detail: str, result: Any = None) -> Outcome:
    return Outcome(
        turn=call.turn, id=call.id, action="Call", name=call.name, status=status, detail=detail, result=result
    )
