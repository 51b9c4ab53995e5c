"""The taps of exec, attach and port-forward: they mask what is shown, and record it while it passes.

What a stream's bytes mean is `chaperone.core.streams`; what a recording looks like is `chaperone.core.recording`.
"""
