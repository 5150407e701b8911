"""A Ray cluster of nodes with one core each on this machine: prints its address, then adds a node per line it reads.

A line is empty, or an environment variable that is set on the new node, as NAME or NAME=VALUE. "drain" tells the
newest node that it will be taken away in a minute; "terminate" ends it then, "kill" at once; "silence" has it answer
nobody any more, as one does that no network reaches.
"""

import sys
import time

import psutil
import ray
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
print(cluster.address, flush=True)
PREEMPTION = 2
newest = None
for line in sys.stdin:
    name = line.strip()
    if name == "drain":
        deadline = int(1000 * (time.time() + 60))
        print(GcsClient(cluster.address).drain_node(newest.node_id, PREEMPTION, "spot", deadline)[0], flush=True)
        continue
    if name in ("terminate", "kill"):
        cluster.remove_node(newest, allow_graceful=name == "terminate")
        print(len(cluster.list_all_nodes()), flush=True)
        continue
    if name == "silence":
        raylet = psutil.Process(newest.all_processes["raylet"][0].process.pid)
        for process in (raylet, *raylet.children(recursive=True)):
            if "Agent" not in process.name():  # they end with the raylet, but not while they are suspended
                process.suspend()
        print("silent", flush=True)
        continue
    name, _, value = name.partition("=")
    newest = cluster.add_node(num_cpus=1, env_vars={name: value or "1"} if name else {})
    print(len(cluster.list_all_nodes()), flush=True)
ray.shutdown()
cluster.shutdown()
