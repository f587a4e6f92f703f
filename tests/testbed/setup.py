#!/usr/bin/env python3
# ruff: noqa: T201 - what this script has to say, it prints
"""Find the real servers the tests need; build or unpack into a cache folder what the machine lacks.

Run it as `python3 tests/testbed/setup.py`; it needs Python alone and starts nothing. Outside the cache folder it
refreshes apt's lists when it is root and they are empty or stale, and installs Debian's chromium when it is asked for.
Each program arrives in the cache by one atomic rename, so an interrupted run leaves nothing half-done.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIRED_VARIABLE = "AUTOCANARY_TEST_REAL"
SETUP_COMMAND = "python3 tests/testbed/setup.py"
HELM = "v3.19.0"
QUEUE_PROXY_RELEASE = "v0.49.1"
"""The Go module's version of Knative Serving 1.22."""
PROMETHEUS_3 = "v0.316.0"
"""The Go module's version of Prometheus 3.16."""
USUAL_GO_FOLDER = "/usr/local/go/bin"
LONGEST_STEP_SECONDS = 45 * 60


class UnavailableError(Exception):
    """A server cannot be had on this machine; the text says why and what to do."""


def pinned_version(go_mod: Path, module: str) -> str:
    """The version that a go.mod requires of a module, as in `v0.20.0`: each version is kept in this one place."""
    pinned = re.search(rf"^(?:require)?\s+{re.escape(module)} (v\S+)", go_mod.read_text(), re.MULTILINE)
    if pinned is None:
        raise UnavailableError(f"{go_mod} does not require {module}")
    return pinned.group(1)


def kubernetes_version() -> str:
    """The pinned Kubernetes version."""
    return pinned_version(HERE / "go.mod", "k8s.io/kubernetes").removeprefix("v")


def base_folder() -> Path:
    """Where programs live between runs: outside the source tree, one folder per version of what is built there."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autocanary-testbed"


def cache_folder() -> Path:
    """The folder of what belongs to Kubernetes, and of all that is not built from a module beside this file."""
    return base_folder() / kubernetes_version()


@dataclass(frozen=True)
class GoModule:
    """A folder beside this file whose go.mod pins a project; its tools are the project's own commands.

    `variable` names another version than the pinned one. `manifests` are the folders of custom resource
    definitions and configuration that are kept beside the programs: the name there, a package of the module that
    has them, and the folder in that module.
    """

    folder: str
    module: str
    variable: str
    manifests: tuple[tuple[str, str, str], ...]

    def pinned(self) -> str:
        """The version of the go.mod."""
        return pinned_version(HERE / self.folder / "go.mod", self.module)

    def version(self) -> str:
        """The version to run: that of the environment, or the pinned one."""
        return os.environ.get(self.variable) or self.pinned()

    def cache(self) -> Path:
        """Where the programs of this version live."""
        return base_folder() / f"{self.folder}-{self.version()}"


@dataclass(frozen=True)
class TestbedProgram:
    """A program of the testbed, how this script gets it, and how a user would; `module` where it is a Go tool."""

    name: str
    get: Callable[[Path], None]
    manual_steps: str
    module: GoModule | None = None

    def cache(self) -> Path:
        """The folder that keeps it between runs."""
        return self.module.cache() if self.module is not None else cache_folder()


def find(name: str) -> Path | None:
    """The program as an executable file, or None: $KUBEBUILDER_ASSETS first, then PATH, then the cache."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    for known in SERVERS + EXTRAS:
        if known.name == name and known.module is not None:  # of one exact version, which PATH cannot tell
            return (known.cache() / name) if os.access(known.cache() / name, os.X_OK) else None
    for folders in (assets, os.environ.get("PATH"), str(cache_folder())):
        found = shutil.which(name, path=folders) if folders else None
        if found:
            return Path(found).absolute()
    return None


