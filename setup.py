"""What pyproject.toml cannot say: the eBPF programs are compiled where clang and libbpf-dev are."""

import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import ClassVar

from setuptools import Command, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build

OBJECTS = {
    Path("kernel/bpf/ipeql.bpf.c"): Path("ipeql/backends/bpf/ipeql.bpf.o"),
    Path("kernel/bpf/receive.bpf.c"): Path("ipeql/backends/receive/receive.bpf.o"),
}
COMPILE = ("clang", "-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-mcpu=v3")


def missing() -> list[str]:
    """Return what is not there of what compiles the eBPF programs."""
    needed = {
        "clang": shutil.which("clang"),
        "libbpf-dev": Path("/usr/include/bpf/bpf_helpers.h").exists(),
    }
    return [what for what, there in needed.items() if not there]


class BuildBpf(Command):
    """Compile the eBPF dataplane; without clang IPEQL is built without it, and says so."""

    user_options: ClassVar = [("inplace", "i", "put the object beside its source")]
    boolean_options: ClassVar = ["inplace"]

    def initialize_options(self) -> None:
        """Begin."""
        self.build_lib = None
        self.editable_mode = self.inplace = False

    def finalize_options(self) -> None:
        """Take over where the package is built."""
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self) -> None:
        """Compile, in place for an editable installation."""
        if lacking := missing():
            without = "built without the eBPF dataplane"
            sys.stderr.write(f"ipeql: no {' and no '.join(lacking)}: {without}\n")
            return
        root = Path() if self.editable_mode or self.inplace else Path(self.build_lib)
        include = f"-I/usr/include/{platform.machine()}-linux-gnu"
        for source, made in OBJECTS.items():
            output = root / made
            output.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run([*COMPILE, "-Ikernel", include, "-c", source, "-o", output], check=True)

    def get_source_files(self) -> list[str]:
        """Return what the source distribution needs."""
        return [str(path) for path in sorted(Path("kernel").glob("**/*.[ch]"))]

    def get_outputs(self) -> list[str]:
        """Return what is made."""
        return [str(Path(self.build_lib) / made) for made in OBJECTS.values()]

    def get_output_mapping(self) -> dict[str, str]:
        """Return nothing: no output of an editable installation lies elsewhere."""
        return {}


class Build(build):
    """The usual build, and the eBPF dataplane."""

    sub_commands: ClassVar = [*build.sub_commands, ("build_bpf", None)]


class Wheel(bdist_wheel):
    """A wheel for any Python 3, of this platform where it carries the eBPF programs.

    They are for Linux and for the byte order of this architecture, and their headers are of it.
    """

    def finalize_options(self) -> None:
        """Name the platform where it carries them."""
        carried = not missing() or any(made.exists() for made in OBJECTS.values())
        self.plat_name = self.plat_name or (sysconfig.get_platform() if carried else None)
        super().finalize_options()


setup(cmdclass={"bdist_wheel": Wheel, "build": Build, "build_bpf": BuildBpf})
