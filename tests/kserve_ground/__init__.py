"""The third ground of the traps: the real KServe and Knative controllers; nodes, ingress and autoscaler are simulated."""
