"""Real servers for the tests, and the things of ours they talk to: each one a context manager on free ports.

Nothing here knows autocanary: a class starts a server, does it harm, or records what it was sent.
"""

from tests.testbed.servers.apiserver import ApiServer, KubectlError
from tests.testbed.servers.crds import (
    install_inferenceservice_crd,
    install_kfserving_crd,
    install_kubeflow_crd,
)
from tests.testbed.servers.etcd import Etcd
from tests.testbed.servers.exporter import Exporter
from tests.testbed.servers.faults import (
    LOGIN_PAGE,
    CutBody,
    Delay,
    DropResponse,
    Forward,
    Hang,
    Reset,
    RespondInstead,
    any_request,
    writes,
)
from tests.testbed.servers.http_sink import HttpSink, ReceivedRequest, SinkReply, SlackServer
from tests.testbed.servers.process import ServerError, free_port, wait_until
from tests.testbed.servers.prometheus import Prometheus, Prometheus3, QueryError, Scrape, VictoriaMetrics
from tests.testbed.servers.proxy import FaultProxy, InjectedFault, TcpProxy
from tests.testbed.servers.skip_without_servers import missing_servers, require_servers, skip_unless_required

__all__ = [
    "LOGIN_PAGE",
    "ApiServer",
    "CutBody",
    "Delay",
    "DropResponse",
    "Etcd",
    "Exporter",
    "FaultProxy",
    "Forward",
    "Hang",
    "HttpSink",
    "InjectedFault",
    "KubectlError",
    "Prometheus",
    "Prometheus3",
    "QueryError",
    "ReceivedRequest",
    "Reset",
    "RespondInstead",
    "Scrape",
    "ServerError",
    "SinkReply",
    "SlackServer",
    "TcpProxy",
    "VictoriaMetrics",
    "any_request",
    "free_port",
    "install_inferenceservice_crd",
    "install_kfserving_crd",
    "install_kubeflow_crd",
    "missing_servers",
    "require_servers",
    "skip_unless_required",
    "wait_until",
    "writes",
]
