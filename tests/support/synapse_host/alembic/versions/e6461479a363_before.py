"""the revision that the contribution follows"""

revision = "e6461479a363"
down_revision = None


def upgrade() -> None:
    raise AssertionError(
        "the tables were made without migrations, as SYNAPSE's own script does: stamp this one"
    )


def downgrade() -> None:
    raise AssertionError("nothing is below")
