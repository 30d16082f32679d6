"""The pure parts of the emulated kernel: which kernel, which command, what its log says."""

import json
import tarfile
from pathlib import Path

import pydantic
import pyroute2
import pytest

from ipeql.errors import Code
from lab.vm import kernel_log, resident
from lab.vm import machine as vm


def kernels(root: Path, *releases: str, without_modules: str = "") -> Path:
    for release in releases:
        (root / f"vmlinuz-{release}").touch()
        (root / release).mkdir()
        if release != without_modules:
            (root / release / "modules.dep").touch()
    return root


def test_the_newest_kernel_with_modules_is_taken(tmp_path: Path) -> None:
    kernels(tmp_path, "6.1.0-9-amd64", "6.1.0-56-amd64", "6.12.9-amd64", "6.1.0-100-amd64")
    (tmp_path / "vmlinuz-7.0.0-amd64").touch()
    (tmp_path / "config-8.0.0-amd64").touch()
    assert vm.newest_kernel(tmp_path, tmp_path) == tmp_path / "vmlinuz-6.12.9-amd64"


def test_without_a_kernel_there_is_none(tmp_path: Path) -> None:
    kernels(tmp_path, "6.1.0-9-amd64", without_modules="6.1.0-9-amd64")
    assert vm.newest_kernel(tmp_path, tmp_path) is None


def test_what_is_missing_is_said_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm, "SEARCH_PATH", str(tmp_path))
    monkeypatch.setattr(vm, "newest_kernel", lambda: None)
    with pytest.raises(vm.VmError) as missing:
        vm.machine()
    problems = missing.value.problems
    assert {problem.code for problem in problems} == {Code.NO_EMULATION}
    assert [problem.help for problem in problems] == [
        *vm.PROGRAMS.values(),
        "apt install linux-image-amd64",
    ]


def test_the_command_line_says_what_the_machine_is() -> None:
    image = Path("/boot/vmlinuz-6.1.0-56-amd64")
    script = Path("/a b/run")
    plain = vm.command_line(vm.Machine(image, cpus=2, memory=512), script, [Path("/x"), Path("/y")])
    assert plain[:3] == ["vng", "--run", str(image)]
    assert {"--cpus=2", "--memory=512M", "--rwdir=/x", "--rwdir=/y"} <= set(plain)
    assert plain[-1] == "--exec=sh '/a b/run'"
    exact = vm.command_line(vm.Machine(image, instruction_clock=True), script, [])
    added = set(exact) - set(plain)
    assert added == {"--qemu-opts=-icount shift=0,sleep=off", "--cpus=1", "--memory=1024M"}


def test_the_instruction_clock_has_one_processor() -> None:
    with pytest.raises(ValueError, match="one processor"):
        vm.Machine(Path("/boot/vmlinuz"), cpus=2, instruction_clock=True)


LOG = """\
<6>[   12.000001] tun: Universal TUN/TAP device driver, 1.6
<4>[   13.512345] ipeql: loading out-of-tree module taints kernel.
<4>[   13.900000] clocksource: Long readout interval, skipping watchdog check: cs_nsec: 1 wd_nsec: 2
<12>[   14.000000] a program: not the kernel
<4>[   15.000000] ------------[ cut here ]------------
<3>[  116.000000] BUG: sleeping function called from invalid context
<5>[  117.000000] notice
"""


def test_warnings_are_the_kernels_own_and_unexpected() -> None:
    assert kernel_log.warnings(LOG) == (
        "------------[ cut here ]------------",
        "BUG: sleeping function called from invalid context",
    )


def test_a_console_is_made_plain() -> None:
    console = "\x1bc\x1b[?7l\x1b[2JSeaBIOS\r\n[    0.0] Linux\r\n\x1b[0;31mpanic\x1b[0m\tnow\n\x00"
    assert kernel_log.plain(console) == "SeaBIOS\n[    0.0] Linux\npanic\tnow\n"


def test_the_archive_has_what_a_program_imports(tmp_path: Path) -> None:
    resident.archive(tmp_path / "files.tar")
    with tarfile.open(tmp_path / "files.tar") as tar:
        names = {f"/{member.name}" for member in tar}
    for module in (json, pyroute2, pydantic, vm):
        assert module.__file__ in names
    assert not any("/site-packages/mypy/" in name for name in names)
