-- A column of every kind, with values at its ends. Moments lie where nanoseconds reach, from 1677 to 2262.
SET client_min_messages = warning;
CREATE EXTENSION hstore;
CREATE EXTENSION citext;
CREATE EXTENSION ltree;
CREATE EXTENSION isn;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy, very');
CREATE DOMAIN amount AS numeric(9,3) CHECK (VALUE > -100);
CREATE DOMAIN stamp AS timestamp(3);
CREATE TYPE pair AS (a int, b text);
CREATE TABLE numbers (
  id int PRIMARY KEY, si smallint, i int, bi bigint, o oid, r real, d double precision, b boolean,
  n numeric, n0 numeric(5), n2 numeric(12,2), n10 numeric(38,10), nneg numeric(4,-2), m money, a amount,
  r_nn real NOT NULL, n_nn numeric(6,2) NOT NULL, v_nn numeric NOT NULL, m_nn money NOT NULL,
  d_n numeric(12,4) DEFAULT 1.5, d_v numeric DEFAULT 2.25, d_d double precision DEFAULT 0.5, d_i int DEFAULT 7, d_m money DEFAULT 3.5
);
CREATE TABLE texts (
  id int PRIMARY KEY, t text, v varchar(20), c char(6), ct citext, e mood, j json, jb jsonb, x xml, u uuid, l ltree, tv tsvector,
  i inet, ci cidr, ma macaddr, ma8 macaddr8, isb isbn, d_t text DEFAULT 'it''s', d_e mood DEFAULT 'sad' NOT NULL, d_u uuid DEFAULT 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
);
CREATE TABLE bits (
  id int PRIMARY KEY, by bytea, b1 bit, b7 bit(7), b64 bit(64), vb varbit(70), vu varbit, by_nn bytea NOT NULL, d_b bytea DEFAULT '\xcafe',
  bya bytea[], d_b8 bit(8) DEFAULT B'10000001'
);
CREATE TABLE moments (
  id int PRIMARY KEY, d date, t time, t0 time(0), t3 time(3), t6 time(6), tz timetz, tz2 timetz(2), ts timestamp, ts0 timestamp(0), ts3 timestamp(3),
  ts4 timestamp(4), ts6 timestamp(6), tstz timestamptz, tstz0 timestamptz(0), tstz3 timestamptz(3), iv interval, iv3 interval(3), ivm interval year to month, st stamp,
  d_nn date NOT NULL, t_nn time NOT NULL, ts_nn timestamp NOT NULL, tstz_nn timestamptz NOT NULL, iv_nn interval NOT NULL,
  d_d date DEFAULT '2020-02-29', d_t time(3) DEFAULT '12:34:56.789', d_ts timestamp DEFAULT '2020-02-29 12:34:56.789012', d_tz timestamptz DEFAULT '2020-02-29 12:34:56.789012+00', d_iv interval DEFAULT '1 day 02:03:04.5'
);
CREATE TABLE endless (id int PRIMARY KEY, ts timestamp, tstz timestamptz, ts3 timestamp(3));
CREATE TABLE shapes (id int PRIMARY KEY, p point, ln line, ls lseg, bx box, pa path, po polygon, ci circle, p_nn point NOT NULL, d_p point DEFAULT '(1,2)');
CREATE TABLE ranges (id int PRIMARY KEY, r4 int4range, r8 int8range, rn numrange, rt tsrange, rz tstzrange, rd daterange, m4 int4multirange, d_r int4range DEFAULT '[1,5)');
CREATE TABLE arrays (
  id int PRIMARY KEY, ia int[], ba bigint[], sa smallint[], ra real[], da double precision[], boa boolean[], ta text[], va varchar(5)[], ca char(3)[],
  na numeric[], n2a numeric(6,2)[], dta date[], tia time[], tsa timestamp[], tza timestamptz[], tta timetz[], ua uuid[], ja json[], jba jsonb[], ea mood[],
  ina inet[], ra4 int4range[], cta citext[], la ltree[], hsa hstore[], ma money[], iva interval[], d_ia int[] DEFAULT '{1,2}', d_ta text[] DEFAULT '{}'
);
CREATE TABLE maps (id int PRIMARY KEY, h hstore, h_nn hstore NOT NULL, d_h hstore DEFAULT 'a=>1');
CREATE TABLE others (id int PRIMARY KEY, tq tsquery, pl pg_lsn, tx xid, na name, pr pair, jp jsonpath, sn txid_snapshot, pra pair[], am amount[], rc regclass);
-- stream
INSERT INTO numbers VALUES
  (1, -32768, -2147483648, -9223372036854775808, 0, '-3.4028235e38', '-1.7976931348623157e308', true, -0.000, -99999, -9999999999.99, -1234567890123456789012345678.0123456789, -9999, '-$92,233,720,368,547,758.08', -99.999, 1.5, -0.01, 1e20, -1),
  (2, 32767, 2147483647, 9223372036854775807, 4294967295, '1e-45', '5e-324', false, 123456789012345678901234567890.123456789, 99999, 0.01, 0.0000000001, 150, '$92,233,720,368,547,758.07', 0, 0, 0, 1e-20, 0),
  (3, 1, 1, 1, 1, 0.1, 0.1, NULL, 'NaN', 'NaN', 'NaN', 1, 0, 1.005, 1.0005, '-0', 128, -128.5, 0.5),
  (4, 0, 0, 0, 0, 'NaN', 'Infinity', true, 1e40, 0, 1, 2, 49, 0, 1, 'Infinity', 255, 1.10, 1234567.89),
  (5, NULL, NULL, NULL, NULL, 1e10, 1e21, NULL, 100, -1, 100, 5.5, NULL, NULL, NULL, 1234567, 327.68, 65536, 3);
