"""More than one process for one run, each with a copy of the model and a share of every step's examples.

Only the adapter is trained, so only its gradients travel: once per optimizer step, summed in one buffer before they
are clipped. That equals torch's DistributedDataParallel with accumulation to the last bit, and needs no wrapper around
the model. Every decision (a step that is skipped, an order to stop, a song that cannot be used) is taken on numbers
that are the same everywhere, so that all processes always make the same calls in the same order.

In a run of one process every function here returns at once.
"""

from __future__ import annotations

import datetime
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

import psutil
import torch
import torch.distributed as dist

from sidestep_tui.core.errors import ExitCode, SidestepError
from sidestep_tui.engine import failures, ranks
from sidestep_tui.engine.ranks import World
from sidestep_tui.protocol.rundir import RunDir

T = TypeVar("T")

_PATIENCE: Final = datetime.timedelta(days=365)
"""Others wait for the first process while it encodes songs or is paused; who died is found out by `_Watch`."""
_MEETING: Final = datetime.timedelta(minutes=30)
_LOOK_SECONDS: Final = 0.25
_LOOKS_FOR_CAUSE: Final = 12
_BROKEN: Final = ("gloo", "nccl", "connection")
"""What the message of an error says when a process at the other end is gone."""
_ERROR: Final = "error"


class PeerError(SidestepError):
    """Another process of the run could not go on."""

    kind = "run"

    def __init__(self, title: str, message: str = "", hint: str = "", *, code: int = ExitCode.BUG) -> None:
        super().__init__(title, message, hint)
        self.exit_code = ExitCode(code)


# Who this is.


def size() -> int:
    """How many processes train this run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def place() -> tuple[int, ...]:
    """What to add to a seed so that processes draw apart; the first one draws as it would alone."""
    return (rank(),) if rank() else ()


def is_first() -> bool:
    """Whether this process writes the run's directory."""
    return rank() == 0


# What travels.


def from_first(make: Callable[[], T]) -> T:
    """What `make` returns in the first process, in all of them; the others wait, for hours if need be."""
    if size() == 1:
        return make()
    box: list[Any] = [make() if is_first() else None]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    value: T = box[0]
    return value


def align(parameters: Iterable[torch.Tensor]) -> None:
    """Give every process the first one's values: equal seeds need not mean equal bits on unequal devices."""
    if size() == 1:
        return
    with torch.no_grad():
        for parameter in parameters:
            value = parameter.contiguous()
            dist.broadcast(value, src=0)
            parameter.copy_(value)


