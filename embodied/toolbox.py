"""Typed Python functions that a policy may call: signature → JSON Schema → checked call → `Outcome`.

Arguments are checked strictly against the annotations by msgspec; nothing is called with arguments it did not declare.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple, get_args, overload

import msgspec

from embodied.errors import ToolError
from embodied.results import fitted, refused_number, shortened
from embodied.signature import signature_of
from streams.clock import SECOND, Clock
from streams.ports import Publisher
from streams.topics import FEEDBACK
from streams.types import Action, Call, Offer, Offered, OnCut, Outcome
from streams.worker import Worker

AT_ONCE = 8
"""How many calls with a time limit run at the same time, unless a toolbox says otherwise."""
STUCK = 16
"""How many calls of one function may be given up and still hold a thread, before it is not called any more."""


class Tool(NamedTuple):
    """A function that may be called; in Python it is called like the function itself.

    parameters: JSON Schema of an object
    check: makes keyword arguments of JSON values; raises `msgspec.ValidationError` for wrong ones
    clock: the parameter that takes the session clock; "" for none
    timeout_s: session time after which it is given up, waiting for its turn included; None: never
    cost: declared ns of a synchronous function, for virtual time
    risky: a person must have agreed before it is called
    on_cut: what an interruption of the agent does to a call: "finish" (nothing) or "cancel" (it is cut)
    """

    name: str
    description: str
    parameters: dict[str, Any]
    function: Callable[..., Any]
    check: Callable[[dict[str, Any]], dict[str, Any]]
    clock: str = ""
    timeout_s: float | None = 10.0
    cost: int = 0
    risky: bool = False
    on_cut: OnCut = "finish"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns."""
        return self.function(*args, **kwargs)

    @property
    def offer(self) -> Offer:
        """What a policy is told of it."""
        return Offer(self.name, self.description, self.parameters, "call", self.risky, self.on_cut)


@overload
def tool(
    function: Callable[..., Any],
    *,
    name: str = "",
    timeout_s: float | None = 10.0,
    cost_ms: float = 0.0,
    risky: bool = False,
    on_cut: OnCut = "finish",
) -> Tool: ...


