"""Kubernetes' own resources by the names that people type, so that `deploy` needs no cluster to be found.

Sources: `kubectl api-resources` of current Kubernetes, and our own definitions in crds/. Custom resources are not
known here: they are written with their group ("widgets.example.com").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Builtin:
    """version: the newest stable one."""

    plural: str
    group: str
    version: str
    namespaced: bool


_NAMESPACED = {
    "/v1": "pods=pod=po services=service=svc configmaps=configmap=cm secrets=secret serviceaccounts=serviceaccount=sa "
    "endpoints=ep persistentvolumeclaims=persistentvolumeclaim=pvc replicationcontrollers=replicationcontroller=rc "
    "resourcequotas=resourcequota=quota limitranges=limitrange=limits podtemplates=podtemplate bindings=binding "
    "events=event=ev",
    "apps/v1": "deployments=deployment=deploy statefulsets=statefulset=sts daemonsets=daemonset=ds "
    "replicasets=replicaset=rs controllerrevisions=controllerrevision",
    "authorization.k8s.io/v1": "localsubjectaccessreviews=localsubjectaccessreview",
    "autoscaling/v2": "horizontalpodautoscalers=horizontalpodautoscaler=hpa",
    "batch/v1": "jobs=job cronjobs=cronjob=cj",
    "coordination.k8s.io/v1": "leases=lease",
    "discovery.k8s.io/v1": "endpointslices=endpointslice",
    "networking.k8s.io/v1": "ingresses=ingress=ing networkpolicies=networkpolicy=netpol",
    "policy/v1": "poddisruptionbudgets=poddisruptionbudget=pdb",
    "rbac.authorization.k8s.io/v1": "roles=role rolebindings=rolebinding",
}
_CLUSTER_SCOPED = {
    "/v1": "nodes=node=no namespaces=namespace=ns persistentvolumes=persistentvolume=pv "
    "componentstatuses=componentstatus=cs",
    "admissionregistration.k8s.io/v1": "validatingwebhookconfigurations=validatingwebhookconfiguration "
    "mutatingwebhookconfigurations=mutatingwebhookconfiguration "
    "validatingadmissionpolicies=validatingadmissionpolicy "
    "validatingadmissionpolicybindings=validatingadmissionpolicybinding",
    "apiextensions.k8s.io/v1": "customresourcedefinitions=customresourcedefinition=crd=crds",
    "apiregistration.k8s.io/v1": "apiservices=apiservice",
    "authentication.k8s.io/v1": "tokenreviews=tokenreview selfsubjectreviews=selfsubjectreview",
    "authorization.k8s.io/v1": "subjectaccessreviews=subjectaccessreview "
    "selfsubjectaccessreviews=selfsubjectaccessreview selfsubjectrulesreviews=selfsubjectrulesreview",
    "certificates.k8s.io/v1": "certificatesigningrequests=certificatesigningrequest=csr",
    "chaperone.dev/v1alpha1": "agentpolicies=agentpolicy=agpol approvalrequests=approvalrequest=apreq "
    "agentsessions=agentsession=agsess",
    "flowcontrol.apiserver.k8s.io/v1": "flowschemas=flowschema prioritylevelconfigurations=prioritylevelconfiguration",
    "networking.k8s.io/v1": "ingressclasses=ingressclass",
    "node.k8s.io/v1": "runtimeclasses=runtimeclass",
    "rbac.authorization.k8s.io/v1": "clusterroles=clusterrole clusterrolebindings=clusterrolebinding",
    "scheduling.k8s.io/v1": "priorityclasses=priorityclass=pc",
    "storage.k8s.io/v1": "storageclasses=storageclass=sc volumeattachments=volumeattachment csidrivers=csidriver "
    "csinodes=csinode",
}


def _read(table: Mapping[str, str], *, namespaced: bool) -> dict[str, Builtin]:
    found = {}
    for api, words in table.items():
        group, _, version = api.partition("/")
        for names in words.split():
            plural = names.split("=")[0]
            resource = Builtin(plural, group, version, namespaced)
            found.update(dict.fromkeys(names.split("="), resource))
    return found


BUILTINS: Mapping[str, Builtin] = {
    **_read(_CLUSTER_SCOPED, namespaced=False),
    **_read(_NAMESPACED, namespaced=True),
}
"""Plural, singular and short names to the resource."""
