"""Authentication of agents: bearer tokens become callers, or refusals."""

from gateway.authn.authenticator import Authenticator, Reload
from gateway.authn.issuers_file import ConfigurationError

__all__ = ["Authenticator", "ConfigurationError", "Reload"]
