"""The reasons for everything autocanary does or does not do.

One enum, shared by logs, metrics, Kubernetes Events, conditions, Slack and the documentation, so that
users can search for one word everywhere. docs/troubleshooting.md explains each; a test checks that.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["Reason"]


class Reason(str, Enum):
    """UpperCamelCase, as Kubernetes conditions and Events want them. Stable: users alert on them."""

    # moving
    ROLLOUT_STARTED = "RolloutStarted"  # a candidate was adopted
    INTERCEPTED_UNSTAGED = "InterceptedUnstaged"  # applied without the field; set to 0 before it was ready
    WAITING_FOR_REVISION = "WaitingForRevision"  # the candidate is not ready yet
    WAITING_FOR_EFFECT = "WaitingForEffect"  # the weight was written; the traffic does not show it yet
    ANALYSING = "Analysing"  # the step is held and analysed
    STEP_PASSED = "StepPassed"  # the analysis passed the step; the next weight was written
    FINALIZING = "Finalizing"  # all traffic is on the candidate; it is made stable in the spec too
    PROMOTED = "Promoted"
    # holding: wants to move, may not
    WARMING_UP = "WarmingUp"  # samples just after a weight change are not analysed
    VIOLATION_SEEN = "ViolationSeen"  # a metric is out of range, but below its failure limit
    TOO_FEW_REQUESTS = "TooFewRequests"
    GATHERING_EVIDENCE = "GatheringEvidence"  # the comparison with stable cannot say yet
    SUSPICIOUS = "Suspicious"  # the candidate looks worse than stable, without enough evidence
    BEYOND_OBJECTIVE = "BeyondObjective"  # beyond the SLO, and not shown to be worse than stable
    TRAFFIC_MISSING = "TrafficMissing"  # the candidate completes far fewer requests than its share
    INCONCLUSIVE = "Inconclusive"  # the step's time is over, and nothing can be said
    NO_DATA = "NoData"  # no traffic reached the canary, or nothing measures it
    METRICS_OUTAGE = "MetricsOutage"  # Prometheus cannot answer
    METRICS_STALE = "MetricsStale"  # it answers with old samples: the scrape has stopped
    METRICS_PARTIAL = "MetricsPartial"  # it answers, but says that the answer is incomplete
    METRICS_NOT_A_NUMBER = "MetricsNotANumber"
    SHARED_OUTAGE = "SharedOutage"  # stable and the candidate both fail: the comparison says nothing
    WINDOW_CLOSED = "WindowClosed"
    WEBHOOK_PENDING = "WebhookPending"  # a policy webhook has not said yes
    OBSERVATION_STALE = "ObservationStale"  # the service has not been seen lately: nothing is concluded
    # stopped by a user or another client
    AWAITING_APPROVAL = "AwaitingApproval"  # pause: {} in the policy
    PAUSED_BY_USER = "PausedByUser"
    RESUMED_BY_USER = "ResumedByUser"
    PROMOTED_BY_USER = "PromotedByUser"
    ABORTED_BY_USER = "AbortedByUser"
    RETRIED_BY_USER = "RetriedByUser"
    EXTERNAL_CHANGE = "ExternalChange"  # another client wrote the weight
    STABLE_FAILED = "StableFailed"  # stable's pods failed: Knative changes no weight
    ROUTE_NOT_READY = "RouteNotReady"  # the split is as asked for, but its route is not ready
    WEIGHT_LOST = "WeightLost"  # a client removed the field, which would have promoted the candidate
    FAILURE_PAUSED = "FailurePaused"  # a violation, and the policy says pause instead of rollback
    # rolling back
    METRIC_VIOLATION = "MetricViolation"
    WORSE_THAN_STABLE = "WorseThanStable"  # the comparison is sure
    FAILED_REQUESTS_EXCEEDED = "FailedRequestsExceeded"  # the candidate has used up its budget of failed requests
    NO_DATA_DEADLINE = "NoDataDeadline"
    OUTAGE_DEADLINE = "OutageDeadline"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    REVISION_FAILED = "RevisionFailed"  # the candidate's pods failed, before or after they were ready
    ROLLBACK_WEBHOOK = "RollbackWebhook"  # a `rollback` webhook asked for it
    ROLLBACK_UNRECORDED = "RollbackUnrecorded"  # begun while nothing could be recorded, and finished
    ROLLBACK_BLOCKED = "RollbackBlocked"  # weight is 0 in the spec, the traffic does not move
    # the service itself
    COMPONENTS_TOGETHER = "ComponentsTogether"  # two components were changed at once, in no stated order
    WAITING_FOR_COMPONENT = "WaitingForComponent"  # another component's rollout comes first
    UNGOVERNED_COMPONENT = "UngovernedComponent"  # another component changed too, and no policy rolls it out
    NEW_REVISION = "NewRevision"  # a newer candidate replaces this one
    REVERTED = "Reverted"
    WRONG_STABLE = "WrongStable"  # KServe sends traffic to the revision before stable
    TRAFFIC_DRIFTED = "TrafficDrifted"  # the traffic no longer shows the weight that was in effect
    STABLE_SPEC_UNKNOWN = "StableSpecUnknown"  # a repair is needed but the stable spec was never seen
    STABLE_CHANGED = "StableChanged"  # stable itself was replaced during the rollout
    SERVICE_DELETED = "ServiceDeleted"
    SERVICE_STOPPED = "ServiceStopped"
    SERVICE_REPLACED = "ServiceReplaced"  # same name, other uid; or its revisions are renumbered
    REVISION_CHURN = "RevisionChurn"  # new revisions come faster than any can be analysed
    KNOWN_BAD = "KnownBad"  # made of the very spec that was rolled back before
    MISSED_UNSTAGED = "MissedUnstaged"  # the revision took 100 % before it could be intercepted
    CANARY_UNSUPPORTED = "CanaryUnsupported"  # KFServing 0.5 and 0.6 refuse a weight in v1alpha2
    UNSUPPORTED_DEPLOYMENT_MODE = "UnsupportedDeploymentMode"
    AUTO_UPDATE_DISABLED = "AutoUpdateDisabled"
    # policies
    POLICY_INVALID = "PolicyInvalid"
    POLICY_TIE = "PolicyTie"  # two policies are equally specific for one service

    def __str__(self) -> str:
        return self.value
