"""A Ray cluster of nodes with one core each on this machine: prints its address, then adds a node per line it reads.

A line is empty, or the name of an environment variable that is set on the new node.
"""

import sys

import ray
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
print(cluster.address, flush=True)
for line in sys.stdin:
    name = line.strip()
    cluster.add_node(num_cpus=1, env_vars={name: "1"} if name else {})
    print(len(cluster.list_all_nodes()), flush=True)
ray.shutdown()
cluster.shutdown()
