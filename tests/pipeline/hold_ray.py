"""Starts a Ray of its own, prints its address, and keeps it until it is killed."""

import signal

import ray

ray.init(
    address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
    object_store_memory=100 << 20,
)  # fmt: skip
print(ray.get_runtime_context().gcs_address, flush=True)
signal.pause()
