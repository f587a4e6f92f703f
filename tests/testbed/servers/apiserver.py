"""A real kube-apiserver with RBAC, an audit log and as many users as a test wants to tell apart.

There is no controller manager and no kubelet: nothing is garbage-collected, namespaces stay in Terminating,
and no token is minted. Users come from a token file instead; one called
`system:serviceaccount:NAMESPACE:NAME` is that service account as far as RBAC can tell.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.testbed.servers.etcd import Etcd
from tests.testbed.servers.http import fetch
from tests.testbed.servers.process import ServerError, ServerProcess, free_port, program

ADMIN = "admin"

# Bodies only for what a test may want to read back: the writes, and not the megabytes of the CRDs.
AUDIT_POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"]}
AUDIT_RULES = (
    {"level": "Metadata", "resources": [{"group": "apiextensions.k8s.io"}]},
    {"level": "Request", "verbs": ["create", "update", "patch", "delete"]},
    {"level": "Metadata"},
)


class KubectlError(Exception):
    """kubectl ended with an error; the text is the command and what it said."""


def _audit_event(line: bytes) -> dict[str, Any] | None:
    """One event; None where the request's body is nested too deeply to be decoded."""
    try:
        event: dict[str, Any] = json.loads(line)
    except RecursionError:
        return None
    return event


class ApiServer(ServerProcess):
    """kube-apiserver on its own etcd: the admin is in system:masters, the other users start with no right."""

    name = "kube-apiserver"

    def __init__(
        self,
        users: Sequence[str] = (),
        *,
        flags: Sequence[str] = (),
        folder: Path | None = None,
        audit_admin: bool = True,
    ) -> None:
        """Without `audit_admin` the admin's requests are not noted: with real controllers those are most."""
        super().__init__(folder)
        self.etcd = Etcd(self.folder / "etcd")
        self.users = (ADMIN, *users)
        self._port = free_port()
        self.flags = tuple(flags)
        """Further arguments of the server, from its next start on."""
        self.url = f"https://127.0.0.1:{self._port}"
        self.certificates = self.folder / "certificates"
        self.certificates.mkdir(exist_ok=True)
        self.ca = self.certificates / "apiserver.crt"
        self.audit_log = self.folder / "audit.log"
        self._audited: list[dict[str, Any]] = []  # each line is read once, however often a test asks
        self._audited_to = 0
        self._audit_lock = threading.Lock()
        unnoted = [] if audit_admin else [{"level": "None", "users": [ADMIN]}]
        audit_policy = {**AUDIT_POLICY, "rules": [*unnoted, *AUDIT_RULES]}
        (self.folder / "audit-policy.json").write_text(json.dumps(audit_policy))
        rows = [f'{self.token(ADMIN)},{ADMIN},{ADMIN},"system:masters"']
        rows += [f"{self.token(user)},{user},{user}" for user in users]
        (self.folder / "tokens.csv").write_text("\n".join(rows) + "\n")

    def token(self, user: str = ADMIN) -> str:
        """The bearer token of a user named at construction."""
        if user not in self.users:
            raise ValueError(f"no user {user!r}: this API server knows {', '.join(self.users)}")
        return "token-of-" + user.replace(":", "-")

    def command(self) -> list[str]:
        """See `ServerProcess.command`."""
        # The server makes apiserver.key before it reads the service-account keys: one pair serves for both.
        key = self.certificates / "apiserver.key"
        return [
            program("kube-apiserver"),
            f"--etcd-servers={self.etcd.url}",
            f"--cert-dir={self.certificates}",
            f"--secure-port={self._port}",
            "--bind-address=127.0.0.1",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--disable-admission-plugins=ServiceAccount",
            f"--audit-policy-file={self.folder / 'audit-policy.json'}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=4096",  # MiB: the tests read on where they stopped, in one file
            *self.flags,
        ]

    def start(self) -> None:
        """Start etcd, unless it still runs from before a crash, and then the API server."""
        if not self.etcd.running:
            self.etcd.start()
        super().start()

    def ready(self) -> bool:
        """Whether every start-up hook is through and the default namespace exists."""
        try:
            statuses = [self.request(path)[0] for path in ("/readyz", "/api/v1/namespaces/default")]
        except (OSError, http.client.HTTPException):
            return False
        return statuses == [200, 200]

    def __exit__(self, *error: Any) -> None:
        self.kill()
        self.etcd.kill()
        super().__exit__(*error)

    def request(
        self,
        path: str,
        *,
        user: str = ADMIN,
        method: str = "GET",
        body: object = None,
        content_type: str = "application/json",
        seconds: float = 5.0,
    ) -> tuple[int, bytes]:
        """Status and body of one request, for a test that wants the answer itself rather than kubectl's."""
        return fetch(
            self.url + path,
            method=method,
            headers={"Authorization": f"Bearer {self.token(user)}", "Content-Type": content_type},
            ca=self.ca,
            body=None if body is None else json.dumps(body).encode(),
            seconds=seconds,
        )

    def kubeconfig(self, user: str = ADMIN, *, server: str | None = None) -> Path:
        """A kubeconfig file for a user; `server` names a proxy of the tests to go through instead."""
        cluster: dict[str, object] = {"server": server or self.url}
        if (server or self.url).startswith("https:"):
            cluster["certificate-authority"] = str(self.ca)
        where = f"{user}-via-{server.rpartition(':')[2]}" if server else user
        path = self.folder / f"kubeconfig-{where.replace(':', '-')}.json"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.token(user)}}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
            "current-context": "testbed",
        }
        # Put in place whole: a test's other thread may be running a kubectl that reads it just now.
        half = path.with_name(f"{path.name}.{threading.get_ident()}")
        half.write_text(json.dumps(config))
        half.replace(path)
        return path

    def kubectl(self, *arguments: str, user: str = ADMIN, stdin: str | None = None, seconds: float = 60.0) -> str:
        """What kubectl prints, run as a user; KubectlError with its complaint when it exits non-zero."""
        environment = {
            "KUBECONFIG": str(self.kubeconfig(user)),
            "HOME": str(self.folder),
            "PATH": "/usr/bin:/bin",
        }
        command = [program("kubectl"), *arguments]
        done = subprocess.run(command, env=environment, input=stdin, capture_output=True, text=True, timeout=seconds)
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)} (as {user}): {done.stderr.strip()}")
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or change objects as the admin, by server-side apply."""
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)

    def grant(self, user: str, rules: Sequence[Mapping[str, Any]], *, name: str = "autocanary") -> None:
        """Give a user these rights in every namespace; the name is that of the role and its binding."""
        group = "rbac.authorization.k8s.io"
        role = {"apiGroup": group, "kind": "ClusterRole", "name": name}
        self.apply(
            {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
            {
                "apiVersion": f"{group}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": name},
                "roleRef": role,
                "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
            },
        )

    def audit(self, user: str | None = None) -> list[dict[str, Any]]:
        """Every request answered so far, oldest first, with writes' bodies; of one user when given."""
        with self._audit_lock:
            if self.audit_log.exists():
                with self.audit_log.open("rb") as file:
                    file.seek(self._audited_to)
                    whole, newline, _ = file.read().rpartition(b"\n")  # the last line may not be whole yet
                self._audited += [event for line in whole.splitlines() if (event := _audit_event(line)) is not None]
                self._audited_to += len(whole) + len(newline)
            events = list(self._audited)
        return [event for event in events if user is None or event["user"].get("username") == user]

    def _failed(self, what: str) -> ServerError:
        failure = super()._failed(what)
        return ServerError(f"{failure}\nThe end of {self.etcd.log}:\n{self.etcd.tail(5)}")