@overload
def tool(
    *,
    name: str = "",
    timeout_s: float | None = 10.0,
    cost_ms: float = 0.0,
    risky: bool = False,
    on_cut: OnCut = "finish",
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str = "",
    timeout_s: float | None = 10.0,
    cost_ms: float = 0.0,
    risky: bool = False,
    on_cut: OnCut = "finish",
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of `function`: its name, annotations, defaults and docstring say all there is to say.

    Also a decorator, with and without options: `@tool`, `@tool(risky=True)`.

    The first paragraph of the docstring describes it; a part "parameter: text" on a line describes a parameter, as does
    an entry of Google's `Args:` or `:param parameter: text`. A parameter annotated `Clock` is given the session's clock
    and is not in the schema. Constraints are msgspec's: `Annotated[float, Meta(gt=0)]`.
    risky, on_cut, timeout_s: see `Tool`;  cost_ms: of a synchronous function, for virtual time
    Raises `ToolError` for what cannot be called by name with JSON values, and for options that mean nothing.
    """
    called = name or getattr(function, "__name__", "")
    if on_cut not in get_args(OnCut):
        raise ToolError(f"tool {called}: on_cut is {on_cut!r}: it must be one of {', '.join(get_args(OnCut))}")
    if not isinstance(risky, bool):  # "no" would be as good as "yes"
        raise ToolError(f"tool {called}: risky is {risky!r}: it must be True or False")
    if function is None:
        return partial(tool, name=name, timeout_s=timeout_s, cost_ms=cost_ms, risky=risky, on_cut=on_cut)
    name = called
    if timeout_s is not None and not timeout_s > 0:
        raise ToolError(f"tool {name}: timeout_s is {timeout_s}: it must be above 0, or None for no limit")
    signature = signature_of(function, name)
    return Tool(
        name=name,
        description=signature.description,
        parameters=signature.parameters,
        function=function,
        check=partial(_checked, signature.arguments),
        clock=signature.clock,
        timeout_s=timeout_s,
        cost=round(cost_ms * 1e6),
        risky=risky,
        on_cut=on_cut,
    )


def _checked(kind: type[msgspec.Struct], arguments: dict[str, Any]) -> dict[str, Any]:
    checked = msgspec.convert(arguments, kind, strict=True)
    return {field: getattr(checked, field) for field in checked.__struct_fields__}


class Toolbox:
    """`embodied.ports.Actuator` for `Call`.

    tools: what is in it from the beginning, as group ""
    publisher: told with `Offered`, by `begin` and on every change after it
    at_once: how many calls run at the same time; further ones wait their turn. Tools without a time limit, such as
        timers, wait for something by nature and are not counted

    A call ends as "refused" (no such tool, wrong arguments, an id seen before: nothing was done), "done" with what
    the function returned, "failed" with the exception's type and message, or "timeout". Its effect is told by its
    `Outcome` before anybody can speak of it. A coroutine function runs on the loop and is cancelled by a cut or a
    timeout; any other runs in a thread of its own, which cannot be stopped: only its result is dropped, and one that
    keeps many threads is refused until they are back. A function that ends by a `CancelledError` of its own was taken
    back by another call, and ends as "cut". With a result that is no JSON (NaN is none) it has "failed"; of one over
    `results.RESULT_BYTES` the beginning is kept.
    `Halt` is for motions and leaves calls alone; the end of the session cancels them.
    """

    name = "toolbox"
    accepts: tuple[type, ...] = (Call,)

    def __init__(
        self,
        tools: Iterable[Tool | Callable[..., Any]],
        clock: Clock,
        publisher: Publisher | None = None,
        *,
        at_once: int = AT_ONCE,
    ) -> None:
        self.tools: dict[str, Tool] = {}
        self._groups: dict[str, tuple[Tool, ...]] = {}
        self._clock = clock
        self._publisher = publisher
        self._begun = False
        self._at_once = at_once
        self._seen: set[int] = set()
        self._turns = asyncio.Semaphore(at_once)
        self._threads: dict[str, set[object]] = {}  # by tool, those in which a function has not come back
        self.add(tools)

    # --- what there is

    def begin(self) -> None:
        """Publish what there is, and every change of it from now on. Without a publisher, nothing."""
        self._begun = True
        self._tell()

    def add(self, tools: Iterable[Tool | Callable[..., Any]], group: str = "") -> None:
        """Let `group` consist of `tools` from now on; those that it had before are gone.

        Raises `ToolError`, and changes nothing, where two tools have one name.
        """
        made = tuple(each if isinstance(each, Tool) else tool(each) for each in tools)
        others = {name for other, named in self._groups.items() if other != group for name in (t.name for t in named)}
        for each in made:
            if each.name in others:
                raise ToolError(f"two tools are named {each.name!r}: give one of them another name")
            others.add(each.name)
        self._set({**self._groups, group: made})

    def remove(self, group: str) -> None:
        """Take the tools of `group` out, if there are any. Calls in progress come to their end."""
        self._set({name: made for name, made in self._groups.items() if name != group})

    def group(self, group: str) -> tuple[Tool, ...]:
        """The tools of `group`; none if there is no such group."""
        return self._groups.get(group, ())

    def offers(self) -> tuple[Offer, ...]:
        """What a policy is told of the tools there are now."""
        return tuple(each.offer for each in self.tools.values())

    def schemas(self) -> list[dict[str, Any]]:
        """What a model is told: {"name", "description", "parameters": JSON Schema} of each tool."""
        return [
            {"name": each.name, "description": each.description, "parameters": each.parameters}
            for each in self.tools.values()
        ]

    def _set(self, groups: dict[str, tuple[Tool, ...]]) -> None:
        before = self.offers()
        self._groups = groups
        self.tools = {each.name: each for made in groups.values() for each in made}
        if self._begun and self.offers() != before:
            self._tell()

    def _tell(self) -> None:
        if self._publisher is not None:
            self._publisher.publish(FEEDBACK, self._clock.now(), Offered(self.name, self.offers()))

    # --- calls

    async def perform(self, action: Action) -> Outcome:
        """Carry out a `Call`; several may be under way. Cancelling cancels a coroutine function and re-raises."""
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
            given = chosen.check(action.arguments)
        except msgspec.ValidationError as error:
            return _ended(action, "refused", f"wrong arguments for {action.name}: {error}")
        if number := refused_number(action.arguments):
            return _ended(action, "refused", f"wrong arguments for {action.name}: {number} is no number in JSON")
        if len(self._threads.get(action.name, ())) >= STUCK + self._at_once:
            return _ended(
                action, "refused", f"more than {STUCK} calls of {action.name} have not come back: it is stuck"
            )
        if action.id:
            self._seen.add(action.id)
        if chosen.clock:
            given[chosen.clock] = self._clock
        return await self._call(action, chosen, partial(chosen.function, **given))

    async def _call(self, action: Call, chosen: Tool, function: Callable[[], Any]) -> Outcome:
        clock, begun = self._clock, False
        deadline = None
        if chosen.timeout_s is not None:
            deadline = clock.deadline(clock.now() + round(chosen.timeout_s * SECOND))
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                if chosen.timeout_s is None:
                    result, note = await self._run(chosen, function)
                else:
                    async with self._turns:
                        begun = True
                        result, note = await self._run(chosen, function)
            return _ended(action, "done", note, result)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return _ended(action, "cut", "it was taken back")  # what the function waited for was cancelled
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a tool is anybody's code: what it raises is its outcome
            if limit.expired() and isinstance(error, TimeoutError):
                late = "" if begun else ", all of it spent on waiting for other calls: nothing was done"
                return _ended(action, "timeout", f"{action.name} took longer than {chosen.timeout_s:g} s{late}")
            return _ended(action, "failed", shortened(f"{type(error).__name__}: {error}"))

    async def _run(self, chosen: Tool, function: Callable[[], Any]) -> tuple[Any, str]:
        """What it returns, as JSON values of a bounded size, and a note if that is not all of it."""
        if inspect.iscoroutinefunction(chosen.function):
            waiting: Awaitable[Any] = function()
            return fitted(await waiting)
        worker = Worker(self._clock, f"tool-{chosen.name}")  # one that is stuck holds up no other
        threads = self._threads.setdefault(chosen.name, set())
        try:
            return await worker.work(chosen.cost, _made, function, threads)
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


def _made(function: Callable[[], Any], threads: set[object]) -> tuple[Any, str]:
    """Call `function` in the thread of the call, where a large result holds up nobody; it is in `threads` meanwhile."""
    here = object()
    threads.add(here)
    try:
        return fitted(function())
    except SystemExit as error:  # an event loop would end with it
        raise RuntimeError(f"it wanted to end the process: SystemExit({error.code!r})") from error
    finally:
        threads.discard(here)


def _ended(call: Call, status: Any, detail: str, result: Any = None) -> Outcome:
    return Outcome(
        turn=call.turn, id=call.id, action="Call", name=call.name, status=status, detail=detail, result=result
    )
