-- plant3d-sync: least rights on one Plant 3D P&ID database. Run it in that database.
-- Give the two roles to two different logins; neither may be db_owner, db_datawriter, db_ddladmin or sa.

IF DATABASE_PRINCIPAL_ID(N'p3dsync_reader') IS NULL CREATE ROLE [p3dsync_reader];
GRANT SELECT ON SCHEMA::[dbo] TO [p3dsync_reader];
GRANT VIEW DEFINITION ON SCHEMA::[dbo] TO [p3dsync_reader];

-- Only where writing by SQL is wanted:
IF DATABASE_PRINCIPAL_ID(N'p3dsync_writer') IS NULL CREATE ROLE [p3dsync_writer];
GRANT SELECT ON SCHEMA::[dbo] TO [p3dsync_writer];
GRANT VIEW DEFINITION ON SCHEMA::[dbo] TO [p3dsync_writer];
GRANT UPDATE ON OBJECT::[dbo].[EngineeringItems] ([Description]) TO [p3dsync_writer];
GRANT UPDATE ON OBJECT::[dbo].[PipeLineGroup] ([Description]) TO [p3dsync_writer];
GRANT UPDATE ON OBJECT::[dbo].[PnPBase] ([PnPTimestamp], [PnPRevision]) TO [p3dsync_writer];
