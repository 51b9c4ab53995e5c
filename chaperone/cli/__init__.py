"""`chaperone` and `kubectl chaperone`: what people do with approvals, and what a platform team does with policies.

It decides nothing itself: policies are judged by `chaperone.core.gate`, decisions are guarded by the webhook. Text that
comes from agents is escaped before it is shown. Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
"""
