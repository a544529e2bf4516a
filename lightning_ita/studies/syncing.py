"""Copies the results of a study to object storage and back, cell by cell: what is there is not copied again.

A cell is there when its manifest is, which is written last and holds the SHA-256 of every file of the cell. So a copy
that was interrupted is no cell, and what is fetched is checked before it is put in place.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from filelock import Timeout

from lightning_ita.errors import DataError, UserError
from lightning_ita.files import parse_json, sha256_of, written_whole
from lightning_ita.models import MODELS
from lightning_ita.registry import require
from lightning_ita.studies import schema
from lightning_ita.studies.cell import Cell, written_again
from lightning_ita.studies.plan import CELLS, FAILED, LOCKS, PLAN, STUDY, differences, plan_lock, united
from lightning_ita.studies.records import VERSION, StudyFile
from lightning_ita.studies.study import METRICS, claim
from lightning_ita.text import printable, quoted

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Copied:
    """What was copied.

    Attributes:
        sent: Names of the cells that were sent.
        fetched: Names of the cells that were fetched.
        there: How many cells both sides had already.
        different: Names of those of them that have other results here than there; they were left as they are.
    """

    sent: tuple[str, ...]
    fetched: tuple[str, ...]
    there: int
    different: tuple[str, ...] = ()


class Store:
    """A folder of a file system that fsspec knows.

    Args:
        url: Its address, such as ``s3://BUCKET/STUDY``; a path is a folder of this machine.

    Raises:
        UserError: The address cannot be used, or what it takes is not installed.
    """

    def __init__(self, url: str):
        fsspec = require("fsspec", extra="s3")
        if url.startswith(("s3://", "s3a://")):
            require("s3fs", extra="s3")
        self.url = url
        try:
            self.system, self.root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UserError(f"{url}: {printable(str(error))}") from None
        self.root = self.root.rstrip("/")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (UserError, KeyboardInterrupt):
            raise
        except Exception as error:  # each file system has its own
            raise UserError(f"{self.url}: {type(error).__name__}: {printable(str(error))}") from error

    def cells(self) -> set[str]:
        """Returns the names of the cells that are there."""
        with self._errors():
            self.system.invalidate_cache()
            found: list[str] = self.system.glob(f"{self.root}/{CELLS}/*/{MANIFEST}")
        return {path.split("/")[-2] for path in found}

    def read(self, name: str) -> bytes | None:
        """Returns the content of a file; ``None`` where there is none."""
        with self._errors():
            try:
                content: bytes = self.system.cat_file(f"{self.root}/{name}")
            except FileNotFoundError:
                return None
        return content

    def manifests(self, cells: Sequence[str]) -> dict[str, bytes]:
        """Returns the manifests of cells by their names, read at once where the file system can."""
        if not cells:
            return {}
        with self._errors():
            paths = [f"{self.root}/{CELLS}/{name}/{MANIFEST}" for name in cells]
            found: dict[str, bytes] = self.system.cat(paths, on_error="omit")
        return {path.split("/")[-2]: content for path, content in found.items()}

    def write(self, name: str, content: bytes) -> None:
        """Writes a file."""
        with self._errors():
            self.system.makedirs(f"{self.root}/{name}".rpartition("/")[0], exist_ok=True)
            self.system.pipe_file(f"{self.root}/{name}", content)

    def send(self, path: Path, name: str) -> None:
        """Sends a file."""
        with self._errors():
            self.system.makedirs(f"{self.root}/{name}".rpartition("/")[0], exist_ok=True)
            self.system.put_file(str(path), f"{self.root}/{name}")

    def fetch(self, name: str, path: Path) -> None:
        """Fetches a file."""
        with self._errors():
            self.system.get_file(f"{self.root}/{name}", str(path))


def sync(
    out: Path,
    url: str,
    send: bool = True,
    fetch: bool = True,
    watch: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Copied:
    """Copies the plan and the finished cells of a study that one side has and the other has not.

    Nothing that is there is replaced: a cell that both have with other results is named.

    Args:
        out: The study's folder; it is made where there is none.
        url: Where the study lies in the store.
        send: Whether cells are sent.
        fetch: Whether cells are fetched.
        watch: Told the name of each cell that is being copied, and how many of how many are done.

    Raises:
        UserError: The store cannot be used, holds another study, or a file that came has another digest.
        OSError: The folder cannot be written.
    """
    store = Store(url)
    _agree(out, store, send, fetch)
    own = {path.parent.name for path in (out / CELLS).glob(f"[!.]*/{METRICS}")}
    there = store.cells()
    different = tuple(_different(out, sorted(own & there), store))
    to_send = sorted(own - there) if send else []
    to_fetch = sorted(there - own) if fetch else []
    total, fetched = len(to_send) + len(to_fetch), []
    for done, name in enumerate(to_send):
        watch(name, done, total)
        _send(out / CELLS / name, store)
    for done, name in enumerate(to_fetch, len(to_send)):
        watch(name, done, total)
        if _fetch(out, name, store):
            fetched.append(name)
    return Copied(tuple(to_send), tuple(fetched), len(own & there), different)


def _different(out: Path, cells: Sequence[str], store: Store) -> Iterator[str]:
    """Yields those of the cells that both sides have whose scores differ; times may."""
    for name, content in store.manifests(cells).items():
        digests = _digests(content, f"{store.url}/{CELLS}/{name}/{MANIFEST}")
        own = out / CELLS / name / METRICS
        if sha256_of(own) != digests.get(METRICS):
            theirs = store.read(f"{CELLS}/{name}/{METRICS}") or b""
            if _scores(own.read_bytes(), str(own)) != _scores(theirs, f"{store.url}/{CELLS}/{name}/{METRICS}"):
                yield name


def _scores(content: bytes, place: str) -> dict[str, Any]:
    try:
        values = dict(parse_json(content.decode()))
    except (ValueError, TypeError):
        raise UserError(f"{place} is damaged; delete the cell's folder, and sync again") from None
    return {split: scores for split, scores in values.items() if split in ("valid", "dev", "test")}


def _send(folder: Path, store: Store) -> None:
    """Sends the files of a cell, and then its manifest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    digests = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    for name in digests:
        store.send(folder / name, f"{CELLS}/{folder.name}/{name}")
    store.write(f"{CELLS}/{folder.name}/{MANIFEST}", json.dumps({"sha256": digests}, indent=2).encode())


