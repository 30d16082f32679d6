"""Debian's kernel under emulation: boot it, run one command in it, return what came of it.

virtme-ng boots a kernel of /boot in qemu, without hardware virtualisation, on this machine's own
file system. The guest's root sees all of it; what it writes under /etc, /home, /opt, /srv, /tmp,
/usr and /var is lost when it ends, and the rest is read-only, but for the directories that are
given it to write in.

With the *instruction clock* a guest instruction takes one nanosecond of the guest's time, and idle
time is skipped: what is measured there is exact and alike on any machine, however busy. The guest
must not wait for files meanwhile: that takes no instructions, so the clock leaps to the next timer.
Source: qemu's documentation of ``-icount shift=0,sleep=off``.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ipeql.errors import Code, IpeqlError, Problem
from lab.vm import kernel_log, resident

BOOT = Path("/boot")
MODULES = Path("/lib/modules")
PROGRAMS = {
    "vng": "pip install virtme-ng",
    "qemu-system-x86_64": "apt install qemu-system-x86",
    "busybox": "apt install busybox-static",
    "modprobe": "apt install kmod",
}
"""What it takes beside a kernel, and where that comes from."""

SEARCH_PATH = os.pathsep.join(
    (str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin")
)
"""Where programs are looked for, here and in the guest: this virtual environment first."""

LAST_LINES = 60
"""Lines of output that are shown of a guest that did not come to its end."""

CACHED = (Path("/usr"), Path(sys.base_prefix), Path(sys.prefix), *resident.PACKAGES)
"""Where programs lie: the guest keeps what it has read of these, and starts them in half the time.

It does not see what is changed there meanwhile.
"""

RESIDENT = "resident.tar"
"""What a guest on the instruction clock has in memory, in the exchange directory."""

PROGRAMS_INSIDE = ("ip", "tc", "nsenter", "ethtool", "modprobe", "pppd")
MODULES_INSIDE = (
    "veth",
    "tun",
    "dummy",
    "slip",
    "ppp_async",
    "eql",
    "sch_netem",
    "sch_fq",
    "macvlan",
)
"""What tests use in a guest, and what it reads once before that, on the instruction clock."""

_TAG = "ipeql"
_SCRIPT = """\
export PATH={path} HOME=/root LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
root=/run/ipeql-root
mkdir $root
mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=524288 {tag} $root
for directory in {cached}; do
    upper=/run/ipeql-cached$directory
    mkdir -p $upper/new $upper/work
    mount -t overlay -o lowerdir=$root$directory,upperdir=$upper/new,workdir=$upper/work \\
        overlay $directory
done
if [ -e {exchange}/{resident} ]; then
    mkdir /run/ipeql-resident
    mount -t tmpfs -o size=80% tmpfs /run/ipeql-resident
    tar -xf {exchange}/{resident} -C /run/ipeql-resident
    for directory in {directories}; do
        mount --bind /run/ipeql-resident$directory $directory
    done
    programs=$(for program in {programs}; do command -v $program; done)
    cat $programs $(ldd $programs | grep -o '/[^ :]*') $(modinfo -n {modules}) \\
        /lib/modules/$(uname -r)/modules.*.bin >/dev/null 2>&1
fi
mount -t bpf bpf /sys/fs/bpf
modprobe tun
dmesg --clear
cd {directory}
{command} 2>&1
status=$?
dmesg --raw >{exchange}/log
echo $status >{exchange}/status
"""


class VmError(IpeqlError):
    """There is no guest, or it did not come to its command's end."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The guest: its kernel's image, processors, memory in MiB, and clock."""

    kernel: Path
    cpus: int = 1
    memory: int = 1024
    instruction_clock: bool = False

    def __post_init__(self) -> None:
        if self.instruction_clock and self.cpus != 1:
            raise ValueError("the instruction clock counts one processor's instructions")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command: exit status, its stdout and stderr, the kernel's warnings."""

    status: int
    output: str
    warnings: tuple[str, ...]


def newest_kernel(boot: Path = BOOT, modules: Path = MODULES) -> Path | None:
    """Return the image of the newest kernel in ``boot`` whose modules are installed, if any is."""

    def release(image: Path) -> str:
        return image.name.removeprefix("vmlinuz-")

    images = [
        image
        for image in boot.glob("vmlinuz-*")
        if (modules / release(image) / "modules.dep").exists()
    ]
    return max(images, key=lambda image: _numbers(release(image)), default=None)


