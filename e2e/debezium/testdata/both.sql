-- Rows that are there before, and changes after, with one connector.
SET client_min_messages = warning;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE people (id serial PRIMARY KEY, name text NOT NULL, mood mood DEFAULT 'ok', born date, paid numeric(10,2) DEFAULT 0.00, seen timestamptz, big text);
ALTER TABLE people ALTER big SET STORAGE EXTERNAL;
CREATE TABLE pairs (a int, b text, v double precision, PRIMARY KEY (b, a));
CREATE TABLE bare (a int, b bytea);
INSERT INTO people (name, mood, born, paid, seen, big) VALUES ('Anna', 'sad', '1990-05-05', 1.50, '2020-01-01 12:00:00.5+00', repeat('x', 5000)), ('Otto', NULL, NULL, NULL, NULL, NULL);
INSERT INTO pairs VALUES (1, 'x', 0.5), (2, 'y', NULL);
INSERT INTO bare VALUES (1, '\x00ff'), (NULL, NULL);
-- stream
INSERT INTO people (name) VALUES ('Ida');
UPDATE people SET paid = 2 WHERE id = 1;
UPDATE people SET id = 20 WHERE id = 2;
DELETE FROM people WHERE id = 3;
UPDATE pairs SET v = 1e100;
DELETE FROM pairs WHERE a = 1;
INSERT INTO bare VALUES (3, '\x01');
TRUNCATE bare;
