"""YAML configurations of runpod-deploy (schema version 2): collected as they are, or rewritten as a deploy file.

``yaml_document`` reads YAML and knows where everything stands, ``spec`` checks it and gives it types, ``writer`` turns
it into Python. A YAML that is collected as it is and a deploy file that ``rpd import`` writes are the same text.
"""
