"""API objects that users create: their kinds, their store, and what may be done with them."""