def run(command: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    """Run one step and turn a failure into a sentence that ends with what the tool itself said."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST_STEP_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"`{' '.join(command)}` did not end in {LONGEST_STEP_SECONDS} s") from None
    if done.returncode != 0:
        said = " / ".join(done.stdout.strip().splitlines()[-3:]) or f"exit code {done.returncode}"
        raise UnavailableError(f"`{' '.join(command)}` failed: {said}")


def output_of(command: Sequence[str], *, cwd: Path) -> str:
    """What a command prints, without what it says on the side."""
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST_STEP_SECONDS
    )
    if done.returncode != 0:
        raise UnavailableError(f"`{' '.join(command)}` failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def go() -> str:
    """The go command; the usual install folder counts even when PATH does not name it."""
    found = shutil.which("go") or shutil.which("go", path=USUAL_GO_FOLDER)
    if found is None:
        raise UnavailableError("there is no `go` command on this machine")
    return found


def build_kubernetes(name: str) -> Callable[[Path], None]:
    """Build one of Kubernetes' own commands, stamped with its version as the released binaries are."""

    def build(into: Path) -> None:
        version = kubernetes_version()
        major, minor, _ = version.split(".", 2)
        stamp = "-X k8s.io/component-base/version.git"
        flags = f"-s -w {stamp}Version=v{version} {stamp}Major={major} {stamp}Minor={minor}"
        package = f"k8s.io/kubernetes/cmd/{name}"
        command = [go(), "build", "-buildvcs=false", "-ldflags", flags, "-o", str(into / name), package]
        print(f"{name}: building {version} with Go, about 5 minutes the first time ...", flush=True)
        run(command, cwd=HERE, env={"CGO_ENABLED": "0"})

    return build


@contextlib.contextmanager
def source_of(module: GoModule) -> Iterator[Path]:
    """The folder to build a module's tools in: the one beside this file, or a copy that asks for another version."""
    if module.version() == module.pinned():
        yield HERE / module.folder
        return
    with tempfile.TemporaryDirectory(prefix="autocanary-go-") as made:
        folder = Path(made)
        shutil.copy(HERE / module.folder / "go.mod", folder)
        tools = tools_of(folder / "go.mod")
        replace_as_upstream(folder, f"{module.module}@{module.version()}")
        run([go(), "get", "-tool", *(f"{tool}@{module.version()}" for tool in tools)], cwd=folder)
        yield folder


def tools_of(go_mod: Path) -> list[str]:
    """The packages on the `tool` lines."""
    return re.findall(r"^(?:tool)?\s+(\S+/cmd/\S+)$", go_mod.read_text(), re.MULTILINE)


def replace_as_upstream(folder: Path, wanted: str) -> None:
    """Give the go.mod in `folder` the replacements of another version: Go heeds those of the main module alone."""
    downloaded = json.loads(output_of([go(), "mod", "download", "-json", wanted], cwd=folder))
    theirs = json.loads(output_of([go(), "mod", "edit", "-json", downloaded["GoMod"]], cwd=folder))
    ours = json.loads(output_of([go(), "mod", "edit", "-json"], cwd=folder))

    def place(module: Mapping[str, str]) -> str:
        return f"{module['Path']}@{module['Version']}" if module.get("Version") else module["Path"]

    edits = [f"-dropreplace={place(each['Old'])}" for each in ours.get("Replace") or ()]
    edits += [f"-droprequire={each['Path']}" for each in ours.get("Require") or ()]
    edits += [f"-replace={place(each['Old'])}={place(each['New'])}" for each in theirs.get("Replace") or ()]
    run([go(), "mod", "edit", *edits], cwd=folder)


def build_tool(module: GoModule, name: str, package: str) -> Callable[[Path], None]:
    """Build one command of a project at the version of its module, with the manifests that belong to it."""

    def build(into: Path) -> None:
        print(f"{name}: building {module.version()} with Go, 3 to 10 minutes the first time ...", flush=True)
        with source_of(module) as source:
            target = ["-o", str(into / name), package]
            run([go(), "build", "-buildvcs=false", "-ldflags", "-s -w", *target], cwd=source, env={"CGO_ENABLED": "0"})
            for kept, part, path in module.manifests:
                where = output_of([go(), "list", "-find", "-f", "{{.Module.Dir}}", part], cwd=source).strip()
                copy_manifests(Path(where) / path, into / kept)

    return build


def copy_manifests(source: Path, target: Path) -> None:
    """Copy the YAML files of a folder; the files of the module cache are read-only, these are not."""
    for file in sorted(source.rglob("*.yaml")):
        copied = target / file.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copied)


def build_helm(into: Path) -> None:
    """Build helm, which only the chart's tests need."""
    print(f"helm: building {HELM} with Go, about 2 minutes the first time ...", flush=True)
    command = [go(), "install", "-buildvcs=false", f"helm.sh/helm/v3/cmd/helm@{HELM}"]
    run(command, cwd=into, env={"CGO_ENABLED": "0", "GOBIN": str(into)})


