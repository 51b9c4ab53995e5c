"""The peer of the admission bench: a Flask application that reads a body and answers without looking at it."""

from flask import Flask, Response, request

app = Flask(__name__, static_folder=None)

ANSWER = (
    b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"bench","allowed":true}}'
)


@app.post("/guard")
def allow() -> Response:
    request.get_data(cache=False)
    return Response(ANSWER, mimetype="application/json")
