"""Sends spans to OpenTelemetry: run > node > phase > step. ``rpd run -p rpd_otel``.

They go to where the standard variables say (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_SERVICE_NAME``, ...). Commands on
pods get ``TRACEPARENT``, so that spans of your training code hang below their node.
"""

import threading
from datetime import datetime

import rpd
from rpd.errors import UsageError


def make_exporter():
    """Return the exporter of the spans."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


class Spans:
    """The spans of one run. Nodes run on several threads."""

    def __init__(self, exporter):
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self.provider = TracerProvider()
        self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self.provider.get_tracer("rpd")
        self.lock = threading.Lock()
        self.run = None
        self.nodes = {}

    def begin(self, name, parent=None, at=None, **attributes):
        from opentelemetry.trace import set_span_in_context

        context = set_span_in_context(parent) if parent is not None else None
        start = None if at is None else nanoseconds(at)
        given = {f"rpd.{key}": value for key, value in attributes.items() if value not in ("", None)}
        return self.tracer.start_span(name, context=context, start_time=start, attributes=given)


spans = None


def rpd_configure(config):
    try:
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError:
        raise UsageError(
            "rpd_otel needs OpenTelemetry: pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
        ) from None


def rpd_run_started(config, plan, backend, folder):
    global spans
    if folder is None:  # a dry run
        return
    spans = Spans(make_exporter())
    spans.run = spans.begin(f"run {folder.name}", run=folder.name, backend=backend, nodes=len(plan.nodes))


def rpd_node_started(node):
    if spans is not None:
        with spans.lock:
            if node.id not in spans.nodes:
                spans.nodes[node.id] = spans.begin(node.id.rpartition("::")[2], spans.run, node=node.id)


def rpd_command_environment(node):
    if spans is None or node.id not in spans.nodes:
        return {}
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {}
    TraceContextTextMapPropagator().inject(carrier, context=set_span_in_context(spans.nodes[node.id]))
    return {name.upper(): value for name, value in carrier.items()}


def rpd_hand_over(handed):
    """Add phases and steps, whose times are known now, and end the node."""
    if spans is None:
        return
    with spans.lock:
        node = spans.nodes.pop(handed.node, None)
    if node is None:
        return
    report, pod = handed.report, handed.report.pod
    for phase in handed.phases:
        part = spans.begin(phase.name, node, phase.began)
        for each in handed.steps:
            if phase.began <= each.began < phase.ended:
                step = spans.begin(
                    each.step.name, part, each.began, command=each.step.command, kind=str(each.step.kind)
                )
                fail(step, f"exit code {each.step.exit_code}" if each.step.exit_code else "")
                step.end(nanoseconds(each.ended))
        part.end(nanoseconds(phase.ended))
    for name, value in handed.parameters.items():
        known = isinstance(value, str | int | float | bool)
        node.set_attribute(f"rpd.parameter.{name}", value if known else str(value))
    node.set_attribute("rpd.outcome", str(report.result.outcome))
    node.set_attribute("rpd.usd", handed.usd)
    if pod is not None:
        node.set_attributes({"rpd.pod": pod.id, "rpd.gpu": pod.gpu, "rpd.datacenter": pod.datacenter})
    fail(node, "" if report.result.outcome.is_ok else report.result.reason or str(report.result.outcome))
    node.end(nanoseconds(datetime.fromisoformat(report.result.finished).timestamp()))


@rpd.hookimpl(wrapper=True)
def rpd_run_finished(summary):
    result = yield  # all nodes have been handed over when this returns
    if spans is not None:
        for node in spans.nodes.values():
            node.end()
        spans.run.set_attributes({"rpd.usd": summary.estimated_usd, "rpd.seconds": summary.seconds})
        spans.run.end()
        spans.provider.shutdown()
    return result


def fail(span, reason):
    from opentelemetry.trace import Status, StatusCode

    if reason:
        span.set_status(Status(StatusCode.ERROR, reason))


def nanoseconds(moment):
    return int(moment * 1_000_000_000)
