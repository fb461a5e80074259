"""Prometheus' own parser over what stands in standard input."""
import sys

from prometheus_client.parser import text_string_to_metric_families

families = {family.name: family for family in text_string_to_metric_families(sys.stdin.read())}
for name in ["etcd_server_has_leader", "etcd_mvcc_put", "etcd_disk_wal_fsync_duration_seconds", "grpc_server_handled"]:
    assert name in families, (name, sorted(families))
for family in families.values():
    assert family.documentation and family.type != "unknown", family
    labels = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
    assert len(labels) == len(set(labels)), family.name
assert families["etcd_server_has_leader"].samples[0].value == 1
print("all is well")
