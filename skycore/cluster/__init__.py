"""Between processes: the agent-analyzer link, and the spool that keeps what could not be sent yet."""
