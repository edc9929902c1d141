"""``rpd markers``."""

from __future__ import annotations

from rpd.cli import trace
from rpd.cli.json_document import say_document
from rpd.cli.output import note, say
from rpd.collect.marks import BUILT_IN, registered_marks
from rpd.config import Config
from rpd.errors import ExitCode
from rpd.hooks import PluginManager
from rpd.pipeline.collect_and_select import load_first_conftests, with_plugin_markers


def main(config: Config, manager: PluginManager) -> int:
    """Print every mark that jobs may have: rpd's own, those of plugins and conftests, those of the configuration."""
    load_first_conftests(config, manager)
    registered = with_plugin_markers(config, manager).collect.markers
    registered_marks(registered)  # tells a line that names none
    own = [(head, text) for head, _, text in (line.partition(":") for line in registered)]
    marks = [*BUILT_IN.items(), *own]
    if config.output.as_json:
        say_document({"marks": [{"mark": head.strip(), "description": text.strip()} for head, text in marks]})
        marks = []
    for head, text in marks:
        described = f": {text.strip()}" if text.strip() else ""
        say(f"@rpd.mark.{head.strip()}{described}")
    if config.loading.trace_config:
        note("\n".join(trace.lines(config.rootdir, config.config_file, manager)))
    return ExitCode.OK
