"""The engine room behind the gateway: many models on few workers. torch: `fleet.torch` and `cold.worker` only."""
