"""Serving WSGI applications: TLS with live renewal, gunicorn's threads. Shared by the webhook and the console."""
