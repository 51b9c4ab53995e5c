"""Masking of answers on the data path: what is asked for upstream, how it is read, and what the client gets instead.

Every answer that policy wants masked goes through one `AnswerFilter`. What it cannot read it refuses. It decides nothing
about what a secret is: that is `chaperone.core.masking`.
"""
