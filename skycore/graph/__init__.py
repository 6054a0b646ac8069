"""The graph: elements and their revisions, who claims what, and how readers see it now and in the past."""
