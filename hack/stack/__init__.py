"""The whole product on one machine: a cluster (ours or the user's), issuer, webhook, controller, gateway.

What `make up` leaves in its folder (default .local) is relied on from outside:
admin.kubeconfig, agent.kubeconfig, approver.kubeconfig, gateway-ca.crt, issuer/key.pem, urls.env.
"""
