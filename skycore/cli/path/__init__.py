"""`skycore path`: the way of a packet from one place to another, hop by hop."""
