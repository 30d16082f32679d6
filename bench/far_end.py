"""The bundle of the far end, in a process of its own, which is in the far end's namespace.

``python -m bench.far_end KIND METHOD RULE RUNTIME LINK,RATE,DELAY...`` has it until its stdin ends.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.bundle import bundle
from bench.candidates import Candidate
from bench.host import Host
from bench.site import RECEIVER, Site
from lab.demo.scenarios import Path as LinkPath


@contextmanager
def far_bundle(site: Site, candidate: Candidate, runtime: Path) -> Iterator[None]:
    """Have the candidate at host b of ``site`` too; RuntimeError where it does not come about."""
    assert site.b
    links = zip(site.links, site.paths, strict=True)
    given = [f"{link},{path.rate},{path.delay}" for link, path in links]
    directory = runtime / "far"
    directory.mkdir(exist_ok=True)
    module = (sys.executable, "-m", "bench.far_end")
    what = (candidate.kind, candidate.method, candidate.rule)
    command = site.b.command(*module, *what, str(directory), *given)
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout
        try:
            if not process.stdout.readline():
                raise RuntimeError("the far end's bundle did not come about")
            yield
        finally:
            process.stdin.close()


def main(kind: str, method: str, rule: str, runtime: str, *links: str) -> None:
    """Have a bundle in this process's namespace until stdin ends."""
    given = [link.split(",") for link in links]
    paths = [LinkPath(int(rate), int(delay)) for _, rate, delay in given]
    site = Site(Host(), None, [name for name, _, _ in given], paths)
    with bundle(site, Candidate(kind, method, len(links), rule), Path(runtime), RECEIVER):
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
