"""Writes the tables that have a marker into the pages; with --check, says what differs instead."""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1]


def main(arguments: list[str]) -> int:
    # Run as a folder; the package is found in the folder that holds it.
    sys.path[0] = str(DOCS)
    from tables.pages import differences, rewrite

    if arguments == ["--check"]:
        found = differences(DOCS)
        print("\n".join(found) or "every table agrees with its file")
        return bool(found)
    if arguments:
        print("usage: python docs/tables [--check]", file=sys.stderr)
        return 2
    for page in rewrite(DOCS):
        print(f"wrote {page}")
    # What rewriting cannot put right: a marker without a specification, and the other way round.
    found = differences(DOCS)
    print("\n".join(found), end="\n" if found else "")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