def build_prometheus_3(into: Path) -> None:
    """Build Prometheus 3 from its Go module: without its pages and service discoveries, a third of the time."""
    print("prometheus3: building with Go, about 2 minutes the first time ...", flush=True)
    major_minor = PROMETHEUS_3.removeprefix("v0.").partition(".")[0]
    flags = f"-s -w -X github.com/prometheus/common/version.Version={major_minor[0]}.{major_minor[1:]}.0"
    package = f"github.com/prometheus/prometheus/cmd/prometheus@{PROMETHEUS_3}"
    command = [go(), "install", "-buildvcs=false", "-tags", "remove_all_sd", "-ldflags", flags, package]
    run(command, cwd=into, env={"CGO_ENABLED": "0", "GOBIN": str(into)})
    (into / "prometheus").rename(into / "prometheus3")


def build_queue_proxy(into: Path) -> None:
    """Build Knative's queue-proxy, which only one test of sources needs."""
    print(f"queue-proxy: building {QUEUE_PROXY_RELEASE} with Go, about 2 minutes the first time ...", flush=True)
    command = [
        go(),
        "install",
        "-buildvcs=false",
        "-ldflags",
        "-s -w",
        f"knative.dev/serving/cmd/queue@{QUEUE_PROXY_RELEASE}",
    ]
    run(command, cwd=into, env={"CGO_ENABLED": "0", "GOBIN": str(into)})
    (into / "queue").rename(into / "queue-proxy")


def unpack_debian(package: str, *names: str) -> Callable[[Path], None]:
    """Take programs out of a Debian package without installing it: no service starts, no root is needed."""

    def unpack(into: Path) -> None:
        apt = shutil.which("apt-get")
        if apt is None:
            raise UnavailableError(f"there is no apt-get on this machine to fetch Debian's `{package}` with")
        download = [apt, "-q", "-o", "APT::Sandbox::User=root", "download", package]
        try:
            run(download, cwd=into)
        except UnavailableError:
            if os.geteuid() != 0:
                raise
            run([apt, "-q", "update"], cwd=into)
            run(download, cwd=into)
        [archive] = into.glob("*.deb")
        run(["dpkg-deb", "-x", str(archive), "unpacked"], cwd=into)
        for name in names:
            (into / "unpacked/usr/bin" / name).rename(into / name)

    return unpack


def unpack_libfaketime(into: Path) -> None:
    """Take the library out of its Debian package; executable, so that it is found as the programs are."""
    unpack_debian("libfaketime")(into)
    [library] = into.glob("unpacked/usr/lib/*/faketime/libfaketimeMT.so.1")
    library.chmod(0o755)
    library.rename(into / FAKETIME)


