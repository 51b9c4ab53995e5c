"""The settings of each program as frozen dataclasses: read once, validated whole, passed down.

One module a program (gateway, webhook, controller); `loading` reads and checks them all the same way.
"""
