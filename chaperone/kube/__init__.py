"""The only code of the library that talks to the Kubernetes API.

The asynchronous part (endpoint, connection, mirror, approvals, tokens) carries the gateway: aiohttp and plain JSON, so
that nothing on the data path ever blocks. The other programs use the official client.
"""