def _fetch(out: Path, name: str, store: Store) -> bool:
    """Fetches a cell and puts it in place; not while another process runs it, which will have it soon."""
    place = f"{store.url}/{CELLS}/{name}"
    digests = _digests(store.read(f"{CELLS}/{name}/{MANIFEST}") or b"", f"{place}/{MANIFEST}")
    incoming = out / CELLS / f".{name}.incoming"
    try:
        with claim(name, out):
            shutil.rmtree(incoming, ignore_errors=True)
            for file, expected in digests.items():
                (incoming / file).parent.mkdir(parents=True, exist_ok=True)
                store.fetch(f"{CELLS}/{name}/{file}", incoming / file)
                if (found := sha256_of(incoming / file)) != expected:
                    shutil.rmtree(incoming)
                    raise UserError(
                        f"{place}/{file}: SHA-256 expected {expected}, found {found}; delete {place} there, and send "
                        "the cell again from where it was run"
                    )
            if not (out / CELLS / name).exists():
                os.replace(incoming, out / CELLS / name)
            return True
    except Timeout:
        return False


def _digests(content: bytes, place: str) -> dict[str, str]:
    """Reads a manifest; a file's name in it stays within the cell's folder."""
    try:
        digests = parse_json(content.decode())["sha256"]
        names = [Path(name) for name in digests]
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{place} is damaged; delete it, and send the cell again") from None
    if not names or any(name.is_absolute() or ".." in name.parts for name in names):
        raise UserError(f"{place} names files outside of its cell")
    return dict(digests)


