"""The line editor: completion while typing, history, and lines that go on while something is open."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, final

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, ThreadedCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from skycore.cli.harmless import one_line
from skycore.cli.shell.scan import scan
from skycore.cli.shell.suggest import Suggester
from skycore.errors import SkycoreError

_COMMANDS: Final = (":help", ":output ", ":quit", ":steps ")


@final
class _Completer(Completer):
    def __init__(self, suggester: Callable[[], Suggester]) -> None:
        self._suggester = suggester

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        if before.lstrip().startswith(":"):
            yield from (Completion(word, -len(before)) for word in _COMMANDS if word.startswith(before))
            return
        try:
            for found in self._suggester().after(before):
                # The names are others'; what the terminal gets to see is harmless.
                yield Completion(found.text, found.start - len(before), one_line(found.text), one_line(found.meaning))
        except SkycoreError:
            # Nobody answers; the line can be typed all the same.
            return


def session(suggester: Callable[[], Suggester], history: Path | None) -> PromptSession[str]:
    """A line editor; ``history`` is the file where lines are kept."""
    kept: History = InMemoryHistory() if history is None else FileHistory(str(history))
    return PromptSession(
        completer=ThreadedCompleter(_Completer(suggester)),
        complete_while_typing=False,
        history=kept,
        enable_history_search=True,
        multiline=Condition(_is_open),
        prompt_continuation="     ... ",
    )


def _is_open() -> bool:
    text = get_app().current_buffer.text
    return bool(text.strip()) and not text.lstrip().startswith(":") and not scan(text).complete