INSERT INTO numbers VALUES
  (6, NULL, NULL, NULL, NULL, 9999999, 123456.789, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1e-3, 1.5, 2.5, 3.5, NULL, NULL, NULL, NULL, NULL);
UPDATE numbers SET i = 5, n2 = 5.50 WHERE id = 1;
DELETE FROM numbers WHERE id = 2;
INSERT INTO texts VALUES
  (1, E'a "quote", a \\ and a\ttab\nline\x01 \u2028', 'žluťoučký 🐎', 'ab', 'MiXed', 'happy, very', '{"a" : [1, "x"]}', '{"b": null, "a": 1.50}', '<a b="c">d</a>', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'Top.Sub_1', 'a:1A b:2',
   '192.168.2.1/12', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', '978-0-393-04002-9');
INSERT INTO texts VALUES
  (2, '', '', '', '', 'sad', '[]', '"text"', '', '00000000-0000-0000-0000-000000000000', '', '', '::1', '2001:db8::/32', 'ff:ff:ff:ff:ff:ff', '08-00-2b-01-02-03', NULL, '', 'ok', NULL);
INSERT INTO texts (id, d_t, d_e) VALUES (3, NULL, 'ok');
UPDATE texts SET t = '<>&' || chr(127) || '</script>' WHERE id = 2;
DELETE FROM texts WHERE id = 1;
INSERT INTO bits VALUES
  (1, '\x00ff7f80', B'1', B'0000001', B'1000000000000000000000000000000000000000000000000000000000000001', B'1010', B'1', '\x', NULL, ARRAY['\x00'::bytea, '\xfbff', '\x', NULL], NULL),
  (2, '\xfbefbe', B'0', B'1111111', repeat('0', 64)::bit(64), '', B'100000000', '\xfbf0', '\x01', '{}', B'00000001');
INSERT INTO bits (id, by_nn) VALUES (3, '\x01');

UPDATE bits SET by = '\x3e3f3e3f' WHERE id = 1;
DELETE FROM bits WHERE id = 2;
INSERT INTO moments VALUES
  (1, '2016-11-04', '13:51:30.123456', '13:51:30', '13:51:30.123', '13:51:30.000001', '13:51:30.123789+02:00', '00:00:00.25-03:30', '2016-11-04 13:51:30.123456', '2016-11-04 13:51:30', '2016-11-04 13:51:30.123', '2016-11-04 13:51:30.1234',
   '2016-11-04 13:51:30.100000', '2016-11-04 13:51:30.123456+02', '2016-11-04 13:51:30+02', '2016-11-04 13:51:30.12+02', '1 year 2 mons 3 days 04:05:06.789012', '00:00:01.5', '2 years 3 mons', '2016-11-04 13:51:30.5',
   '1999-12-31', '00:00:00', '1999-12-31 23:59:59', '1999-12-31 23:59:59+00', '00:00:00'),
  (2, '1700-01-01', '24:00:00', '23:59:59', '23:59:59.999', '23:59:59.999999', '24:00:00+00', '12:00:00+15:59', '1700-01-01 00:00:00', '1969-12-31 23:59:59', '1969-12-31 23:59:59.999', '1969-12-31 23:59:59.9999',
   '1969-12-31 23:59:59.999999', '1700-01-01 00:00:00+00', '2200-01-01 00:00:00+00', '1969-12-31 23:59:59.999+00', '-1 years -2 mons +3 days -04:05:06.7', '-00:00:00.001', '-5 mons', '1969-12-31 23:59:59.999',
   '1970-01-01', '24:00:00', '2200-12-31 23:59:59.999999', '1900-01-01 00:00:00+00', '-1 day');
INSERT INTO moments (id, d_nn, t_nn, ts_nn, tstz_nn, iv_nn, d_d, d_t, d_ts, d_tz, d_iv) VALUES (3, '2024-02-29', '00:00:00.000001', '1970-01-01', '2024-02-29 00:00:00+00', '100 years', NULL, NULL, NULL, NULL, NULL);
UPDATE moments SET d = d + 1 WHERE id = 1;
INSERT INTO endless VALUES (1, 'infinity', 'infinity', 'infinity'), (2, '-infinity', '-infinity', '-infinity');
INSERT INTO shapes VALUES
  (1, '(1.5,-2)', '{1,2,3}', '((0,0),(1,1))', '((1,1),(0,0))', '((0,0),(1,1),(2,0))', '((0,0),(1,1),(2,0))', '<(0,0),1.25>', '(0,0)', NULL),
  (2, '(1e300,1e-300)', '{0,-1,0.5}', '((-1,1e20),(1,1))', '((3,4),(1,2))', '[(0,0),(1,1)]', '((0,0))', '<(1e10,-1),0>', '(NaN,Infinity)', '(3,4)');
INSERT INTO shapes (id, p_nn) VALUES (3, '(-0.1,100000000)');
DELETE FROM shapes WHERE id = 1;
INSERT INTO ranges VALUES
  (1, '[1,10)', '(,5]', '[1.50,2.5]', '[2020-01-01 00:00:00,2020-02-01 00:00:00.5)', '[2020-01-01 00:00:00+02,)', '[2020-01-01,2020-02-01]', '{[1,3),[5,9)}', NULL),
  (2, 'empty', '(,)', '(0,)', 'empty', '(,2020-01-01 00:00:00+00]', '(,)', '{}', 'empty');
INSERT INTO arrays VALUES
  (1, '{1,NULL,-3}', '{9223372036854775807}', '{1,-1}', '{0.1,1e10,NaN}', '{0.1,-0,1e21,Infinity}', '{t,f,NULL}', ARRAY['a,b', 'c"d', E'e\\f', '', NULL, 'NULL', 'ü'], '{x}', '{a,bc}',
   '{1.5,-2,1e10,NULL}', '{1.5,-2}', '{2020-01-01,1969-12-31}', '{00:00:01,13:51:30.123456}', '{2020-01-01 00:00:00,1969-12-31 23:59:59.999999}', '{2020-01-01 00:00:00+02}', '{13:51:02+02:00}',
   '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', ARRAY['{"a": 1}']::json[], ARRAY['[1, 2]', 'null']::jsonb[], '{sad,"happy, very"}', '{10.0.0.1,::1}', ARRAY['[1,2)']::int4range[], '{Ab}', '{a.b}',
   ARRAY['a=>1,b=>NULL']::hstore[], '{1.50}', '{1 day,-00:00:01}', NULL, NULL),
  (2, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{3}', '{x}');
INSERT INTO arrays (id) VALUES (3);
DELETE FROM arrays WHERE id = 1;
INSERT INTO maps VALUES (1, '"k 1"=>"v\"1", k2=>NULL, ""=>"", "ü"=>"{}"', 'Aa=>1, BB=>2, C=>3', NULL), (2, '', 'x=>y', '');
INSERT INTO maps (id, h_nn) VALUES (3, 'a=>b');
DELETE FROM maps WHERE id = 1;
INSERT INTO others VALUES (1, 'fat & rat', '16/B374D848', '7', 'a name', ROW(1, 'x,"y"'), '$.a[*] ? (@ > 1)', '10:20:10,14', ARRAY[ROW(1, NULL)::pair], '{1.5,2}', 'pg_class');
INSERT INTO others (id) VALUES (2);
DELETE FROM others WHERE id = 1;