def _agree(out: Path, store: Store, send: bool, fetch: bool) -> None:
    """Checks that both sides hold the same study, and gives each the cells and data that the other has planned."""
    theirs = store.read(STUDY)
    if theirs is None and not (out / STUDY).is_file():
        raise UserError(f"there is no study, neither in {out} nor at {store.url}: {STUDY} is missing")
    if theirs is None and not send:
        raise UserError(f"there is no study at {store.url}: {STUDY} is missing")
    for folder in (CELLS, FAILED, LOCKS):
        (out / folder).mkdir(parents=True, exist_ok=True)
    planned = _plan(store.read(PLAN) or b"")
    with plan_lock(out) if fetch else nullcontext():
        own = (out / STUDY).read_bytes() if (out / STUDY).is_file() else None
        ours_then, theirs_then = _united(own, theirs, out, store)
        ours = _plan((out / PLAN).read_bytes() if (out / PLAN).is_file() else b"")
        if other := written_again(_cells(planned), _cells(ours)):
            raise UserError(
                f"{store.url} holds another study than {out}: it differs in {'; '.join(other)}; choose another place"
            )
        if fetch and ours_then != own:
            _write(out / STUDY, ours_then)
        if fetch and planned.keys() - ours.keys():
            _write(out / PLAN, _text({**ours, **planned}))
    if send and theirs_then != theirs:
        store.write(STUDY, theirs_then)
    if send and ours.keys() - planned.keys():
        store.write(PLAN, _text({**ours, **planned}))


def _united(own: bytes | None, theirs: bytes | None, out: Path, store: Store) -> tuple[bytes, bytes]:
    """Returns what is to be in ``study.json`` of both sides: the data of both, where they hold the same study.

    Raises:
        UserError: They hold other studies: they differ in settings or data, or have no data set in common.
    """
    if own is None or theirs is None:
        whole = own or theirs or b""
        return whole, whole
    here, there = _study(own, out / STUDY), _study(theirs, Path(store.url) / STUDY)
    changed = differences(there, cast(dict[str, Any], here["settings"]), here["data"], "here")
    if not here["data"].keys() & there["data"].keys():
        changed.append(f"data sets ({', '.join(there['data'])} there, {', '.join(here['data'])} here)")
    if changed:
        raise UserError(
            f"{store.url} holds another study than {out}: it differs in {'; '.join(changed)}. Choose another place"
        )
    data = united(there["data"], here["data"])
    return (
        own if data == here["data"] else _bytes({**here, "data": data}),
        theirs if data == there["data"] else _bytes({**there, "data": data}),
    )


def _study(content: bytes, path: Path) -> StudyFile:
    """Reads what the cells of a study share: encoder, hyper-parameters, and digests of the data."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / STUDY
        copy.write_bytes(content)
        try:
            return schema.read_study_file(copy)
        except DataError as error:
            raise UserError(f"{path} cannot be read: {error}") from None


def _bytes(study: StudyFile) -> bytes:
    return (json.dumps({**study, "version": VERSION}, indent=2) + "\n").encode()


def _plan(content: bytes) -> dict[str, str]:
    """Returns the lines of a plan by the names of their cells."""
    lines = {}
    for line in content.decode().splitlines():
        try:
            lines[str(parse_json(line)["name"])] = line
        except (ValueError, KeyError, TypeError):
            raise UserError(f"a line of {PLAN} is damaged: {quoted(line)}") from None
    return lines


def _cells(lines: dict[str, str]) -> list[Cell]:
    """Returns the cells of the lines of a plan, but for those of systems that only other machines have."""
    cells = []
    for name, line in lines.items():
        try:
            config = parse_json(line)["config"]
            if config.get("system", "ita") in MODELS:
                cells.append(Cell.from_config(config))
        except (UserError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise UserError(f"the line of {PLAN} for {quoted(name)} cannot be read: {error}") from None
    return cells


def _text(lines: dict[str, str]) -> bytes:
    return "".join(f"{line}\n" for line in lines.values()).encode()


def _write(path: Path, content: bytes) -> None:
    with written_whole(path) as temporary:
        temporary.write_bytes(content)
