"""Print constraints that pin every direct dependency of pyproject.toml, extras included, to its lower bound.

Usage: python .ci/lowest.py < pyproject.toml > constraints-lowest.txt
"""

import re
import sys
import tomllib

project = tomllib.load(sys.stdin.buffer)["project"]
extras = project["optional-dependencies"].values()
for requirement in sorted({*project["dependencies"], *(entry for extra in extras for entry in extra)}):
    found = re.fullmatch(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?>=(?P<lowest>[\w.]+)(,.*)?", requirement)
    if found is None:
        sys.exit(f"pyproject.toml: {requirement!r} has no lower bound: write it as 'name>=version'")
    print(f"{found['name']}=={found['lowest']}")
