"""The frames of exec, attach, cp and port-forward: read in arbitrary pieces, understood, and written anew. No I/O.

What is not understood is a StreamError; whoever reads then ends the stream.
"""
