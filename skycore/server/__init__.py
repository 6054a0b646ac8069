"""The one port: HTTP, REST and WebSockets."""
