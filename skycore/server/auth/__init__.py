"""Access: who asks (backends, sessions), what they may do (roles), and what of it is noted."""
