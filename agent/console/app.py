"""The routes of the console as an ASGI application. `docs/console.md` lists them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from agent.console.recordings import NoSuchRecording, Shelf, UploadRefused
from agent.console.room import Room
from agent.console.viewers import TRY_LATER, Viewer
from streams.clock import Clock
from streams.errors import DependencyMissing, RecordingError, VisavisError
from streams.types import Fault

PAGE = Path(__file__).parent / "page"
_STATUS = ((NoSuchRecording, 404), (UploadRefused, 413), (RecordingError, 422), (DependencyMissing, 501))


def application(
    room: Room, shelf: Shelf, clock: Clock, *, page: Path = PAGE, changed: Callable[[], None] = lambda: None
) -> Starlette:
    """Page, WebSocket and recordings. page: folder of its files;  changed: called when a recording has been uploaded"""

    async def index(request: Request) -> Response:
        return FileResponse(page / "index.html")

    async def health(request: Request) -> Response:
        return _json({"ok": True})

    async def connect(socket: WebSocket) -> None:
        await socket.accept()
        if len(room.viewers) >= room.settings.viewers:
            await socket.close(TRY_LATER, f"there are {room.settings.viewers} pages already")
            return
        viewer = Viewer(room.number(), socket, clock, room.peers)
        room.enter(viewer)
        try:
            await viewer.attend(room)
        finally:
            room.leave(viewer)

    async def listing(request: Request) -> Response:
        return _json(await shelf.entries())

    async def upload(request: Request) -> Response:
        name = await shelf.store(request.query_params.get("name", ""), request.stream())
        changed()
        return _json({"name": name})

    async def download(request: Request) -> Response:
        path = shelf.path(request.path_params["name"])
        writing = shelf.writing()
        if writing is not None and writing[0] == path.name:
            return _so_far(path)
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    async def events(request: Request) -> Response:
        pieces = shelf.events(request.path_params["name"])
        first = await anext(pieces, b"")  # what cannot be read at all is an answer of its own
        return StreamingResponse(_after(first, pieces), media_type="application/x-ndjson")

    async def sound(request: Request) -> Response:
        return FileResponse(await shelf.sound(request.path_params["name"]), media_type="audio/wav")

    async def image(request: Request) -> Response:
        try:
            t = float(request.query_params.get("t", ""))
            found = await shelf.image(request.path_params["name"], min(max(t, -1.0), 1e9))
        except ValueError:
            return PlainTextResponse("t must be seconds of session time.", 400)
        if found is None:
            return PlainTextResponse("there is no picture at that time or before it.", 404)
        return Response(found[0], media_type=f"image/{found[1]}")

    one = "/api/recordings/{name}"
    return Starlette(
        routes=[
            Route("/", index),
            Route("/healthz", health),
            WebSocketRoute("/ws", connect),
            Route("/api/recordings", _told(listing)),
            Route("/api/recordings", _told(upload), methods=["POST"]),
            Route(one, _told(download)),
            Route(f"{one}/events", _told(events)),
            Route(f"{one}/sound.wav", _told(sound)),
            Route(f"{one}/image", _told(image)),
            Mount("/page", StaticFiles(directory=page, check_dir=False)),
        ]
    )


class Beside:
    """An application with others beside it. others: path to the application of all below it, in its own terms

    A path is left as it is: an application for "/v1/realtime" is asked for "/v1/realtime".
    """

    def __init__(self, app: ASGIApp, others: Mapping[str, ASGIApp]) -> None:
        self._app, self._others = app, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        path = scope.get("path", "")
        for prefix, other in self._others.items():
            if path == prefix or path.startswith(prefix + "/"):
                await other(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _told(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """`answer`, its expected errors as a status and a sentence."""

    async def endpoint(request: Request) -> Response:
        try:
            return await answer(request)
        except VisavisError as error:
            status = next((status for kind, status in _STATUS if isinstance(error, kind)), 400)
            return PlainTextResponse(str(error), status)

    return endpoint


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    last = first
    try:
        async for piece in rest:
            yield piece
            last = piece
    except RecordingError as error:  # damaged in the middle: what came before it has been shown
        before = msgspec.json.decode(last.rstrip(b"\n").rpartition(b"\n")[2] or b"{}")
        fault = msgspec.to_builtins(Fault("recording", type(error).__name__, str(error)))
        place = {"t": before.get("t", 0.0), "topic": "feedback", **fault}
        yield msgspec.json.encode(place | {"at": before.get("at", 0.0), "order": before.get("order", 0) + 1}) + b"\n"


def _so_far(path: Path) -> Response:
    """A file that grows, as long as it is now."""
    size = path.stat().st_size

    def pieces() -> object:
        left = size
        with path.open("rb") as file:
            while left > 0 and (piece := file.read(min(left, 1 << 16))):
                left -= len(piece)
                yield piece

    headers = {"content-length": str(size), "content-disposition": f'attachment; filename="{path.name}"'}
    return StreamingResponse(pieces(), media_type="application/octet-stream", headers=headers)  # type: ignore[arg-type]
