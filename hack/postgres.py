"""A PostgreSQL server for tests and benchmarks: its own folder, a free port on loopback, gone afterwards.

Programs are the machine's own, or unpacked from Debian packages into the cache; nothing is installed.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hack.cluster.cache import cache_folder, filled_once
from hack.cluster.debian import apt_options, unpack_packages, update
from hack.cluster.errors import ClusterError
from hack.stack.ports import free_port

INSTALLED = Path("/usr/lib/postgresql")
PACKAGES = (
    "postgresql-15",
    "postgresql-client-15",
    "libicu72",
    "libldap-2.5-0",
    "liblz4-1",
    "libpq5",
    "libsasl2-2",
    "libxml2",
    "libxslt1.1",
    "libllvm14",
    "libz3-4",
    "libedit2",
    "libbsd0",
    "libmd0",
)
"""Of Debian 12, with the libraries that a bare machine lacks."""
SHARED = Path("/var/tmp/kube-chaperone")  # noqa: S108  made by root, and its owner is checked
NOBODY = 65534
START_SECONDS = 60.0
USER = "chaperone"
DATABASE = "audit"


class Postgres:
    """A running server. url: as `audit.store` takes it, with its password."""

    def __init__(self, programs: Path, libraries: str, folder: Path) -> None:
        self._programs = programs
        self._libraries = libraries
        self._folder = folder
        self._port = free_port()
        self._password = secrets.token_hex(8)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self._port}/{DATABASE}"

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    def make(self) -> None:
        """Its files. Raises ClusterError."""
        password = self._folder / "password"
        password.write_text(self._password)
        _own(password)
        data = ("-D", str(self._data), "-U", USER, "-A", "scram-sha-256", f"--pwfile={password}")
        self._run("initdb", *data, "-E", "UTF8", "--locale=C", "--no-instructions", "--no-sync")

    def start(self, *options: str) -> None:
        """As a process of ours, until it answers. options: settings `name=value`. Raises ClusterError."""
        settings = (
            "listen_addresses=127.0.0.1",
            f"port={self._port}",
            f"unix_socket_directories={self._folder}",
        )
        words = [word for setting in (*settings, *options) for word in ("-c", setting)]
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._data), *words],
                stdout=output,
                stderr=output,
                env=self._environment(),
                user=_nobody(),
                group=_nobody(),
            )
        self._wait(log)
        if not self._has_database():
            self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", USER, DATABASE)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast shutdown; SIGQUIT: as if it had crashed. Connections are gone either way."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(60)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _wait(self, log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        while subprocess.run(ready, check=False, env=self._environment()).returncode:
            if time.monotonic() > deadline or self._process is None or self._process.poll() is not None:
                raise ClusterError("PostgreSQL did not start", details=log.read_text()[-2000:])
            time.sleep(0.05)

    def _has_database(self) -> bool:
        asked = ("-h", "127.0.0.1", "-p", str(self._port), "-U", USER, "-lqtA")
        return any(line.startswith(f"{DATABASE}|") for line in self._run("psql", *asked).splitlines())

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
            env=self._environment(),
            cwd=self._folder,
            user=_nobody(),
            group=_nobody(),
        )
        if done.returncode:
            raise ClusterError(f"{program} failed: {done.stderr.strip()[-1000:]}")
        return done.stdout

    def _environment(self) -> Mapping[str, str]:
        known = {"PATH": os.environ.get("PATH", os.defpath), "PGPASSWORD": self._password, "LC_ALL": "C"}
        return {**known, "LD_LIBRARY_PATH": self._libraries} if self._libraries else known


@contextmanager
def running(*options: str, log: Callable[[str], None] = print) -> Iterator[Postgres]:
    """Raises ClusterError when there is none and none can be fetched."""
    programs, libraries = find_programs(os.environ, log)
    with tempfile.TemporaryDirectory(prefix="chaperone-postgres-") as folder:
        _own(Path(folder))
        server = Postgres(programs, libraries, Path(folder))
        server.make()
        try:
            server.start(*options)
            yield server
        finally:
            server.stop()


def find_programs(
    environ: Mapping[str, str], log: Callable[[str], None], installed: Path = INSTALLED
) -> tuple[Path, str]:
    """(folder of the programs, LD_LIBRARY_PATH). Raises ClusterError."""
    found = sorted(installed.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent, ""
    if not shutil.which("apt-get"):
        raise ClusterError(
            "there is no PostgreSQL and no apt-get to fetch it: install PostgreSQL 12 or newer"
        )
    folder = _cache(environ) / "postgresql"

    def fill(partial: Path) -> None:
        options = apt_options(folder.parent / "apt")
        update(options, log)
        unpack_packages(PACKAGES, partial, options, log)

    filled_once(folder, fill)
    libraries = sorted({str(path.parent) for path in folder.glob("usr/lib/*/*.so*")})
    return next(folder.glob("usr/lib/postgresql/*/bin")), ":".join(libraries)


def _cache(environ: Mapping[str, str]) -> Path:
    """Of root, one that the server's own user can reach: root's home is closed to it. Raises ClusterError."""
    if os.getuid() != 0:
        return cache_folder(environ)
    SHARED.mkdir(mode=0o755, exist_ok=True)
    if SHARED.is_symlink() or SHARED.stat().st_uid != 0:
        raise ClusterError(f"{SHARED} belongs to somebody else: remove it")
    return SHARED


def _nobody() -> int | None:
    """As whom it runs: PostgreSQL refuses to run as root."""
    return NOBODY if os.getuid() == 0 else None


def _own(path: Path) -> None:
    if os.getuid() == 0:
        os.chown(path, NOBODY, NOBODY)
