"""Who may do what: Casbin's decisions over the bundled policy and the configured lines.

The bundled policy is ``policy.csv``: the roles ``admin`` and ``guest``, as Skydive has them.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, final

from skycore.config.schema import RBAC, RBACModel

_MOST_DECISIONS = 16_384
_EFFECTS = ("allow", "deny")


@final
class Policy:
    """Decides about (subject, object, action); a subject is a user or a role.

    Raises ValueError for a model or a line that Casbin cannot use; the message names it.
    """

    def __init__(self, rbac: RBAC) -> None:
        # Imported here because only a process with authentication needs it: some 10 MB and 0.1 s.
        import casbin  # noqa: PLC0415

        logging.getLogger("casbin").setLevel(logging.WARNING)
        try:
            model = casbin.Enforcer.new_model(text=_model_text(rbac.model))
            self._enforcer: Any = casbin.Enforcer(model)
        except Exception as error:  # it raises RuntimeError, KeyError, IndexError, …
            raise ValueError(f"rbac.model cannot be used: {error}") from error
        bundled = resources.files(__package__).joinpath("policy.csv").read_text(encoding="utf-8")
        for line in bundled.splitlines():
            self._add(line)
        for index, line in enumerate(rbac.policy):
            try:
                self._add(line)
            except ValueError as error:
                raise ValueError(f"rbac.policy[{index}]: {error}") from error
        self._rules: list[tuple[str, str]] = sorted({(rule[1], rule[2]) for rule in self._enforcer.get_policy()})
        self._known = {rule[0] for rule in self._enforcer.get_policy()}
        self._known |= {rule[0] for rule in self._enforcer.get_grouping_policy()}
        self._decided: dict[tuple[str, str, str], bool] = {}
        try:
            self._enforcer.enforce("admin", "status", "read")
        except Exception as error:
            raise ValueError(f"rbac.model cannot be used: {error}") from error

    def _add(self, line: str) -> None:
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], skipinitialspace=True), ())]
        except csv.Error:
            cells = []
        kind, fields = cells[:1], cells[1:]
        if kind == ["p"] and len(fields) == 4 and all(fields) and fields[3] in _EFFECTS:
            self._enforcer.add_policy(*fields)
        elif kind == ["g"] and len(fields) == 2 and all(fields):
            self._enforcer.add_grouping_policy(*fields)
        else:
            raise ValueError(f"expects 'p, subject, object, action, allow|deny' or 'g, user, role', not {line!r}")

    def knows(self, subject: str) -> bool:
        """Whether the policy says anything of this subject itself: it has a role, or is one."""
        return subject in self._known

    def roles(self, subject: str) -> tuple[str, ...]:
        """The roles of a subject, those of its roles included."""
        return tuple(self._enforcer.get_implicit_roles_for_user(subject))

    def allows(self, subject: str, object: str, action: str) -> bool:
        """Whether the subject may; decisions are remembered."""
        key = (subject, object, action)
        decision = self._decided.get(key)
        if decision is None:
            if len(self._decided) >= _MOST_DECISIONS:
                self._decided.clear()
            decision = self._decided[key] = bool(self._enforcer.enforce(*key))
        return decision

    def permissions(self, subject: str) -> Iterator[Mapping[str, Any]]:
        """What clients are told at login: each object and action that the policy names."""
        for object, action in self._rules:
            yield {"Object": object, "Action": action, "Allowed": self.allows(subject, object, action)}


def _model_text(model: RBACModel) -> str:
    sections: Sequence[tuple[str, str, Sequence[str]]] = (
        ("request_definition", "r", model.request_definition),
        ("policy_definition", "p", model.policy_definition),
        ("role_definition", "g", model.role_definition),
        ("policy_effect", "e", model.policy_effect),
        ("matchers", "m", model.matchers),
    )
    lines: list[str] = []
    for section, letter, definitions in sections:
        lines.append(f"[{section}]")
        for index, definition in enumerate(definitions):
            lines.append(f"{letter}{index + 1 if index else ''} = {definition}")
    return "\n".join(lines) + "\n"
