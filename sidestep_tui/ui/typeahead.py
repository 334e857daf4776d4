"""Keys reach what has the focus when they are due, however fast they were typed.

Over a slow link several keys arrive in one piece. Textual hands each of them to the widget that has the focus at that
moment, before that widget has acted on the first one: `16`, enter, `32` would end up as `1632` in one field. Here the
next key waits until the one before has run its course: through the widget, up to the app, and back for what it set off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.message_pump import MessagePump

_PATIENCE = 0.5
"""Seconds after which a key is let through although the one before was not seen to end (its widget may be gone)."""


class TypeAheadApp(App[Any]):
    """An App that deals with one key at a time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held_keys: deque[events.Key] = deque()
        self._key_in_hand: events.Key | None = None
        self._held = False

    def hold_keys(self) -> None:
        """Keep what is typed from now on until `release_keys`: what it is meant for is still being built."""
        self._held = True

    def release_keys(self) -> None:
        """Deal with the keys that were kept, and with those to come."""
        self._held = False
        self.call_later(self._next_key)

    async def on_event(self, event: events.Event) -> None:
        """Queue keys; everything else goes its usual way."""
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
            return
        self._held_keys.append(event)
        if self._key_in_hand is None:
            await self._next_key()
        else:
            waiting_for = self._key_in_hand
            self.set_timer(_PATIENCE, lambda: self._key_done(waiting_for))

    async def _next_key(self) -> None:
        if self._held or self._key_in_hand is not None or not self._held_keys:
            return
        key = self._key_in_hand = self._held_keys.popleft()
        origin = self._key_target()
        try:
            await super().on_event(key)
        finally:
            # Once for the key itself, once for the messages that it caused, once for where the focus went.
            self._let_settle([origin, origin, None], key)

    def _key_target(self) -> DOMNode:
        return self.focused or self.screen

    def _let_settle(self, starts: list[DOMNode | None], key: events.Key) -> None:
        if starts:
            self._walk_up(starts[0], lambda: self._let_settle(starts[1:], key))
        else:
            self._key_done(key)

    def _walk_up(self, start: DOMNode | None, then: Callable[[], None]) -> None:
        """Pass through the message queues from a node up to the app, each behind what waits there, then call `then`."""
        if not self.is_running or not self.screen_stack:
            return
        path: list[MessagePump] = list((start or self._key_target()).ancestors_with_self)

        def step(index: int) -> None:
            while index < len(path):
                if path[index].is_running and path[index].call_later(step, index + 1):
                    return
                index += 1
            then()

        step(0)

    def _key_done(self, key: events.Key) -> None:
        if self._key_in_hand is not key:
            return
        self._key_in_hand = None
        if self._held_keys:
            self.call_later(self._next_key)
