"""Names that vulture finds unused, looked at one by one. Whoever adds one says who uses it; never to silence a find.

`python3 dev.py check` runs vulture (settings: `[tool.vulture]` in pyproject.toml). What only tests use is unused too,
unless it is listed here as theirs.
"""

# called by a framework, by its name
_.connection_made  # asyncio
_.data_received  # asyncio
_.capture_signals  # uvicorn
_.should_exit  # uvicorn
_.collect  # prometheus_client
_.handlers  # logging
_.number_format  # openpyxl
_.comment  # openpyxl
cli_page  # docs/generate.py calls its pages by name
error_page  # docs/generate.py calls its pages by name
__setitem__  # of a protocol

# read as part of a document: `__slots__`, `asdict` or `model_dump` take every field
peak_mib  # bench/pull.py: a row of its table
has_base  # ConflictDraft
plant3d_seen  # ConflictDraft
synapse_seen  # ConflictDraft
synapse_at  # ConflictDraft
synapse_by  # ConflictDraft
plant3d_ticks  # ConflictDraft
has_choice  # ConflictRow
explanation  # ConflictDocument
base_value  # ConflictDocument
plant3d_updated_at  # ConflictDocument
synapse_updated_at  # ConflictDocument
plant3d_by  # ConflictDocument
suggested_resolution  # ConflictDocument
suggested_reason  # ConflictDocument
suggested_explanation  # ConflictDocument
void_reason  # ConflictDocument
applied_value  # ConflictDocument, Resolved
acknowledged  # Listed
examples  # FieldDiff
_.needs  # Line: read as "needs" from its JSON
CREATE  # Op: read as "create" from the JSON of a line
DRAFT  # PlanStatus: written as "draft"
extends  # MappingDocument: the loader reads it before the document is shaped
p3dsync_test  # Settings: failpoints.py reads the variable itself; here it is a known name

# tools of the tests that people use too (`plant3d_sync.sample`, the SYNAPSE in memory, the script for grants)
MemorySynapse
_.user_create
_.user_archive
_.user_restore
_.purge
_.forget_answers
_.effective_writes
swap_tags
change_line
write_project
pnpbase_rows
grant_script  # docs/reference/sqlserver-grants.sql is its output; a test compares

# kept on purpose, though nothing uses it yet
quarantine  # table; issue 15 fills it
EXPIRED  # PlanStatus; issue 15 sets it
line_groups  # PlantItem; lines by number (issue 15) need it
writable_fields  # Capabilities: what SYNAPSE says it takes; unknown fields never leave (`field_not_writable`)
shared_fields  # Capabilities, as above
_.api  # `synapse: {api: …}` of older configuration files stays valid
undo_change  # steps of an undo: stored with the plan, for whoever reads it
one_moment  # Taken: how a snapshot of SQL Server was taken; written, and told nowhere yet
_.query_timeout  # pymssql reads it
WRITER  # Role: chosen by its value on the command line
_.send_400_response  # web.connections: uvicorn's protocol calls it
_.disconnected  # uvicorn's request cycle reads it