def _numbers(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", release)]


def machine(cpus: int = 1, memory: int = 1024, instruction_clock: bool = False) -> Machine:
    """Return a guest of the newest kernel; VmError where something is missing, all at once."""
    problems = [
        Problem(Code.NO_EMULATION, f"no emulated kernel without {program}", remedy)
        for program, remedy in PROGRAMS.items()
        if not shutil.which(program, path=SEARCH_PATH)
    ]
    kernel = newest_kernel()
    if not kernel:
        what = f"{BOOT} has no kernel with its modules in {MODULES}"
        problems.append(Problem(Code.NO_EMULATION, what, "apt install linux-image-amd64"))
    if problems or not kernel:
        raise VmError(problems)
    return Machine(kernel, cpus, memory, instruction_clock)


def command_line(machine: Machine, script: Path, writable: Sequence[Path]) -> list[str]:
    """Return the command that runs a shell script in the guest, as its root.

    The guest may write in the directories ``writable`` of this machine.
    """
    command = ["vng", "--run", str(machine.kernel), "--disable-kvm", "--force-9p", "--user=root"]
    command += [f"--cpus={machine.cpus}", f"--memory={machine.memory}M"]
    command += [f"--rwdir={directory}" for directory in writable]
    root = f"local,path=/,mount_tag={_TAG},security_model=none,readonly=on,multidevs=remap"
    command.append(f"--qemu-opts=-virtfs {root}")
    if machine.instruction_clock:
        command.append("--qemu-opts=-icount shift=0,sleep=off")
    # Verbose shows the console; what it says of a boot that goes well is not wanted.
    command += ["--verbose", "--append=quiet loglevel=1"]
    return [*command, f"--exec=sh {shlex.quote(str(script))}"]


def run(
    machine: Machine,
    command: Sequence[str],
    *,
    timeout: float,
    directory: Path | None = None,
    writable: Sequence[Path] = (),
) -> Outcome:
    """Boot the guest, run a command there in ``directory`` (default: ours), return what came of it.

    ``timeout`` is in seconds of real time and covers the boot, some 20 s of an idle processor.
    VmError where the time is over, the guest does not boot, or its kernel stops.
    """
    with tempfile.TemporaryDirectory(prefix="ipeql-vm-") as exchange:
        script = Path(exchange, "run")
        script.write_text(
            _SCRIPT.format(
                path=shlex.quote(SEARCH_PATH),
                tag=_TAG,
                cached=shlex.join(map(str, dict.fromkeys(CACHED))),
                resident=RESIDENT,
                directories=shlex.join(map(str, resident.DIRECTORIES)),
                programs=shlex.join(PROGRAMS_INSIDE),
                modules=shlex.join(MODULES_INSIDE),
                directory=shlex.quote(str(directory or Path.cwd())),
                command=shlex.join(command),
                exchange=shlex.quote(exchange),
            )
        )
        if machine.instruction_clock:
            resident.archive(Path(exchange, RESIDENT))
        vng = command_line(machine, script, [Path(exchange), *writable])
        output, console, in_time = _communicate(vng, timeout)
        try:
            status = int(Path(exchange, "status").read_text())
        except (FileNotFoundError, ValueError):
            last = "\n".join(f"{output}\n{console}".splitlines()[-LAST_LINES:])
            raise VmError(_died(timeout, in_time, last)) from None
        log = Path(exchange, "log").read_text(errors="replace")
        return Outcome(status, output, kernel_log.warnings(log))


def _communicate(command: list[str], timeout: float) -> tuple[str, str, bool]:
    """Return the command's stdout, its stderr, and whether it ended by itself."""
    with subprocess.Popen(
        command,
        env=os.environ | {"PATH": SEARCH_PATH},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        in_time = True
        try:
            streams = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            in_time = False
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if not in_time:
            streams = process.communicate()
    output, console = (kernel_log.plain(text.decode(errors="replace")) for text in streams)
    return output, console, in_time


def _died(timeout: float, in_time: bool, last: str) -> Problem:
    if in_time:
        what = "the emulated kernel did not come to its command's end"
        return Problem(Code.NO_EMULATION, f"{what}; the last that was heard of it:\n{last}")
    what = f"the emulated kernel was ended after {timeout:g} s"
    return Problem(Code.TIMED_OUT, f"{what}; the last that was heard of it:\n{last}")
