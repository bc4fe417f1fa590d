"""OpenTelemetry: traces and records of requests for a collector, by OTLP over HTTP. Nothing of this is imported where
`telemetry.endpoint` is not set, and the package `opentelemetry-proto` comes with `pip install miosa-router[otel]`.

The process that keeps request records makes spans of the same packs, in a thread of its own (`spans.py`): the path of a
request knows nothing of it. `exporter.py` sends them, and never waits for the collector with anything but what is to be sent.
"""
