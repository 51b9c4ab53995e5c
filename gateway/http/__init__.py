"""HTTP/1.1 on both sides of the gateway, as raw asyncio protocols. Knows connections and bytes, no policy."""
