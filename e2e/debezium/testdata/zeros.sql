-- What stands for values that a delete does not bring, where no NULL is allowed. With nanoseconds, Debezium stops at it.
SET client_min_messages = warning;
CREATE EXTENSION hstore;
CREATE EXTENSION citext;
CREATE EXTENSION ltree;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE zeros (
  id int PRIMARY KEY, si smallint NOT NULL, i int NOT NULL, bi bigint NOT NULL, o oid NOT NULL, r real NOT NULL, d double precision NOT NULL, b boolean NOT NULL,
  n numeric NOT NULL, n0 numeric(5) NOT NULL, n2 numeric(12,2) NOT NULL, nneg numeric(4,-2) NOT NULL, m money NOT NULL, t text NOT NULL, v varchar(20) NOT NULL, c char(6) NOT NULL,
  ct citext NOT NULL, e mood NOT NULL, j json NOT NULL, jb jsonb NOT NULL, x xml NOT NULL, u uuid NOT NULL, l ltree NOT NULL, tv tsvector NOT NULL, ip inet NOT NULL,
  ci cidr NOT NULL, ma macaddr NOT NULL, ma8 macaddr8 NOT NULL, r4 int4range NOT NULL, rz tstzrange NOT NULL, bt bytea NOT NULL, b1 bit NOT NULL, b7 bit(7) NOT NULL, vb varbit(70) NOT NULL, vu varbit NOT NULL
);
CREATE TABLE zero_moments (
  id int PRIMARY KEY, d date NOT NULL, t time NOT NULL, t3 time(3) NOT NULL, tz timetz NOT NULL, ts timestamp NOT NULL, ts3 timestamp(3) NOT NULL,
  tstz timestamptz NOT NULL, iv interval NOT NULL, p point NOT NULL, h hstore NOT NULL
);
CREATE TABLE zero_others (id int PRIMARY KEY, tq tsquery NOT NULL, pl pg_lsn NOT NULL, na name NOT NULL, bx box NOT NULL);
CREATE TABLE zero_arrays (
  id int PRIMARY KEY, ia int[] NOT NULL, ba bigint[] NOT NULL, ra real[] NOT NULL, boa boolean[] NOT NULL, ta text[] NOT NULL, na numeric[] NOT NULL, n2a numeric(6,2)[] NOT NULL, dta date[] NOT NULL,
  tsa timestamp[] NOT NULL, tza timestamptz[] NOT NULL, ua uuid[] NOT NULL, jba jsonb[] NOT NULL, ea mood[] NOT NULL, bya bytea[] NOT NULL, hsa hstore[] NOT NULL
);
CREATE TABLE defaults (
  id int PRIMARY KEY, i int NOT NULL DEFAULT 7, n numeric(6,2) NOT NULL DEFAULT 1.50, nv numeric NOT NULL DEFAULT 2.25, m money NOT NULL DEFAULT 3.5, t text NOT NULL DEFAULT 'x''y', f text NOT NULL DEFAULT md5('a'),
  e mood NOT NULL DEFAULT 'ok', b boolean NOT NULL DEFAULT true, d date NOT NULL DEFAULT '2020-02-29', dn date NOT NULL DEFAULT now(), t3 time(3) NOT NULL DEFAULT '12:34:56.789', ts timestamp NOT NULL DEFAULT '2020-02-29 12:34:56.789012',
  tsn timestamp NOT NULL DEFAULT now(), tz timestamptz NOT NULL DEFAULT '2020-02-29 12:34:56.789012+02', tzn timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP, iv interval NOT NULL DEFAULT '1 day 02:03:04.5', u uuid NOT NULL DEFAULT gen_random_uuid(),
  j jsonb NOT NULL DEFAULT '{"a": 1}', x bytea NOT NULL DEFAULT '\xcafe', ia int[] NOT NULL DEFAULT '{1}', bi bit(4) NOT NULL DEFAULT B'1010', si smallint NOT NULL DEFAULT (1 + 2), neg int NOT NULL DEFAULT -5, r real NOT NULL DEFAULT 0.1, p point NOT NULL DEFAULT '(1,2)'
);
-- stream
INSERT INTO zeros VALUES (1, 1, 1, 1, 1, 1, 1, true, 1, 1, 1, 100, 1, 'a', 'a', 'a', 'a', 'sad', '1', '1', 'a', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'a', 'a', '1.1.1.1', '1.1.1.1', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
  '[1,2)', '[2020-01-01 00:00:00+00,)', '\x01', B'1', B'1111111', B'1', B'1');
DELETE FROM zeros;
INSERT INTO zero_moments VALUES (1, '2020-01-01', '01:00:00', '01:00:00', '01:00:00+00', '2020-01-01', '2020-01-01', '2020-01-01 00:00:00+00', '1 day', '(1,1)', 'a=>1');
DELETE FROM zero_moments;
INSERT INTO zero_others VALUES (1, 'a', '0/1', 'a', '((1,1),(0,0))');
DELETE FROM zero_others;
INSERT INTO zero_arrays VALUES (1, '{1}', '{1}', '{1}', '{t}', '{a}', '{1}', '{1}', '{2020-01-01}', '{2020-01-01 00:00:00}', '{2020-01-01 00:00:00+00}', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '{1}', '{sad}', '{a}', '{a=>1}');
DELETE FROM zero_arrays;
INSERT INTO defaults (id, dn, tsn, tzn, u) VALUES (1, '2024-01-01', '2024-01-01 12:00:00', '2024-01-01 12:00:00+00', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
DELETE FROM defaults;