def install_chromium(into: Path) -> None:
    """Install Debian's browser with all it needs: a hundred libraries, so it cannot run from a folder of its own."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        raise UnavailableError("only root can install Debian's `chromium`, with apt-get")
    install = [apt, "-q", "-o", "APT::Sandbox::User=root", "install", "-y", "--no-install-recommends", CHROMIUM]
    try:
        run(install, cwd=into, env={"DEBIAN_FRONTEND": "noninteractive"})
    except UnavailableError:
        run([apt, "-q", "update"], cwd=into)
        run(install, cwd=into, env={"DEBIAN_FRONTEND": "noninteractive"})
    (into / CHROMIUM).symlink_to(Path("/usr/bin") / CHROMIUM)


CHROMIUM = "chromium"
FAKETIME = "libfaketime.so"
PROMETHEUS = unpack_debian("prometheus", "prometheus", "promtool")
SERVERS = (
    TestbedProgram("etcd", unpack_debian("etcd-server", "etcd"), "install etcd 3.4 or newer"),
    TestbedProgram("prometheus", PROMETHEUS, "install Prometheus 2.42 or newer"),
    TestbedProgram("promtool", PROMETHEUS, "install Prometheus 2.42 or newer, which brings promtool"),
    TestbedProgram("prometheus3", build_prometheus_3, "install Go 1.26 or newer"),
    TestbedProgram(
        "victoria-metrics",
        unpack_debian("victoria-metrics", "victoria-metrics"),
        "install VictoriaMetrics 1.79 or newer as victoria-metrics",
    ),
    TestbedProgram("kubectl", build_kubernetes("kubectl"), "install kubectl, or Go 1.24 or newer"),
    TestbedProgram("kube-apiserver", build_kubernetes("kube-apiserver"), "install Go 1.24 or newer"),
)
KSERVE = GoModule(
    "kserve",
    "github.com/kserve/kserve",
    "AUTOCANARY_TEST_KSERVE",
    (("config", "github.com/kserve/kserve/cmd/manager", "config"),),
)
KNATIVE = GoModule(
    "knative",
    "knative.dev/serving",
    "AUTOCANARY_TEST_KNATIVE",
    (
        ("config", "knative.dev/serving/cmd/controller", "config/core"),
        ("networking", "knative.dev/networking/config", "config"),
        ("caching", "knative.dev/caching/config", "config"),
    ),
)
NEWER_GO = "install Go 1.25 or newer"
EXTRAS = (
    TestbedProgram("queue-proxy", build_queue_proxy, "install Go 1.26 or newer"),
    TestbedProgram("helm", build_helm, "install helm 3.19, or Go 1.24 or newer"),
    TestbedProgram(CHROMIUM, install_chromium, "run `apt-get install chromium` as root"),
    TestbedProgram(FAKETIME, unpack_libfaketime, f"put libfaketimeMT.so.1 on the PATH as {FAKETIME}, executable"),
    TestbedProgram("kube-controller-manager", build_kubernetes("kube-controller-manager"), "install Go 1.24 or newer"),
    TestbedProgram(
        "knative-webhook", build_tool(KNATIVE, "knative-webhook", "knative.dev/serving/cmd/webhook"), NEWER_GO, KNATIVE
    ),
    TestbedProgram(
        "knative-controller",
        build_tool(KNATIVE, "knative-controller", "knative.dev/serving/cmd/controller"),
        NEWER_GO,
        KNATIVE,
    ),
    TestbedProgram(
        "kserve-manager",
        build_tool(KSERVE, "kserve-manager", "github.com/kserve/kserve/cmd/manager"),
        NEWER_GO,
        KSERVE,
    ),
)
CONTROLLERS = ("kube-controller-manager", "knative-webhook", "knative-controller", "kserve-manager")
GROUPS = {"kserve": CONTROLLERS}
"""One word for several extras on the command line."""


def obtain(server: TestbedProgram) -> Path:
    """Build or unpack one server into the cache and give its path there."""
    cache = server.cache()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incomplete-", dir=cache) as folder:
        server.get(Path(folder))
        for kept, _, _ in server.module.manifests if server.module is not None else ():
            if not (cache / kept).exists():  # the other tools of a module bring the same
                (Path(folder) / kept).replace(cache / kept)
        for made in (other.name for other in SERVERS + EXTRAS):
            if (Path(folder) / made).is_file():
                (Path(folder) / made).replace(cache / made)
    return cache / server.name


@contextlib.contextmanager
def only_one_at_a_time() -> Iterator[None]:
    """Let a second run started beside the first wait for its result instead of building the same again."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with open(cache_folder() / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def ensure(server: TestbedProgram) -> bool:
    """Make sure one server is there and print the one line about it."""
    if found := find(server.name):
        print(f"{server.name}: found {found}")
        return True
    began = time.monotonic()
    try:
        made = obtain(server)
    except (UnavailableError, OSError) as why:
        print(
            f"{server.name}: missing; {why}. To have it: {server.manual_steps}, then run `{SETUP_COMMAND}` again,"
            f" or name a folder that holds it in KUBEBUILDER_ASSETS."
        )
        return False
    print(f"{server.name}: made {made} in {time.monotonic() - began:.0f} s")
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 when the real servers are required and one cannot be had."""
    parser = argparse.ArgumentParser(prog=SETUP_COMMAND, description="Get the servers the tests run against.")
    names = [extra.name for extra in EXTRAS]
    parser.add_argument("--with", dest="extras", action="append", default=[], choices=[*GROUPS, *names])
    for module in (KSERVE, KNATIVE):
        parser.add_argument(f"--{module.folder}", metavar="VERSION", help=f"as in {module.pinned()}, the one pinned")
    given = parser.parse_args(arguments)
    for module in (KSERVE, KNATIVE):
        if getattr(given, module.folder):
            os.environ[module.variable] = getattr(given, module.folder)
    chosen = {name for extra in given.extras for name in GROUPS.get(extra, (extra,))}
    with only_one_at_a_time():
        wanted = SERVERS + tuple(extra for extra in EXTRAS if extra.name in chosen)
        missing = [server.name for server in wanted if not ensure(server)]
    if not missing:
        return 0
    names = ", ".join(missing)
    if os.environ.get(REQUIRED_VARIABLE) == "required":
        print(f"{REQUIRED_VARIABLE}=required, but {names} cannot be had on this machine.", file=sys.stderr)
        return 1
    print(f"The tests that need {names} will be skipped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
