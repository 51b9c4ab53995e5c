"""What is kept of a stream: asciicast v2 for terminals, a transcript for everything else; written here, and read.

Only what the client was shown is recorded: masked already. Nothing here does I/O or knows the time; `now` is given.
"""
