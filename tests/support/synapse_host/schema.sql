-- The tables of SYNAPSE 0.2 that a sync client meets, as its documentation describes them.
CREATE TYPE datastatus AS ENUM ('FRESH_IMPORT', 'IN_REVIEW', 'VALIDATED', 'ERROR');
CREATE TYPE userrole AS ENUM ('ADMIN', 'ENGINEER', 'VIEWER', 'CLIENT');
CREATE TABLE users (id varchar PRIMARY KEY, email varchar NOT NULL UNIQUE, hashed_password varchar NOT NULL,
  full_name varchar, role userrole, is_active boolean);
CREATE TABLE projects (id varchar PRIMARY KEY, name varchar NOT NULL, description varchar, status varchar, client_id varchar,
  created_at timestamptz);
CREATE TABLE locations (id varchar PRIMARY KEY, name varchar NOT NULL, project_id varchar REFERENCES projects(id));
CREATE TABLE packages (id varchar PRIMARY KEY, name varchar NOT NULL, project_id varchar REFERENCES projects(id));
CREATE TABLE assets (
  id varchar PRIMARY KEY, tag varchar NOT NULL, type varchar NOT NULL, description varchar, area varchar, system varchar,
  io_type varchar, mechanical json, electrical json, process json, purchasing json, manufacturer_part_id varchar,
  location_id varchar REFERENCES locations(id), package_id varchar REFERENCES packages(id), data_status datastatus,
  project_id varchar NOT NULL REFERENCES projects(id), deleted_at timestamp, discipline varchar, semantic_type varchar,
  lod integer, isa95_level integer, properties jsonb, confidence_score double precision, data_source_id varchar,
  CONSTRAINT uix_project_tag UNIQUE (tag, project_id));
CREATE INDEX ix_assets_tag ON assets (tag);
