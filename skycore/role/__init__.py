"""The roles: the only place where the parts are wired together."""
