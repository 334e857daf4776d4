"""`serve`: the interface in a web browser. It listens to this machine only, and to those who know a secret address."""

from __future__ import annotations

import importlib
import ipaddress
import secrets
import shlex
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

import click

from sidestep_tui.cli import render
from sidestep_tui.core.errors import ExitCode, SidestepError, UsageError

_INSTALL = 'Install it beside sidestep-tui: pip install "sidestep-tui[web]", or uv tool install "sidestep-tui[web]".'


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free port.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="The address to listen on.")
@click.option("--beyond-this-machine", is_flag=True, help="Allow an ADDRESS that other machines can reach.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND...]")
def serve(port: int, host: str, beyond_this_machine: bool, arguments: tuple[str, ...]) -> int:
    """Show the interface in a web browser, on this machine only.

    COMMAND is what to open, as behind `sidestep-tui`: `serve attach --readonly drums`. Each browser tab is a session
    of its own; closing it leaves every training going. From another machine come through SSH, as the command prints.
    """
    if not is_loopback(host) and not beyond_this_machine:
        raise UsageError(
            f"{host} can be reached by other machines.",
            "Whoever has the address can start and stop runs and open a shell as you, and the line is not encrypted.",
            "Come through SSH instead (ssh -L), or say --beyond-this-machine.",
        )
    server_module = _textual_serve()
    port = port or free_port(host)
    command = shlex.join([sys.executable, "-m", "sidestep_tui", *arguments])
    key = secrets.token_urlsafe(18)
    shown = f"[{host}]" if ":" in host else host
    server = server_module.Server(command, host, port, title="sidestep", public_url=f"http://{shown}:{port}")
    _guard(server, key, loopback_only=is_loopback(host))
    _say_where(f"http://{shown}:{port}/?key={key}", port)
    try:
        server.serve()
    except OSError as error:
        raise UsageError(
            f"Port {port} of {host} cannot be used.", str(error.strerror), "Choose another: --port 0 takes a free one."
        ) from error
    return int(ExitCode.DONE)


def _textual_serve() -> Any:
    # Deferred: an optional extra, and 300 ms of a web server.
    try:
        return importlib.import_module("textual_serve.server")
    except ModuleNotFoundError as error:
        raise SidestepError("The web server is not installed.", f"{error.name} is missing.", _INSTALL) from error


def _say_where(address: str, port: int) -> None:
    render.data(address)
    render.say("Open this address in a browser of this machine. It holds a secret: who has it has your runs.")
    render.say(f"From another machine: ssh -L {port}:localhost:{port} USER@THIS-MACHINE, then open it there.")
    render.say("Ctrl-C ends the server; trainings go on.")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def free_port(host: str) -> int:
    """A port that nobody listens on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host.strip("[]"), 0))
        return int(probe.getsockname()[1])


def refusal(*, host: str, origin: str | None, given: str, key: str, loopback_only: bool) -> str:
    """Why a request is refused; empty if it is not.

    Other users of this machine do not know the key. Other web sites in the same browser are told by their Origin, and
    by the name that they had to give this machine to get here.
    """
    if loopback_only and not is_loopback(urlsplit(f"//{host}").hostname or ""):
        return "This server answers to localhost only."
    if origin is not None and urlsplit(origin).netloc != host:
        return "Another web site may not come in."
    if not secrets.compare_digest(given.encode(), key.encode()):
        return "Open the address that sidestep-tui printed; it holds a key."
    return ""


def _guard(server: Any, key: str, *, loopback_only: bool) -> None:
    """Let in only who is asked in, and keep the page from fetching anything from elsewhere."""
    web: Any = importlib.import_module("aiohttp.web")
    cookie = f"sidestep-{server.port}"
    make_app = server._make_app

    async def guard(request: Any, handler: Any) -> Any:
        given = request.query.get("key") or request.cookies.get(cookie, "")
        origin = request.headers.get("Origin")
        if problem := refusal(host=request.host, origin=origin, given=given, key=key, loopback_only=loopback_only):
            return web.Response(status=403, text=problem + "\n")
        # What the page loads next comes by the way that it came: a tunnel may have another port.
        server.public_url = f"http://{request.host}"
        response = await handler(request)
        if not response.prepared:
            response.set_cookie(cookie, key, httponly=True, samesite="Strict")
            response.headers["Referrer-Policy"] = "no-referrer"
            response.headers["Content-Security-Policy"] = (
                "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' ws:"
            )
        return response

    async def guarded_app() -> Any:
        app = await make_app()
        app.middlewares.append(web.middleware(guard))
        return app

    async def quiet(app: Any) -> None:
        """Its greeting shows the address without the key."""

    server._make_app = guarded_app
    server.on_startup = quiet
