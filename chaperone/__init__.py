"""kube-chaperone's library: pure decisions, the Kubernetes client side, settings. It imports no program."""

__version__ = "0.1.0"