def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Add up the gradients of all processes, in one buffer; one that had no example adds zeros."""
    if size() == 1:
        return
    trained = list(parameters)
    for parameter in trained:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    parts = flat.split([gradient.numel() for gradient in gradients])
    views = [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]
    torch._foreach_copy_(gradients, views)


def collect(
    losses: torch.Tensor,
    levels: torch.Tensor,
    norm: torch.Tensor,
    counts: Sequence[int],
    rate: torch.Tensor | None = None,
) -> tuple[list[float], list[float], float, float]:
    """Losses and noise levels of all examples, process after process, the gradient's norm, and the rate found.

    `losses` and `levels` are this process's [counts[rank]]; without a `rate` (the same everywhere) it is 1. The only
    wait for the device in a step.
    """
    if len(counts) == 1:
        single = [norm.reshape(1).to(losses), *([] if rate is None else [rate.reshape(1).to(losses)])]
        numbers = torch.cat([losses, levels, *single]).tolist()
        values, drawn, others = numbers[: counts[0]], numbers[counts[0] : 2 * counts[0]], numbers[2 * counts[0] :]
        return values, drawn, others[0], others[1] if rate is not None else 1.0
    row = losses.new_zeros((2, max(counts) + 1))
    row[0, : len(losses)] = losses
    row[1, : len(levels)] = levels
    row[0, -1] = norm
    row[1, -1] = 1.0 if rate is None else rate
    rows = [torch.empty_like(row) for _ in counts]
    dist.all_gather(rows, row)
    every = torch.stack(rows).tolist()
    values = [value for count, of_rank in zip(counts, every, strict=True) for value in of_rank[0][:count]]
    drawn = [value for count, of_rank in zip(counts, every, strict=True) for value in of_rank[1][:count]]
    return values, drawn, every[0][0][-1], every[0][1][-1]


# Beginning and end.


@contextmanager
def joined(world: World, run_dir: RunDir, end: Callable[[SidestepError], None]) -> Iterator[None]:
    """Within this, the processes of `world` are one group.

    An error in one of them ends all: it travels by the launcher's store, where a thread of each process looks for
    it, since the main thread may be waiting for the process that failed. The first process then calls `end`, which
    says so in the journal; this is its last act.
    """
    if world.size == 1:
        yield
        return
    store, number, count = next(iter(dist.rendezvous("env://", timeout=_MEETING)))
    store.set_timeout(_MEETING)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    group = dist.PrefixStore("group", store)
    dist.init_process_group(backend, store=group, rank=number, world_size=count, timeout=_PATIENCE)
    watch = _Watch(store, world, run_dir, end)
    try:
        yield
        # Others must not leave before the first one has exported: their launcher would count them as lost.
        dist.all_reduce(torch.zeros(1))
    except Exception as error:
        watch.tell(cause := watch.cause(error))
        raise cause from error
    finally:
        watch.close()
    # Without this, some backends abort when the process ends.
    dist.destroy_process_group()


class _Watch:
    """Looks out for errors and deaths of the other processes; one thread in each."""

    def __init__(self, store: Any, world: World, run_dir: RunDir, end: Callable[[SidestepError], None]) -> None:
        self._store = dist.PrefixStore("run", store.clone())
        self._world = world
        self._run_dir = run_dir
        self._end = end
        self._closing = threading.Event()
        self._peers: dict[int, int] = {}
        """Process ids by rank, of those on this machine."""
        self._ending = threading.Lock()
        """Taken by who ends this process: the main thread by its own error, or this thread by another's."""
        self._store.set(f"process{world.rank}", json.dumps([socket.gethostname(), os.getpid()]))
        self._thread = threading.Thread(target=self._look, name="peers", daemon=True)
        self._thread.start()

    def cause(self, error: Exception) -> Exception:
        """What is behind an error: a broken connection means that another process has failed."""
        if isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _BROKEN):
            for _ in range(_LOOKS_FOR_CAUSE):
                with suppress(RuntimeError):
                    if problem := self._problem():
                        return problem
                self._closing.wait(_LOOK_SECONDS)
        return error

    def tell(self, error: Exception) -> None:
        """Let the others know why this process ends. Returns only if it is this thread that ends it."""
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # the other thread is about to end the process
        known = failures.known(error)
        said = {
            "rank": self._world.rank,
            "title": known.title if known else "The engine hit a bug.",
            "message": known.message if known else f"{type(error).__name__}: {error}",
            "hint": known.hint if known else f"engine.rank{self._world.rank}.log has the details.",
            "kind": known.kind if known else "bug",
            "code": int(known.exit_code if known else ExitCode.BUG),
        }
        with suppress(RuntimeError):
            self._store.set(_ERROR, json.dumps(said))

    def close(self) -> None:
        """Stop looking."""
        self._closing.set()

    def _look(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            try:
                problem = self._problem()
            except RuntimeError:
                # The launcher is gone and its store with it. Alone, errors could not be told any more.
                if self._world.is_first:
                    os.kill(os.getpid(), signal.SIGTERM)
                return
            if problem is not None and self._ending.acquire(blocking=False):
                self._leave(problem)

    def _problem(self) -> PeerError | None:
        if self._store.check([_ERROR]):
            said = json.loads(self._store.get(_ERROR))
            if said["rank"] == self._world.rank:
                return None
            where = f" (In process {said['rank']} of {self._world.size}.)" if said["rank"] else ""
            error = PeerError(said["title"], f"{said['message']}{where}", said["hint"], code=said["code"])
            error.kind = said["kind"]
            return error
        for other in range(self._world.size) if self._world.is_first else (0,):
            if other not in self._peers and other != self._world.rank and self._store.check([f"process{other}"]):
                host, pid = json.loads(self._store.get(f"process{other}"))
                self._peers[other] = pid if host == socket.gethostname() else 0
        lost = [other for other, pid in self._peers.items() if pid and not _is_running(pid)]
        if not lost:
            return None
        return PeerError(
            f"Process {lost[0]} of {self._world.size} died.",
            "It was killed from outside, perhaps because the machine ran out of memory.",
            f"engine.rank{lost[0]}.log has its last words. Resume the run from its newest checkpoint.",
        )

    def _leave(self, problem: PeerError) -> None:
        """End this process, wherever its main thread waits."""
        if self._closing.is_set():
            return
        if self._world.is_first:
            self._end(problem)
        else:
            print(f"Another process ended the run: {problem}", file=sys.stderr, flush=True)
            ranks.linger(self._run_dir)
        os._exit(int(problem.exit_code))


def _is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
