"""`skycore shell`: queries typed one after the other, with completion and history."""
