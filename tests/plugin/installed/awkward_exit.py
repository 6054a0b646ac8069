"""A plugin that ends the process while it is imported, and keeps count of how often it was."""

import os

with open(os.environ["AWKWARD_IMPORTS"], "a") as _file:
    _file.write("imported\n")
raise SystemExit("nothing to do for me here")
