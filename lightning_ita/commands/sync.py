"""``lightning-ita sync``: copies the results of a study to object storage, and from there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_ita.commands.cli import make_console, make_parser, say
from lightning_ita.errors import UserError
from lightning_ita.files import user_path
from lightning_ita.invocation import spelled

DESCRIPTION = """\
Copies the plan and the finished cells of a study to object storage and back: each side gets the cells that it lacks, as
a whole, with their files checked by SHA-256. So machines that share no folder can share a study: each runs cells and
syncs, and `ablate`, with the arguments of the study, prints the tables of all cells. Stopped runs, logs and tables are
not copied. If a cell has different results on the two sides, its name is printed, and neither side is changed.

examples:
  lightning-ita sync runs/study s3://BUCKET/study
      send what is missing there, fetch what is missing here
  lightning-ita sync runs/study s3://BUCKET/study --only fetch
      only fetch; runs/study is created if it does not exist
  lightning-ita sync runs/study /mnt/backup/study
      any folder, or any address for which fsspec has a file system (gs://, az:// ...) that is installed
"""
DIRECTIONS = ("send", "fetch")


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns 0."""
    parser = make_parser("sync", DESCRIPTION)
    parser.add_argument("study", type=str, help="The study's folder.")
    parser.add_argument("url", type=str, help="Its address in the storage; s3:// needs the extra s3.")
    parser.add_argument("--only", type=str | None, help="send or fetch; by default both.")
    arguments = parser.parse_args(list(argv))
    if arguments.only not in (None, *DIRECTIONS):
        raise UserError(f"--only {arguments.only}: expected send or fetch")

    from lightning_ita.studies.plan import CELLS
    from lightning_ita.studies.syncing import sync

    console = make_console()
    out = user_path(arguments.study)
    url = arguments.url if "://" in arguments.url else str(Path(user_path(arguments.url)).absolute())
    with console.status("") as status:
        copied = sync(
            out,
            url,
            send=arguments.only != "fetch",
            fetch=arguments.only != "send",
            watch=lambda name, done, total: status.update(f"{done}/{total} {name}"),
        )
    say(console, f"{len(copied.sent)} cells sent, {len(copied.fetched)} fetched, {copied.there} were there already")
    for name in copied.different:
        say(
            console,
            f"{name} has other results here than there; remove {out / CELLS / name} to fetch theirs, or "
            f"{url}/{CELLS}/{name} to send yours, and sync again",
        )
    if copied.fetched:
        say(console, f"tables: the command of the study with --out {out}; more: {spelled('report', out)}")
    return 0
